"""``shadowtape replay``: reads what people write, calls `replayer.replay`, prints what came of it."""

import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import numpy as np
import orjson
import typer
from rich.console import Console

from captures.amounts import duration_ns
from captures.console import TapeKeyOption
from captures.errors import UsageError
from captures.tape_key import tape_key
from replayer.attempt import Attempts
from replayer.replay import MAX_IN_FLIGHT, Load, Options, RunResult, dry_run
from replayer.replay import replay as run_replay
from replayer.report.terminal import print_summary

MOST_NS = 86_400_000_000_000
HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")  # RFC 9110 §5.6.2
REFUSED_HEADERS = frozenset(
    {"connection", "content-length", "host", "traceparent", "transfer-encoding", "x-shadowtape-run"}
)


def replay(
    capture: Annotated[
        list[str],
        typer.Argument(metavar="CAPTURE", help="Captures (paths or URLs), laid over each other.", show_default=False),
    ],
    target: Annotated[
        str,
        typer.Option(
            metavar="URL", help="Where to send: http(s)://HOST[:PORT], a path prefix allowed.", show_default=False
        ),
    ],
    speed: Annotated[str, typer.Option(metavar="FACTOR", help="5 is five times as fast, 0.5 half as fast.")] = "1",
    copies: Annotated[str, typer.Option(metavar="NUMBER", help="3 sends every request three times in all.")] = "1",
    transform: Annotated[
        list[str] | None,
        typer.Option(
            "--transform", "-t", metavar="STEP", help="One more step, such as 'noise:feature=age,sd=1'; in order."
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option(metavar="N", min=0, help="The same seed sends the same bytes at the same times.")
    ] = 0,
    require: Annotated[
        list[str] | None,
        typer.Option(metavar="OBJECTIVE", help="An objective, such as 'latency.p99 < 50ms' or 'errors < 0.1%'."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="The run's folder. Default: runs/<time>-<id>.")
    ] = None,
    max_in_flight: Annotated[
        int, typer.Option(metavar="N", min=1, help="At this many unanswered, rows are shed and counted.")
    ] = MAX_IN_FLIGHT,
    timeout: Annotated[
        str, typer.Option(metavar="DURATION", help="From sending a row to the last byte of its answer.")
    ] = "30s",
    keep_bodies: Annotated[
        bool, typer.Option("--keep-bodies", help="Keep the answers, under the capture's policy.")
    ] = False,
    header: Annotated[
        list[str] | None,
        typer.Option(
            metavar="HEADER", help="Send a header whose value is read from the environment: 'Authorization: env:TOKEN'."
        ),
    ] = None,
    allow_host: Annotated[
        list[str] | None, typer.Option(metavar="HOST", help="A host that is not this machine and may be loaded.")
    ] = None,
    allow_source: Annotated[
        bool, typer.Option("--allow-source", help="Load the server the capture came from.")
    ] = False,
    allow_path: Annotated[
        list[str] | None,
        typer.Option(metavar="GLOB", help="Send what is not inference too: 'GET /v2/*' as METHOD and path, a glob."),
    ] = None,
    expect_status: Annotated[
        list[int] | None,
        typer.Option(metavar="STATUS", min=100, max=599, help="A status that may differ from the recorded one."),
    ] = None,
    dry_run_only: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be sent, and send nothing.")
    ] = False,
    tape_key_file: TapeKeyOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object (docs/reference.md).")] = False,
) -> int:
    r"""Send a capture at a target, at its recorded times, and judge the result.

    Open loop: every request goes out at its time, whatever the target does,
    and is measured from that time.

    [bold]Examples[/bold]

      shadowtape replay monday.tape --target http://127.0.0.1:8080

      shadowtape replay monday.tape --target http://127.0.0.1:8080 --speed 5 \
        --require 'latency.p99 < 50ms' --require 'errors < 0.1%'

      shadowtape replay monday.tape --target https://staging:8443 \
        --allow-host staging --header 'Authorization: env:STAGING_TOKEN'

      shadowtape replay monday.tape --target http://127.0.0.1:8080 \
        --copies 3 --dry-run --json

    Exit codes: 0 PASS or UNJUDGED; 1 FAIL; 2 usage; 3 INVALID; 4 INCONCLUSIVE;
    5 capture unreadable; 6 refused or not reachable; 130 interrupted.
    """
    load = Load(
        captures=capture,
        speed=speed,
        copies=copies,
        transforms=transform or (),
        seed=seed,
        allow_paths=allow_path or (),
        tape_key=tape_key(tape_key_file),
    )
    if dry_run_only:
        figures = dry_run(load)
        print(_json(figures) if as_json else told(figures))
        return 0
    options = Options(
        headers=tuple(read_header(text, os.environ) for text in header or ()),
        max_in_flight=max_in_flight,
        timeout_ns=read_duration_ns(timeout, "--timeout"),
        keep_bodies=keep_bodies,
        allow_hosts=allow_host or (),
        allow_source=allow_source,
        expect_status=expect_status or (),
    )
    result = run_replay(
        load,
        target,
        options,
        require=require or (),
        out=out,
        announce=lambda figures: print(told(figures), file=sys.stderr),
        progress=show_progress if sys.stderr.isatty() else None,
    )
    print_result(result, as_json=as_json)
    return result.exit_code


def read_header(text: str, environment: Mapping[str, str]) -> tuple[str, str]:
    """``Name: env:VARIABLE``. Raises UsageError; no message ever holds a value."""
    name, colon, where = text.partition(":")
    name, where = name.strip(), where.strip()
    if not colon or HEADER_NAME.fullmatch(name) is None or not where.startswith("env:"):
        raise UsageError(
            "--header: write it as 'Name: env:VARIABLE'; the value is read from the environment, "
            "so that no secret stands in a command line"
        )
    if name.lower() in REFUSED_HEADERS:
        raise UsageError(f"--header {name}: is set by every replay itself")
    variable = where.removeprefix("env:")
    value = environment.get(variable)
    if not value:
        raise UsageError(f"--header {name}: the environment variable {variable} is not set or empty")
    if any(character in "\r\n\0" for character in value) or not value.isascii():
        raise UsageError(f"--header {name}: the value of {variable} cannot stand in a header")
    return name, value


def read_duration_ns(text: str, flag: str) -> int:
    """``30s``, ``1.5s``, ``500ms``, ``2m``. Raises UsageError."""
    try:
        found = duration_ns(text, flag)
    except ValueError:
        found = 0
    if not 0 < found <= MOST_NS:
        raise UsageError(f"{flag} {text}: write a duration such as 30s or 500ms, a day at most")
    return found


def told(figures: Mapping[str, object]) -> str:
    """`plan.figures` for people: what was asked for, before it is sent."""
    load = figures["load"]
    assert isinstance(load, dict)
    multiples = ", ".join(f"{load[name]:g} x {name}" for name in ("recording", "production") if load[name] is not None)
    lines = [
        f"{figures['rows']:,} rows in {figures['duration_s']:,.1f} s, busiest second {figures['peak_rps']:,} rows, "
        f"{figures['bytes']:,} bytes" + (f" ({multiples})" if multiples else "")
    ]
    if figures["dropped"]:
        lines.append(f"left out: {_counts(figures['dropped'])}")
    unsafe = figures["unsafe"]
    assert isinstance(unsafe, list)
    lines += [f"may change the target: {one['rows']:,} x {one['route'] or one['method']}" for one in unsafe]
    return "\n".join(lines)


def _counts(counts: object) -> str:
    assert isinstance(counts, Mapping)
    return ", ".join(f"{count:,} {reason}" for reason, count in counts.items())


def print_result(result: RunResult, *, as_json: bool) -> None:
    if sys.stderr.isatty():
        print("\r\x1b[K", end="", file=sys.stderr)
    if as_json:
        print(_json(result.summary | {"path": str(result.path)}))
        return
    print_summary(result.summary, Console())
    print(f"run: {result.path}")


def _json(data: Mapping[str, object]) -> str:
    return orjson.dumps(data, option=orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY).decode()


def show_progress(now_ns: int, attempts: Mapping[str, Attempts]) -> None:
    shown = [
        f"{role}: {int(np.count_nonzero(one.done_ns >= 0)):,} of {len(one):,} rows done"
        for role, one in attempts.items()
    ]
    line = f"{max(now_ns, 0) / 1e9:,.0f} s  {'  '.join(shown)}"
    print(f"\r\x1b[K{line}", end="", file=sys.stderr, flush=True)
