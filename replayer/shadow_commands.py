"""``shadowtape shadow``: reads what people write, calls `replayer.shadow`, prints what came of it."""

import math
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from captures.console import TapeKeyOption
from captures.errors import UsageError
from captures.privacy.key import parse_key
from captures.tape_key import tape_key
from replayer.commands import print_result, read_duration_ns, read_header, show_progress, told
from replayer.compare.comparators import Predictions
from replayer.contest import BUILT_IN, Contest
from replayer.replay import MAX_IN_FLIGHT, Load, Options
from replayer.shadow import FEW_IN_FLIGHT
from replayer.shadow import shadow as run_shadow


def shadow(
    capture: Annotated[
        list[str],
        typer.Argument(metavar="CAPTURE", help="Captures (paths or URLs), laid over each other.", show_default=False),
    ],
    candidate: Annotated[
        str,
        typer.Option(
            metavar="[NAME=]URL",
            help="Who is judged: http(s)://HOST[:PORT], a path prefix allowed.",
            show_default=False,
        ),
    ],
    baseline: Annotated[
        str | None, typer.Option(metavar="URL", help="Compare with the live answers of this URL.")
    ] = None,
    recorded: Annotated[bool, typer.Option("--recorded", help="Compare with the answers in the capture.")] = False,
    transform: Annotated[
        list[str] | None,
        typer.Option(
            "--transform", "-t", metavar="STEP", help="One more step, such as 'noise:feature=age,sd=1'; in order."
        ),
    ] = None,
    require: Annotated[
        list[str] | None,
        typer.Option(
            metavar="OBJECTIVE",
            help="An objective, such as 'agreement >= 99%' or 'flips <= 1%'. Default: built-in ones.",
        ),
    ] = None,
    tolerance: Annotated[
        float | None,
        typer.Option(
            metavar="NUMBER",
            help="Relative tolerance of scores, 0.01 for 1 %. Default: what rounding may do, by datatype.",
        ),
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(
            metavar="NUMBER",
            help="Turns a single score into a label: at or above, or below. Default: scores stay scores.",
        ),
    ] = None,
    speed: Annotated[
        str | None,
        typer.Option(
            metavar="FACTOR",
            help="Send at recorded times, 5 times as fast at 5, and judge times too. Default: few in flight.",
        ),
    ] = None,
    max_in_flight: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help=f"Unanswered rows at a time. Default: {FEW_IN_FLIGHT}; with --speed {MAX_IN_FLIGHT}.",
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option(metavar="N", min=0, help="The same seed sends the same rows in the same order.")
    ] = 0,
    key: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="The recording's key file: compares tokenised answers, which are incomparable otherwise.",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="The run's folder. Default: runs/<time>-<id>.")
    ] = None,
    timeout: Annotated[
        str, typer.Option(metavar="DURATION", help="From sending a row to the last byte of its answer.")
    ] = "30s",
    header: Annotated[
        list[str] | None,
        typer.Option(
            metavar="HEADER", help="Send a header whose value is read from the environment: 'Authorization: env:TOKEN'."
        ),
    ] = None,
    allow_host: Annotated[
        list[str] | None, typer.Option(metavar="HOST", help="A host that is not this machine and may be asked.")
    ] = None,
    allow_source: Annotated[bool, typer.Option("--allow-source", help="Ask the server the capture came from.")] = False,
    allow_path: Annotated[
        list[str] | None,
        typer.Option(metavar="GLOB", help="Send what is not inference too: 'GET /v2/*' as METHOD and path, a glob."),
    ] = None,
    expect_status: Annotated[
        list[int] | None,
        typer.Option(metavar="STATUS", min=100, max=599, help="A status that may differ from the recorded one."),
    ] = None,
    tape_key_file: TapeKeyOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object (docs/reference.md).")] = False,
) -> int:
    r"""Compare a candidate's answers with recorded ones, or with those of a live baseline.

    Sends every row once to each, in a seeded random order with few in flight,
    and judges labels, scores and schema pair by pair. What cannot be compared is
    counted with its reason and is never a match. docs/comparing.md explains every
    number.

    [bold]Examples[/bold]

      shadowtape shadow monday.tape --candidate http://127.0.0.1:8081 --recorded

      shadowtape shadow monday.tape --candidate v2=http://127.0.0.1:8081 \
        --recorded --threshold 0.5

      shadowtape shadow monday.tape --candidate http://127.0.0.1:8081 \
        --baseline http://127.0.0.1:8080 -t 'noise:feature=age,sd=0.5'

      shadowtape shadow monday.tape --candidate http://127.0.0.1:8081 \
        --recorded --speed 1 --require 'latency.p99 < 50ms'

    Exit codes: 0 PASS; 1 FAIL; 2 usage, or a value rewrite against recorded
    answers; 3 INVALID; 4 INCONCLUSIVE; 5 capture unreadable; 6 refused or not
    reachable; 130 interrupted.
    """
    contest = Contest(
        candidate=candidate,
        baseline=_reference(baseline, recorded=recorded),
        comparator=_comparator(tolerance, threshold),
        paced=speed is not None,
        key=_read_key(key) if key is not None else None,
    )
    load = Load(
        captures=capture,
        speed="1" if speed is None else speed,
        transforms=transform or (),
        seed=seed,
        allow_paths=allow_path or (),
        tape_key=tape_key(tape_key_file),
    )
    options = Options(
        headers=tuple(read_header(text, os.environ) for text in header or ()),
        max_in_flight=max_in_flight or (FEW_IN_FLIGHT if speed is None else MAX_IN_FLIGHT),
        timeout_ns=read_duration_ns(timeout, "--timeout"),
        allow_hosts=allow_host or (),
        allow_source=allow_source,
        expect_status=expect_status or (),
    )
    result = run_shadow(
        load,
        contest,
        options,
        require=require or (),
        out=out,
        announce=lambda figures: _announce(figures, built_in=not require, paced=contest.paced),
        progress=show_progress if sys.stderr.isatty() else None,
    )
    print_result(result, as_json=as_json)
    return result.exit_code


def _reference(baseline: str | None, *, recorded: bool) -> str | None:
    if recorded and baseline is not None:
        raise UsageError("--recorded and --baseline: choose one side to compare with")
    if not recorded and baseline is None:
        raise UsageError(
            "compared with what? add --recorded (the answers in the capture) or --baseline URL (a live model)"
        )
    return baseline


def _comparator(tolerance: float | None, threshold: float | None) -> Predictions:
    if tolerance is not None and not 0 <= tolerance < math.inf:
        raise UsageError(f"--tolerance {tolerance}: a relative tolerance is at least 0, such as 0.01 for 1 %")
    if threshold is not None and not math.isfinite(threshold):
        raise UsageError(f"--threshold {threshold}: a threshold is a finite number, such as 0.5")
    return Predictions(rtol=tolerance, threshold=threshold)


def _read_key(path: Path) -> bytes:
    try:
        return parse_key(path.read_bytes(), f"--key {path}")
    except OSError as error:
        raise UsageError(f"--key {path}: cannot be read: {error.strerror}") from None


def _announce(figures: dict[str, object], *, built_in: bool, paced: bool) -> None:
    """What is about to be sent, and by what it is judged."""
    lines = [told(figures) if paced else f"{figures['rows']:,} rows, in random order"]
    left_out = figures["left_out"]
    assert isinstance(left_out, dict)
    lines += [f"left out: {n:,} rows, {why}" for why, n in left_out.items()]
    if built_in:
        lines.append("built-in objectives, over the pairs that are seen:")
        lines += [f"  {meaning}" for meaning in BUILT_IN.values()]
    print("\n".join(lines), file=sys.stderr)
