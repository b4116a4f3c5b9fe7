"""No secret planted anywhere on the wire, in any spelling, is on the tape, and nothing on it looks like one.

What `plant` makes goes the way of a recording: packed as it leaves the relay, unpacked, pseudonymised under the default policy,
written, read back, searched. tests/captures/privacy/test_leaks.py plants ten thousand. Where a name stands (of a header, a
parameter, a key) the secret is nothing that reads like a name: plain words survive there by design.
"""

import gzip
import random
import zlib
from collections.abc import Callable, Sequence
from urllib.parse import quote

import brotli  # type: ignore[import-untyped]  # it comes without annotations
import zstandard

from captures.exchange import Exchange, FailureKind
from captures.privacy.policy import Policy
from captures.privacy.pseudonymise import Pseudonymiser
from captures.privacy.scan import KNOWN, scan_exchange
from captures.privacy.scan_needles import Needles
from captures.testing import capture_bytes, capture_of
from fuzz.planted_bodies import BODIES, Body
from fuzz.planting import Plant, Planter
from recorder.frames import pack_wire
from recorder.unpack import unpack_wire
from recorder.wire import WireBody, WireExchange


def case(rng: random.Random) -> None:
    planted = [plant(rng) for _ in range(rng.randrange(1, 8))]
    found = leaks(planted, Policy(), rng.randbytes(32))
    assert not found, f"on the tape: {found}"


def leaks(planted: Sequence[tuple[WireExchange, list[Plant]]], policy: Policy, key: bytes) -> list[str]:
    """What of ``planted`` is found on a tape written under ``policy``, and what there looks like a secret."""
    raw = [unpack_wire(pack_wire(wire)) for wire, _ in planted]
    kept = on_tape(Pseudonymiser(policy, key).apply(raw))
    needles = Needles([each.secret.encode() for _, plants in planted for each in plants])
    found: list[str] = []
    for exchange, (_, plants) in zip(kept, planted, strict=True):
        for where, kind in scan_exchange(exchange, needles):
            mine = [each for each in plants if kind == KNOWN and holds(exchange, each)]
            found += [f"{where}: {each}" for each in mine] or [f"{where}: {kind}"]
    return found


def on_tape(exchanges: Sequence[Exchange]) -> list[Exchange]:
    """As a reader of the file gets them."""
    with capture_of(capture_bytes([exchanges])) as capture:
        return list(capture.exchanges())


def holds(exchange: Exchange, each: Plant) -> bool:
    return any(kind == KNOWN for _, kind in scan_exchange(exchange, Needles([each.secret.encode()])))


# -- places


PATHS: dict[str, Callable[[Planter], str]] = {
    "V2": lambda _: "/v2/models/house/infer",
    "V2 model": lambda p: (
        f"/v2/models/{quote(p.name('model name'), safe='')}/versions/{quote(p.name('version'), safe='')}/infer"
    ),
    "V1": lambda _: "/v1/models/house:predict",
    "V1 model": lambda p: f"/v1/models/{quote(p.name('model name'), safe='')}:predict",
    "chat": lambda _: "/v1/chat/completions",
    "completions": lambda _: "/v1/completions",
    "responses": lambda _: "/v1/responses",
    "embeddings": lambda _: "/v1/embeddings",
    "messages": lambda _: "/v1/messages",
    "generate": lambda _: "/generate",
    "Triton generate": lambda _: "/v2/models/house/generate_stream",
    "SageMaker": lambda _: "/invocations",
    "users": lambda p: f"/users/{quote(p.new('path'), safe='')}/score/{quote(p.new('path'), safe='')}",
    "raw": lambda p: f"/{p.compact('raw path')}/score",
    "absolute": lambda p: f"http://{p.compact('authority')}/v2/models/house/infer",
}
HEADERS: tuple[tuple[str, str], ...] = (
    ("Authorization", "Bearer {}"),
    ("Authorization", "Basic {}"),
    ("Proxy-Authorization", "{}"),
    ("X-Api-Key", "{}"),
    ("Cookie", "a=b; user={}; {}=1"),
    ("X-Customer", "{}"),
    ("X-Customer", '"{}"'),
    ("X-Forwarded-For", "{}, 10.0.0.1"),
    ("Forwarded", "for={};proto=http"),
    ("Referer", "https://a.example/?q={}"),
    ("Origin", "https://{}"),
    ("Host", "{}"),
    ("User-Agent", "curl/8 ({})"),
    ("User-Agent", "{}"),
    ("Accept", "text/html, {};q=0.5, */*;q={}"),
    ("Accept-Encoding", "gzip, {}"),
    ("Accept-Language", "{}"),
    ("Connection", "keep-alive, {}"),
    ("Transfer-Encoding", "{}"),
    ("X-Request-Id", "{}"),
    ("traceparent", "00-{}-{}-01"),
    ("tracestate", "vendor={}"),
    ("baggage", "user={}"),
    ("If-None-Match", '"{}"'),
    ("Idempotency-Key", "{}"),
    ("X-Amz-Security-Token", "{}"),
    ("Set-Cookie", "user={}; Path=/{}"),
    ("Location", "/users/{}?u={}"),
    ("Server", "{}"),
    ("ETag", "{}"),
    ("Trailer", "{}"),
    ("Via", "1.1 {}"),
    ("Warning", '199 - "{}"'),
    ("WWW-Authenticate", 'Basic realm="{}"'),
    ("Content-Disposition", 'attachment; filename="{}"'),
    ("Content-Language", "{}"),
    ("grpc-message", "{}"),
    ("Inference-Header-Content-Length", "{}"),
)
TYPES = (
    "application/json",
    "application/json; charset={}",
    "{}",
    "text/{}",
    'text/plain; name="{}"',
    "multipart/form-data; boundary={}",
)
CODINGS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": lambda data: gzip.compress(data, mtime=0),
    "deflate": zlib.compress,
    "raw deflate": lambda data: zlib.compress(data)[2:-4],
    "zstd": lambda data: zstandard.ZstdCompressor().compress(data),
    "br": brotli.compress,
}


def plant(
    rng: random.Random, kind: str = "", spelling: str = "", path: str = "", body: str = ""
) -> tuple[WireExchange, list[Plant]]:
    """A call with a secret in every place that it has. ``kind``, ``spelling``, ``path``, ``body``: as asked, else by chance."""
    planter = Planter(rng, kind, spelling)
    target = PATHS[path or rng.choice(tuple(PATHS))](planter)
    if rng.random() < 0.7:
        values = [quote(planter.new("query value"), safe=rng.choice(["", "/:@"])) for _ in range(2)]
        name, alone = quote(planter.name("query name")), quote(planter.name("query, no value"))
        target += f"?user={values[0]}&{name}={values[1]}&{alone}&limit=3"
    if rng.random() < 0.1:
        target += f"#{planter.compact('fragment')}"
    sent = BODIES[body or rng.choice(tuple(BODIES))]
    answered = BODIES[rng.choice(tuple(BODIES))]
    request_headers, request_body = _message(planter, "request", sent)
    response_headers, response_body = _message(planter, "response", answered)
    method = planter.compact("method") if rng.random() < 0.1 else rng.choice(["POST", "POST", "GET"])
    failed = rng.random() < 0.1
    return WireExchange(
        arrival_ns=1,
        connection=rng.randrange(9),
        request_head=_head(f"{method} {target.replace(' ', '%20')} HTTP/1.1", request_headers),
        request=_chunks(request_body, rng, 2),
        response_head=_head(
            f"HTTP/1.1 {rng.choice([200, 200, 200, 400, 404, 429, 500, 502])} {planter.raw('reason phrase')}",
            response_headers,
        ),
        first_ns=3,
        response=_chunks(response_body, rng, 3),
        failure=FailureKind.RESET if failed else FailureKind.NONE,
        failed_ns=4 if failed else -1,
    ), planter.plants


def _head(start: str, headers: Sequence[tuple[str, str]]) -> bytes:
    lines = [start, *(f"{name}: {value}" for name, value in headers)]
    return ("\r\n".join(line.replace("\r", " ").replace("\n", " ") for line in lines) + "\r\n\r\n").encode()


def _chunks(body: bytes, rng: random.Random, at_ns: int) -> WireBody:
    """Cut anywhere, in the middle of a secret too; sometimes cut off."""
    cuts = sorted(rng.randrange(len(body) + 1) for _ in range(rng.randrange(4)))
    parts = [body[low:high] for low, high in zip([0, *cuts], [*cuts, len(body)], strict=True)]
    cut_off = rng.random() < 0.05
    return WireBody(
        chunks=[(at_ns, part) for part in parts],
        size=len(body) + 100 * cut_off,
        held=len(body),
        end_ns=-1 if rng.random() < 0.05 else at_ns,
        truncated=cut_off,
    )


def _message(planter: Planter, side: str, body: Body) -> tuple[list[tuple[str, str]], bytes]:
    rng = planter.rng
    kind, data = body(planter, side)
    headers = [
        (name, form.format(*(planter.new(f"{side} header {name}") for _ in range(form.count("{}")))))
        for name, form in rng.sample(HEADERS, 5)
    ]
    if rng.random() < 0.3:
        headers.append((planter.name(f"{side} header name").replace(":", "."), "1"))
    if rng.random() < 0.2:
        form = rng.choice(TYPES)
        headers.append(
            ("Content-Type", form.format(*(planter.new(f"{side} content type") for _ in range(form.count("{}")))))
        )
    else:
        headers.append(("Content-Type", kind))
    if rng.random() < 0.15:
        coding = rng.choice(tuple(CODINGS))
        data = CODINGS[coding](data)
        if rng.random() < 0.7:
            headers.append(("Content-Encoding", coding.removeprefix("raw ")))
    headers.append(("Content-Length", str(len(data))))
    return headers, data
