"""Writes the golden files of the current format version that do not exist yet; existing ones are never written again.

Each ``.tape`` stands beside a ``.json`` of what must be read from it, by this version and every later one.
"""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from captures.exchange import Chunk, Exchange, Failure, FailureKind, Flags, Origin, Request, Response
from captures.reader import Capture
from captures.testing import capture_bytes, capture_of, example_exchange, example_exchanges

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

# name: (flushes, arguments of capture_bytes)
FILES: dict[str, tuple[list[list[Exchange]], dict[str, Any]]] = {
    "v1-tiny": ([[example_exchange()]], {}),
    "v1-small": (
        [example_exchanges(3), [STREAM], [ATTEMPT, example_exchange(model="other")]],
        {"segment_bytes": 1000, "kind": "run", "notes": {"why": "golden"}, "source_digests": ("00ff",), "number": 2},
    ),
    "v1-unsealed": ([example_exchanges(2), []], {"seal": False}),
}


def sidecar(capture: Capture) -> dict[str, Any]:
    """Everything a reader must find, as JSON; bytes as latin-1 text."""
    found = {
        "header": asdict(capture.header),
        "sealed": capture.sealed,
        "digest": capture.digest,
        "confessions": asdict(capture.confessions),
        "segments": [segment.exchanges for segment in capture.segments],
        "exchanges": [asdict(exchange) for exchange in capture.exchanges()],
    }
    plain: dict[str, Any] = json.loads(json.dumps(found, default=lambda value: value.decode("latin-1")))
    return plain


if __name__ == "__main__":
    for name, (flushes, arguments) in FILES.items():
        path = HERE / f"{name}.tape"
        if path.exists():
            print(f"{path.name}: exists, left alone", file=sys.stderr)
            continue
        data = capture_bytes(flushes, **arguments)
        path.write_bytes(data)
        text = json.dumps(sidecar(capture_of(data)), indent=1)
        path.with_suffix(".json").write_text(text + "\n", encoding="utf-8")
