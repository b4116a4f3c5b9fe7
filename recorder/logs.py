"""What a recorder says while it runs: a line for people, or a JSON object per line for machines. Never a word of traffic."""

import contextlib
import json
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Protocol, TextIO


class Say(Protocol):
    """``event``: the stable name of what happened (docs/recording.md lists them); ``level``: info, warning or error; ``fields``:
    its names and numbers.
    """

    def __call__(self, line: str, *, event: str = "note", level: str = "info", **fields: object) -> None: ...


def log(form: str, out: TextIO | None = None, now_ns: Callable[[], int] = time.time_ns) -> Say:
    """``form``: text or json. ``out`` None: stderr."""
    return json_log(out or sys.stderr, now_ns) if form == "json" else text_log(out or sys.stderr)


def text_log(out: TextIO) -> Say:
    def say(line: str, *, event: str = "note", level: str = "info", **fields: object) -> None:  # noqa: ARG001 - for machines
        _write(out, line)

    return say


def json_log(out: TextIO, now_ns: Callable[[], int]) -> Say:
    """``fields`` with the name of a key that every line has give way to it."""

    def say(line: str, *, event: str = "note", level: str = "info", **fields: object) -> None:
        moment = datetime.fromtimestamp(now_ns() // 1_000_000 / 1000, UTC).isoformat(timespec="milliseconds")
        told = {"time": moment.replace("+00:00", "Z"), "level": level, "event": event, "message": line}
        _write(out, json.dumps({**told, **fields, **told}, default=str))

    return say


def _write(out: TextIO, line: str) -> None:
    with contextlib.suppress(OSError):  # nobody reads what we say any more; the traffic goes on
        print(line, file=out, flush=True)
