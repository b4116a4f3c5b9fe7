"""The shell of ``shadowtape transform``: a capture in, a derived capture and a receipt out."""

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from captures.batches import batch_of
from captures.confessions import Confessions
from captures.console import TapeKeyOption
from captures.errors import UsageError
from captures.exchange import Flags
from captures.header import Header
from captures.lineage import expiry_of, labels_of
from captures.opening import open_capture
from captures.outputs import check_output, create_output
from captures.reader import Capture
from captures.tape_key import tape_key
from captures.version import __version__
from transforms import catalogue
from transforms.derive import derive
from transforms.plan import schedule_of
from transforms.receipt import receipt
from transforms.receipt_text import text
from transforms.schedule import Schedule
from transforms.schedule_files import Scratch
from transforms.transform import apply, describe
from transforms.view import View


def transform(
    capture: Annotated[str, typer.Argument(metavar="CAPTURE", help="The capture to read: a path or a URL.")],
    out: Annotated[str, typer.Argument(metavar="OUT", help="The capture to write; a new name that ends in .tape.")],
    transforms: Annotated[
        list[str] | None,
        typer.Option("--transform", "-t", metavar="NAME:OPTION=VALUE,…", help="A step of the chain; repeat for more."),
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="Same inputs, chain and seed: same result.")] = 0,
    receipt_file: Annotated[
        Path | None, typer.Option("--receipt", metavar="FILE", help="Write the receipt here, as JSON.")
    ] = None,
    key_file: TapeKeyOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> int:
    r"""Apply transforms to a capture and write a new one, with a receipt that proves what changed.

    Requests stand in the new capture as they would be sent. A request whose
    values changed loses its recorded response; every other keeps it.

    [bold]Examples[/bold]

    Five times as fast, by three times as many users:

      shadowtape transform monday.tape peak.tape \
        -t time_scale:factor=5 -t amplify:copies=3

    Half a standard deviation of noise on one feature, with proof:

      shadowtape transform monday.tape noisy.tape \
        -t noise:feature=MedInc,sd=0.5 --seed 7 --receipt noisy.json
    """
    if not transforms:
        raise UsageError(f"nothing to do: add -t NAME:OPTION=VALUE; there are: {', '.join(sorted(catalogue.names()))}")
    chain = catalogue.build_all(transforms)
    _check_new(out, receipt_file)
    with open_capture(capture, key=tape_key(key_file)) as read, Scratch() as scratch:
        view = View([read], allocate=scratch.array)
        plan, dropped = schedule_of([read], lost=[read.lost()], allocate=scratch.array)
        if not len(plan):
            why = ", ".join(f"{count} {reason}" for reason, count in dropped.items()) or "it is empty"
            raise UsageError(f"{read.path}: nothing in it can be sent again: {why}")
        schedule = apply(plan, view, chain, seed)
        written = [describe(step) for step in chain]
        responses_dropped = _write(out, _header(read, plan, schedule, written, seed), read.tape_key, view, schedule)
        proof = receipt(plan, schedule, view, chain=written, seed=seed, dropped=dropped)
    contents = proof["contents"]
    assert isinstance(contents, dict)
    contents["responses_dropped"] = responses_dropped
    if receipt_file is not None:
        _write_text(receipt_file, json.dumps(proof, indent=1, allow_nan=False) + "\n")
    print(json.dumps(_result(proof), allow_nan=False) if as_json else text(proof))
    return 0


def _check_new(out: str, receipt_file: Path | None) -> None:
    """What would fail at the end fails at once. Raises UsageError, CaptureError."""
    check_output(out)
    if receipt_file is not None and receipt_file.exists():
        raise UsageError(f"{receipt_file}: exists already; choose another name")
    if receipt_file is not None and not receipt_file.parent.is_dir():
        raise UsageError(f"{receipt_file}: there is no folder {receipt_file.parent}")


def _header(read: Capture, plan: Schedule, schedule: Schedule, chain: list[str], seed: int) -> Header:
    """The recording's id, policy, key and expiry are inherited: what is derived from a recording stays under its rules."""
    old = read.header
    first_arrival_ns = int(read.columns().columns["arrival_ns"][plan.source[0]])
    return Header(
        file_id=os.urandom(16),
        recording_id=old.recording_id,
        kind="derived",
        wall_ns=old.wall_ns + first_arrival_ns,
        producer=f"shadowtape {__version__} transform",
        policy=old.policy,
        policy_digest=old.policy_digest,
        key_id=old.key_id,
        sampling_rate=old.sampling_rate,
        source_digests=old.source_digests,
        inputs=({"path": Path(read.path).name, "digest": read.digest, "file_id": old.file_id.hex()},),
        notes={"chain": chain, "seed": seed, "schedule": schedule.digest},
        expires_ns=expiry_of(read.headers),
        labels=labels_of(read.headers),
    )


def _write(out: str, header: Header, key: bytes | None, view: View, schedule: Schedule) -> int:
    """Write and seal the capture; how many recorded responses were dropped."""
    dropped = truncated = unparsed = 0
    with create_output(out, header, key=key) as tape, _progress(len(schedule)) as advance:
        for derived in derive(view, schedule):
            tape.append(batch_of(derived.exchanges))
            dropped += derived.responses_dropped
            truncated += sum(Flags.RESPONSE_TRUNCATED in exchange.flags for exchange in derived.exchanges)
            unparsed += sum(Flags.UNPARSED in exchange.flags for exchange in derived.exchanges)
            advance(len(derived.exchanges))
        rate = header.sampling_rate
        tape.seal(Confessions(seen=len(schedule), truncated=truncated, unparsed=unparsed, sampling_rate=rate))
    return dropped


type Advance = Callable[[int], object]


@contextmanager
def _progress(rows: int) -> Iterator[Advance]:
    """A bar on stderr where somebody watches."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("rows", total=rows)
        yield lambda count: progress.advance(task, count)


def _write_text(path: Path, content: str) -> None:
    partial = path.with_name(f"{path.name}.partial")
    partial.write_text(content, encoding="utf-8")
    partial.rename(path)


def _result(proof: dict[str, object]) -> dict[str, object]:
    rows, time = proof["rows"], proof["time"]
    assert isinstance(rows, dict)
    assert isinstance(time, dict)
    return {
        "rows_in": rows["in"],
        "rows_out": rows["out"],
        "dropped": rows["dropped"],
        "seed": proof["seed"],
        "duration_s": time["after"]["duration_s"],
        "peak_rps": time["after"]["peak_rps"],
        "receipt": proof,
    }
