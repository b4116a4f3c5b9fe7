"""Writes the golden captures that do not exist yet; existing ones are never written again. Those of version 1 were written by
programs that wrote it, and nothing can write them now.

A capture is a ``.tape``, or a folder of them: the rotated files of one recording. Each stands beside a ``.json`` of what must be
read from it, by this version and every later one.
"""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from captures.exchange import Chunk, Exchange, Failure, FailureKind, Flags, Origin, Request, Response
from captures.opening import open_capture
from captures.reader import Capture
from captures.testing import capture_bytes, example_exchange, example_exchanges

HERE = Path(__file__).parent

STREAM = Exchange(
    arrival_ns=2_000_000_000,
    request=Request(
        method="POST",
        target="/v2/models/chat/infer?trace=%C3%A9",
        headers=(("X-Odd", "\xe9\xff"), ("x-odd", "")),
        chunks=(Chunk(2_000_000_100, b"\x00\x01"), Chunk(2_000_000_200, b"")),
        end_ns=2_000_000_200,
        size=9,
        http_version="HTTP/1.0",
    ),
    response=Response(
        status=200,
        chunks=tuple(Chunk(2_000_001_000 + i * 10, b"data: %d\n\n" % i) for i in range(5)),
        first_ns=2_000_000_900,
        size=45,
    ),
    failure=Failure(FailureKind.RESET, 2_000_002_000, "connection reset"),
    flags=Flags.REPLAYABLE | Flags.STREAM | Flags.REQUEST_ALTERED,
)
ATTEMPT = Exchange(
    arrival_ns=1_500_000_000,
    request=Request(method="POST", target="/v2/models/house/infer"),
    failure=Failure(FailureKind.SHED, 1_500_000_000),
    origin=Origin(row=3, source=12, variant=2, target="candidate", attempt=1, intended_ns=1_400_000_000),
)

ATTEMPTS = [
    example_exchange(
        arrival_ns=1_000_000 + i * 500_000,
        connection=i + 1,
        failure=Failure(FailureKind.TIMEOUT, 31_000_000, "no answer") if i == 2 else None,
        response=None if i == 2 else example_exchange(arrival_ns=1_000_000 + i * 500_000).response,
        origin=Origin(row=i // 2, source=4, variant=i % 2, target=target, attempt=1 + i // 3, intended_ns=i * 500_000),
    )
    for i, target in enumerate(("baseline", "candidate", "baseline", "baseline"))
]
LABELLED = [
    example_exchange(labels=(("region", "eu-west"), ("tier", "gold"))),
    example_exchange(arrival_ns=2_000_000, labels=(("tier", "gold"),)),
    example_exchange(arrival_ns=3_000_000, flags=Flags.REPLAYABLE | Flags.SYNTHETIC),
]
KEY = bytes(range(32))  # of the encrypted ones; stands in their sidecars
ROTATED = 3

# name: (flushes, arguments of capture_bytes)
FILES: dict[str, tuple[list[list[Exchange]], dict[str, Any]]] = {
    "v2-tiny": ([[example_exchange()]], {}),
    "v2-small": (
        [example_exchanges(3), [STREAM], [ATTEMPT, example_exchange(model="other")]],
        {"segment_bytes": 1000, "kind": "run", "notes": {"why": "golden"}, "source_digests": ("00ff",), "number": 2},
    ),
    "v2-unsealed": ([example_exchanges(2), []], {"seal": False}),
    "v2-labels": ([LABELLED[:2], LABELLED[2:]], {"labels": ("region", "tier")}),
    "v2-run": (
        [ATTEMPTS[:3], ATTEMPTS[3:]],
        {"kind": "run", "inputs": ({"digest": "00" * 16, "exchanges": 9},), "producer": "example run"},
    ),
    "v2-encrypted": (
        [example_exchanges(3), [STREAM], LABELLED],
        {"segment_bytes": 1000, "labels": ("region", "tier"), "key": KEY},
    ),
    "v2-encrypted-unsealed": ([example_exchanges(2), [ATTEMPT]], {"seal": False, "key": KEY}),
}
# name: arguments of capture_bytes, for each file
FOLDERS: dict[str, dict[str, tuple[list[list[Exchange]], dict[str, Any]]]] = {
    "v2-rotated": {
        f"20231114T221320Z-{number:06}.tape": (
            [[example_exchange(arrival_ns=number * 10**9, connection=number, labels=(("tier", f"of {number}"),))]],
            {"file_id": b"file id 15 byte%d" % number, "number": number, "labels": ("tier",), "oldest": min(number, 2)},
        )
        for number in range(2, ROTATED + 2)
    }
}


def sidecar(capture: Capture) -> dict[str, Any]:
    """Everything a reader must find, as JSON; bytes as latin-1 text. Of several files, the header is the first one's."""
    found = {
        "header": asdict(capture.header),
        "sealed": capture.sealed,
        "digest": capture.digest,
        "confessions": asdict(capture.confessions),
        "segments": [segment.exchanges for segment in capture.segments],
        "exchanges": [asdict(exchange) for exchange in capture.exchanges()],
    }
    if capture.tape_key:
        found["key"] = capture.tape_key.hex()
    if len(capture.files) > 1:
        found["files"] = [[file.name.rsplit("/", 1)[-1], file.header.number, len(file)] for file in capture.files]
    plain: dict[str, Any] = json.loads(json.dumps(found, default=lambda value: value.decode("latin-1")))
    return plain


def write(name: str, to: Path) -> Path:
    """Write the example into a folder, under its name; a folder of files where it has several."""
    if name in FILES:
        flushes, arguments = FILES[name]
        path = to / f"{name}.tape"
        path.write_bytes(capture_bytes(flushes, **arguments))
        return path
    path = to / name
    path.mkdir()
    for file, (flushes, arguments) in FOLDERS[name].items():
        (path / file).write_bytes(capture_bytes(flushes, **arguments))
    return path


def key_of(name: str) -> bytes | None:
    return FILES[name][1].get("key") if name in FILES else None


if __name__ == "__main__":
    for name in (*FILES, *FOLDERS):
        if (HERE / f"{name}.json").exists():
            print(f"{name}: exists, left alone", file=sys.stderr)
            continue
        with open_capture(write(name, HERE), key=key_of(name)) as capture:
            text = json.dumps(sidecar(capture), indent=1)
        (HERE / f"{name}.json").write_text(text + "\n", encoding="utf-8")
