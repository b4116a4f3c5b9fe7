"""``shadowtape sink``: take mirrored requests and KServe's logger events, answer at once, and capture a pseudonymised copy."""

import time
from typing import Annotated

import typer
import uvloop

from captures.importers.path_templates import check_template
from recorder import options as parse
from recorder import record_options as shared
from recorder import supervisor
from recorder.filters import parse_filters
from recorder.named_files import state_folder
from recorder.options import RecordOptions
from recorder.pairing import Pairing
from recorder.recording import Recording
from recorder.service import Seat, Service
from recorder.sink import Sink


def sink(
    *,
    out: shared.OutOption,
    listen: Annotated[
        str, typer.Option("--listen", metavar="HOST:PORT", help="Where copies are sent to; port 0: a free one.")
    ] = parse.DEFAULT_LISTEN,
    workers: shared.WorkersOption = 1,
    path_template: Annotated[
        str,
        typer.Option(
            "--path-template",
            metavar="PATH",
            help="Of logger events, which have none: /v2/models/{model}/infer. Default: by their keys.",
        ),
    ] = "",
    model: Annotated[
        str,
        typer.Option("--model", metavar="NAME", help="Of logger events. Default: the name of the InferenceService."),
    ] = "",
    pair_within: Annotated[
        str,
        typer.Option(
            "--pair-within", metavar="DURATION", help="How long a logged request waits for its answer, at most."
        ),
    ] = "60s",
    rotate_size: shared.RotateSizeOption = None,
    rotate_every: shared.RotateEveryOption = None,
    keep: shared.KeepOption = None,
    keep_for: shared.KeepForOption = None,
    min_free: shared.MinFreeOption = parse.DEFAULT_MIN_FREE,
    expire: shared.ExpireOption = None,
    encrypt: shared.EncryptOption = None,
    fsync: shared.FsyncOption = False,
    staging: shared.StagingOption = None,
    policy: shared.PolicyOption = None,
    key: shared.KeyOption = None,
    sample: shared.SampleOption = "100%",
    only: shared.OnlyOption = None,
    without: shared.ExceptOption = None,
    label: shared.LabelOption = None,
    body_limit: shared.BodyLimitOption = parse.DEFAULT_BODY_LIMIT,
    memory: shared.MemoryOption = parse.DEFAULT_MEMORY,
    queue: shared.QueueOption = parse.DEFAULT_QUEUE,
    duration: shared.ForOption = None,
    require_recording: shared.RequireRecordingOption = False,
    admin: shared.AdminOption = None,
    log: shared.LogOption = "text",
) -> int:
    r"""Take copies of traffic, and capture them pseudonymised.

    Copies come from a mirror (nginx, Envoy, Istio) or from KServe's inference
    logger. Each is answered with 200 at once, so that nothing waits for the
    recorder. A mirror sends requests only: what was answered is not known.

    [bold]Examples[/bold]

      shadowtape sink --out monday.tape --listen :8080

      shadowtape sink --out tapes/ --listen :8080 --rotate-every 1h \
        --keep 20GiB --admin 127.0.0.1:9090

      shadowtape sink --out logged.tape --listen :8080 \
        --path-template '/v2/models/{model}/infer'
    """
    check_template(path_template or "/", model)
    pair_ns = parse.parse_duration_ns(pair_within, "--pair-within")
    storage = parse.parse_storage(
        out,
        state=state_folder(),
        rotate_size=rotate_size,
        rotate_every=rotate_every,
        keep=keep,
        keep_for=keep_for,
        min_free=min_free,
        expire=expire,
        staging=staging,
        fsync=fsync,
        encrypt=encrypt,
        labels=tuple(label or ()),
    )
    chosen = RecordOptions(
        listen=parse.parse_address(listen),
        storage=storage,
        workers=parse.parse_workers(workers, storage),
        policy=policy,
        key=key,
        sampling_rate=parse.parse_share(sample),
        filters=parse_filters(only or (), without or ()),
        limits=parse.parse_limits(body_limit, memory),
        queue=parse.parse_size(queue, "--queue"),
        admin=None if admin is None else parse.parse_admin(admin),
        log=parse.parse_log(log),
        duration_ns=0 if duration is None else parse.parse_duration_ns(duration),
        require_recording=require_recording,
    )

    def make_service(seat: Seat, recording: Recording) -> Service:
        pairing = Pairing(recording, path_template, model, pair_ns)
        return Sink(seat, recording, pairing, lambda: time.monotonic_ns() - seat.zero_ns)

    return supervisor.run(
        chosen,
        lambda: make_service,
        lambda listen: f"copies sent to http://{listen}",
        command="sink",
        new_loop=uvloop.new_event_loop,
    )
