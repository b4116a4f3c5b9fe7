"""What KServe's inference logger leaves in a bucket: LogRequest JSON (an object or an array per blob), or structured CloudEvents.

Request and response are records of their own, often in files of their own, that share an id. Keys are spelled as Go does
(``ReqType``, in most releases) or with a small first letter.
"""

import re
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from captures.exchange import Exchange, Request, Response
from captures.importers.decoded import chunk_of
from captures.importers.importer import PENDING_LIMIT, Dropped, ImportOptions, SourceFile
from captures.importers.json_heads import first_keys
from captures.importers.json_stream import BrokenJsonError, JsonStream
from captures.importers.kserve_events import CE_TYPE, Event, event_of
from captures.importers.path_templates import check_template, target_of

PENDING_BYTES = 256 << 20
"""Of bodies that wait for their other half."""
GAP_NS = 10**9
"""Between requests where no time was recorded: slow enough to harm nobody who replays it as it is."""

_STARTS = re.compile(rb'\{\s{0,64}"(?:[uU]rl|[bB]ytes|[cC]ontentType|[rR]eqType|specversion)"')
_SHAPES = ({"url", "bytes"}, {"reqType", "bytes"}, {"reqType", "inferenceService"})

# Keys of a body -> the path it was most likely sent to. First match wins.
_V2, _V1 = "/v2/models/{model}/infer", "/v1/models/{model}:predict"
_PATHS = (
    ("instances", _V1),
    ("messages", "/openai/v1/chat/completions"),
    ("prompt", "/openai/v1/completions"),
    ("inputs", _V1),
)
_INPUTS = re.compile(rb'"inputs"\s*+:\s*+(\[)')
_LOOKED_AT = 64 << 10  # bytes of a body


@dataclass(frozen=True, slots=True)
class KServe:
    """Uses ``path_template`` (else the path is inferred from the keys of each body) and ``model`` (else the name of the
    InferenceService).
    """

    name: str = "kserve"
    notes: tuple[str, ...] = (
        "Method, path and status are not recorded: POST, the path template or what the body looks like, and 200 for responses.",
        "Only answers of 200 are logged: a request without a response failed, or its response was lost; which of them is unknown.",
        "A response's content type is recorded as that of its request, so it is left out; headers are those the logger allows.",
        "The first byte of a response is unknown. A response without a time of its own takes none.",
        "Requests without a time (every release without occurrenceTime) are put one second apart: their rate is made up.",
        "Data of structured CloudEvents that is not in base64 is written anew: spaces and the spelling of numbers may differ.",
    )

    def sniff(self, head: bytes) -> bool:
        keys = {key[:1].lower() + key[1:] for key in first_keys(head)}
        return any(shape <= keys for shape in _SHAPES) or ("specversion" in keys and CE_TYPE in head)

    def read(self, files: Iterable[SourceFile], options: ImportOptions) -> Iterator[Exchange | Dropped]:
        check_template(options.path_template or "/", options.model)
        return _read(files, options)


def _read(files: Iterable[SourceFile], options: ImportOptions) -> Iterator[Exchange | Dropped]:
    halves = _Halves(options)
    for file in files:
        for event in _events(file):
            if isinstance(event, Dropped):
                yield event
            else:
                yield from halves.add(event)
    yield from halves.rest()


def _events(file: SourceFile) -> Iterator[Event | Dropped]:
    """Blobs may have been joined: where arrays begin and end does not matter."""
    stream = JsonStream(file.stream, _STARTS)
    while first := stream.peek():
        if first in b"[],":
            stream.skip()
            continue
        where = f"{file.name}: byte {stream.offset}"
        data = _object(stream, first)
        yield event_of(data, where) if data else Dropped("damaged", where)
        if not data and not stream.resume():
            return


def _object(stream: JsonStream, first: bytes) -> bytes:
    """The object that comes next; b"" where none does."""
    try:
        return stream.value() if first == b"{" else b""
    except BrokenJsonError:
        return b""


def path_for(body: bytes) -> str:
    """The template of the path a body was most likely sent to; "" where it looks like none we know."""
    head = body[:_LOOKED_AT]
    keys = first_keys(head)
    if "inputs" in keys and (inputs := _INPUTS.search(head)) is not None:
        tensor = first_keys(head[inputs.start(1) :])
        if not tensor.isdisjoint(("datatype", "shape")):
            return _V2
    return next((path for key, path in _PATHS if key in keys), "")


@dataclass(slots=True)
class _Halves:
    """Requests and responses that wait for each other, the oldest first. What waits too long goes alone."""

    options: ImportOptions
    waiting: OrderedDict[tuple[str, ...], Event] = field(default_factory=OrderedDict)
    size: int = 0  # of their bodies
    last_ns: int = -GAP_NS

    def add(self, event: Event) -> Iterator[Exchange | Dropped]:
        if event.side == "request":
            event = self._timed(event)
        other = self._take(("response" if event.side == "request" else "request", *event.key))
        if other is not None:
            yield self._paired(*((event, other) if event.side == "request" else (other, event)))
            return
        if (older := self._take((event.side, *event.key))) is not None:
            yield self._alone(older)
        self.waiting[event.side, *event.key] = event
        self.size += len(event.body)
        while len(self.waiting) > PENDING_LIMIT or (self.size > PENDING_BYTES and len(self.waiting) > 1):
            oldest = self._take(next(iter(self.waiting)))
            assert oldest is not None
            yield self._alone(oldest)

    def rest(self) -> Iterator[Exchange | Dropped]:
        while self.waiting:
            event = self._take(next(iter(self.waiting)))
            assert event is not None
            yield self._alone(event)

    def _take(self, key: tuple[str, ...]) -> Event | None:
        event = self.waiting.pop(key, None)
        self.size -= len(event.body) if event is not None else 0
        return event

    def _timed(self, request: Event) -> Event:
        made_up = request.at_ns < 0
        self.last_ns = self.last_ns + GAP_NS if made_up else request.at_ns
        return replace(request, at_ns=self.last_ns, made_up=made_up)

    def _alone(self, event: Event) -> Exchange | Dropped:
        if event.side == "response":
            return Dropped("response_without_request", event.where)
        return self._paired(event, None)

    def _paired(self, request: Event, response: Event | None) -> Exchange | Dropped:
        template = self.options.path_template or path_for(request.body)
        model = self.options.model or request.service
        if not template:
            return Dropped("no_path", request.where)
        if not model and "{model}" in template:
            return Dropped("no_model", request.where)
        at_ns = request.at_ns
        return Exchange(
            arrival_ns=at_ns,
            request=Request(
                method="POST",
                target=target_of(template, model),
                headers=request.headers,
                chunks=chunk_of(at_ns, request.body),
                end_ns=at_ns,
                size=len(request.body),
            ),
            response=None if response is None else _answer(request, response),
        )


def _answer(request: Event, response: Event) -> Response:
    """No time of its own, or none to compare it with: it took none."""
    at_ns = request.at_ns if request.made_up else max(request.at_ns, response.at_ns)
    return Response(status=200, chunks=chunk_of(at_ns, response.body), end_ns=at_ns, size=len(response.body))
