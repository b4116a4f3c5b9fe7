"""SageMaker Data Capture (JSON Lines): one record per invocation, with one or both sides and a time of whole seconds."""

import base64
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b

from captures.codecs.json_spans import load
from captures.errors import CodecError, UsageError
from captures.exchange import Exchange, Headers, Request, Response
from captures.importers.decoded import chunk_of, wire_text
from captures.importers.importer import Dropped, ImportOptions, SourceFile
from captures.importers.instants import instant_ns
from captures.importers.json_heads import first_keys
from captures.importers.lines import BOM, Line, lines
from captures.importers.moved import moved
from captures.importers.path_templates import check_template, target_of

DEFAULT_TEMPLATE = "/invocations"
MOST_AT_ONCE = 5_000  # records of one second that are spread over it together
MOST_BYTES_AT_ONCE = 4 << 20
_SECOND_NS = 10**9
_WHITE = re.compile(rb"[ \t\r\n]+")


@dataclass(frozen=True, slots=True)
class SageMaker:
    """Uses ``path_template`` (default /invocations), ``model`` where the template has a hole for it, and ``seed``."""

    name: str = "sagemaker"
    notes: tuple[str, ...] = (
        "Times are recorded in whole seconds: requests are spread over theirs at random, seeded, in the order of the file.",
        "How long a response took is not recorded: it ends when its request arrives, so service times of 0 mean nothing.",
        "Method, path and status are not recorded: POST, /invocations (or the path template), and 200 for every response.",
        "The capture is a sample (InitialSamplingPercentage, which it does not tell) and stops when its disk is full.",
    )

    def sniff(self, head: bytes) -> bool:
        return head.removeprefix(BOM).lstrip()[:1] == b"{" and "captureData" in first_keys(head)

    def read(self, files: Iterable[SourceFile], options: ImportOptions) -> Iterator[Exchange | Dropped]:
        template = options.path_template or DEFAULT_TEMPLATE
        check_template(template, options.model)
        if "{model}" in template and not options.model:
            raise UsageError(f"--path-template {template!r}: sagemaker records no model; name it with --model NAME")
        return _read(files, target_of(template, options.model), options.seed)


@dataclass(frozen=True, slots=True)
class _Event:
    exchange: Exchange
    identity: str
    whole_second: bool


def _read(files: Iterable[SourceFile], target: str, seed: int) -> Iterator[Exchange | Dropped]:
    for file in files:
        together = _Together(seed)
        for line in lines(file.stream):
            if not line.data.strip() and not line.too_long:
                continue
            event = _event(line, f"{file.name}: line {line.number}", target)
            if isinstance(event, Dropped):
                yield event
                continue
            if event.exchange.arrival_ns != together.second_ns:
                yield from together.spread(_SECOND_NS)
                together = _Together(seed, event.exchange.arrival_ns)
            elif together.size >= MOST_BYTES_AT_ONCE or len(together.events) >= MOST_AT_ONCE:
                yield from together.spread((together.taken_ns + _SECOND_NS) // 2)
            together.events.append(event)
            together.size += len(line.data)
        yield from together.spread(_SECOND_NS)


@dataclass(slots=True)
class _Together:
    """Events of one second that follow each other. Where they are too many to hold, they are spread in parts, each over half of
    what the parts before it left of the second.
    """

    seed: int
    second_ns: int = -1
    events: list[_Event] = field(default_factory=list)
    size: int = 0  # of their lines
    taken_ns: int = 0  # of the second, by the parts before

    def spread(self, until_ns: int) -> Iterator[Exchange]:
        """As many random times as events up to ``until_ns`` of the second, in the order of the events."""
        events, free_ns = self.events, until_ns - self.taken_ns
        identities = (event.identity for event in events if event.whole_second)
        offsets = iter(sorted(self.taken_ns + _share(self.seed, identity, free_ns) for identity in identities))
        self.events, self.size, self.taken_ns = [], 0, until_ns
        for event in events:
            yield moved(event.exchange, next(offsets)) if event.whole_second else event.exchange


def _share(seed: int, identity: str, of_ns: int) -> int:
    """A random part of it, below the whole."""
    digest = blake2b(f"{seed}/{identity}".encode(errors="replace"), digest_size=8).digest()
    return int.from_bytes(digest) * of_ns >> 64


def _event(line: Line, where: str, target: str) -> _Event | Dropped:
    try:
        record = load(line.data)
        captured, about = _object(_object(record).get("captureData")), _object(_object(record).get("eventMetadata"))
        sent, got = captured.get("endpointInput"), captured.get("endpointOutput")
        if sent is None:
            return Dropped("response_without_request" if got is not None else "damaged", where)
        time = str(about.get("inferenceTime") or "")
        at_ns = instant_ns(time)
        body, kind = _body(_object(sent)), _content_type(_object(sent))
        request = Request(
            method="POST",
            target=target,
            headers=(
                *kind,
                *_named("X-Amzn-SageMaker-Inference-Id", about.get("inferenceId")),
                *_named("X-Amzn-SageMaker-Custom-Attributes", about.get("customAttributes")),
            ),
            chunks=chunk_of(at_ns, body),
            end_ns=at_ns,
            size=len(body),
        )
        response = None if got is None else _response(_object(got), at_ns)
    except (CodecError, ValueError):
        return Dropped("damaged", where)
    exchange = Exchange(arrival_ns=at_ns, request=request, response=response)
    return _Event(exchange, str(about.get("eventId") or where), "." not in time)


def _response(side: Mapping[str, object], at_ns: int) -> Response:
    body = _body(side)
    return Response(status=200, headers=_content_type(side), chunks=chunk_of(at_ns, body), end_ns=at_ns, size=len(body))


def _object(value: object) -> Mapping[str, object]:
    if type(value) is not dict:
        raise ValueError("not an object")
    return value


def _body(side: Mapping[str, object]) -> bytes:
    """``encoding`` is CSV or JSON for text, BASE64 for anything else. Raises ValueError."""
    data, encoding = side.get("data"), side.get("encoding", "")
    if data is None:
        return b""
    if not isinstance(data, str) or encoding not in ("CSV", "JSON", "BASE64", ""):
        raise ValueError("neither text nor base64")
    if encoding == "BASE64":
        return base64.b64decode(_WHITE.sub(b"", data.encode()), validate=True)
    return data.encode()


def _content_type(side: Mapping[str, object]) -> Headers:
    return _named("Content-Type", side.get("observedContentType"))


def _named(name: str, value: object) -> Headers:
    """A header, where there is a value: a text, or a list of them."""
    values = value if isinstance(value, list) else [value]
    text = ",".join(item for item in values if isinstance(item, str))
    return ((name, wire_text(text)),) if text else ()
