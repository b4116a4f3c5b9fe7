"""``shadowtape record``: relay traffic to an upstream and capture a pseudonymised copy of it."""

from captures.errors import UsageError
from recorder import options as parse
from recorder import record_options as shared
from recorder import supervisor
from recorder.filters import parse_filters
from recorder.logs import log as write_log
from recorder.modes import Tls, chosen_mode
from recorder.named_files import state_folder
from recorder.options import RecordOptions
from recorder.worker import MakeService


def record(
    *,
    out: shared.OutOption,
    upstream: shared.UpstreamOption = None,
    listen: shared.ListenOption = parse.DEFAULT_LISTEN,
    mode: shared.ModeOption = "reverse",
    workers: shared.WorkersOption = 1,
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
    tls_cert: shared.TlsCertOption = None,
    tls_key: shared.TlsKeyOption = None,
    tls_ca: shared.TlsCaOption = None,
    tls_client_ca: shared.TlsClientCaOption = None,
    upstream_ca: shared.UpstreamCaOption = None,
    upstream_cert: shared.UpstreamCertOption = None,
    upstream_key: shared.UpstreamKeyOption = None,
    insecure: shared.InsecureOption = False,
) -> int:
    r"""Relay traffic to an upstream and capture a pseudonymised copy of it.

    Clients talk to --listen as if it were the upstream. When the recorder is
    slow, full or broken the copy is dropped and counted, the traffic goes on.
    Ctrl-C or SIGTERM: stop accepting, finish what is in flight, seal the capture.
    SIGHUP: read the policy again.

    [bold]Examples[/bold]

      shadowtape record --upstream http://127.0.0.1:8000 --out monday.tape

      shadowtape record --upstream http://model:8000 --listen :8080 \
        --out peak.tape --sample 25% --only 'POST /v2/models/*' --for 1h

      shadowtape record --upstream http://model:8000 --out joined.tape \
        --policy policy.yaml --key ~/.keys/team.key

      shadowtape record --upstream http://model:8000 --out tapes/ \
        --workers 4 --rotate-every 1h --keep 20GiB --admin 127.0.0.1:9090
    """
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
    relaying_as = chosen_mode(mode, upstream)
    server = relaying_as.server
    tls = Tls(
        cert=tls_cert,
        key=tls_key,
        ca_folder=tls_ca,
        client_ca=tls_client_ca,
        upstream_ca=upstream_ca,
        upstream_cert=upstream_cert,
        upstream_key=upstream_key,
        insecure=insecure,
    )
    chosen = RecordOptions(
        listen=parse.parse_address(listen),
        storage=storage,
        sources=(server.address,) if server and relaying_as.name == "reverse" else (),
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
    if server and chosen.listen == server.address:
        raise UsageError(f"--listen {chosen.listen}: that is the upstream itself; listen on another port")
    if tls.warning:
        write_log(chosen.log)(tls.warning, event="insecure", level="warning")

    def prepare() -> MakeService:
        from recorder.relay import relaying  # noqa: PLC0415 - mitmproxy takes a second to import, a mistyped option should not

        return relaying(relaying_as, tls)

    # What cannot be used of files is found before a capture is made for nothing.
    ready = None if tls == Tls() else prepare()
    return supervisor.run(chosen, lambda: ready or prepare(), lambda listen: f"http://{listen} -> {server or mode}")
