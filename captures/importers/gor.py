"""GoReplay's .gor files, and the JSON its Kafka output writes: requests and responses, paired again.

Ids pair a request with its response; they repeat over time, so that a pair must also lie within WINDOW_NS. They hold the client's
address and port: what is kept of them is the number of the connection.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from captures.exchange import Chunk, Exchange, Flags, Request, Response, header
from captures.importers.connection_numbers import ConnectionNumbers
from captures.importers.gor_records import META, Record, Trouble, records
from captures.importers.http_message import Body, RecordedRequest, RecordedResponse, parse_request, parse_response
from captures.importers.importer import PENDING_LIMIT, Dropped, ImportOptions, SourceFile

WINDOW_NS = 600_000_000_000
PENDING_BYTES = 256 << 20
_SAME_ID = 64
_FIRST_LINE = re.compile(rb"(?:[A-Z]{3,10} [^ \r\n]+ HTTP/|HTTP/[0-9])")
_ID = re.compile(rb"[0-9a-f]{16,64}")
_CLIENT = 16  # characters of an id: source port, destination port, client address; the other 8 are of the message
_IDS_WITH_CLIENT = 24
_KAFKA_KEYS = (b'"Req_URL"', b'"Req_Type"', b'"Req_ID"', b'"Req_Ts"')


@dataclass(frozen=True, slots=True)
class Gor:
    """Uses no options."""

    @property
    def name(self) -> str:
        return "gor"

    @property
    def notes(self) -> tuple[str, ...]:
        return (
            "chunks have no times of their own: all of a body arrived when it ended",
            "files of old versions have one time per response: its first byte and its last are the same",
            "answers to a replay (records of type 3) are left out",
        )

    def sniff(self, head: bytes) -> bool:
        first, _, rest = head.lstrip(b"\n").partition(b"\n")
        meta = META.fullmatch(first)
        if meta is not None:
            return _ID.fullmatch(meta[2]) is not None and len(meta[3]) >= 16 and _FIRST_LINE.match(rest) is not None
        return first.startswith(b"{") and all(key in first for key in _KAFKA_KEYS)

    def read(
        self,
        files: Iterable[SourceFile],
        options: ImportOptions,  # noqa: ARG002 - it has none
    ) -> Iterator[Exchange | Dropped]:
        pairing = _Pairing()
        for file in files:
            for found in records(file.stream):
                where = f"{file.name} byte {found.offset}"
                if isinstance(found, Trouble):
                    yield Dropped(found.reason, where)
                else:
                    yield from pairing.take(found, where)
        yield from pairing.rest()


@dataclass(frozen=True, slots=True)
class _Asked:
    record: Record
    request: RecordedRequest


@dataclass(frozen=True, slots=True)
class _Answered:
    record: Record
    response: RecordedResponse
    where: str


@dataclass(slots=True)
class _Waiting[T: (_Asked, _Answered)]:
    """Halves by their id, and in the order they came."""

    by_name: dict[bytes, dict[int, T]] = field(default_factory=dict)
    in_order: dict[int, T] = field(default_factory=dict)
    size: int = 0

    def named(self, name: bytes) -> Iterable[T]:
        return self.by_name.get(name, {}).values()

    def put(self, half: T) -> T | None:
        """Returns what has to make room: an id does not come back so often."""
        same = self.by_name.setdefault(half.record.name, {})
        same[id(half)] = self.in_order[id(half)] = half
        self.size += len(half.record.payload)
        return self.removed(next(iter(same.values()))) if len(same) > _SAME_ID else None

    def removed(self, half: T) -> T:
        same = self.by_name[half.record.name]
        del same[id(half)], self.in_order[id(half)]
        if not same:
            del self.by_name[half.record.name]
        self.size -= len(half.record.payload)
        return half

    def overdue(self, now_ns: int | None) -> Iterator[T]:
        """Removes and gives what is too far from ``now_ns`` (None: it is not known), or is too much."""
        while self.in_order:
            oldest = next(iter(self.in_order.values()))
            full = len(self.in_order) > PENDING_LIMIT or self.size > PENDING_BYTES
            if not full and (now_ns is None or abs(oldest.record.at_ns - now_ns) <= WINDOW_NS):
                return
            yield self.removed(oldest)


class _Pairing:
    def __init__(self) -> None:
        self._asked = _Waiting[_Asked]()
        self._answered = _Waiting[_Answered]()  # responses that stand before their request
        self._connections = ConnectionNumbers()
        self._last_ns = 0  # time of the record before

    def take(self, record: Record, where: str) -> Iterator[Exchange | Dropped]:
        if record.kind == 3:
            yield Dropped("replayed_response", where)
            return
        if record.kind == 1:
            request = parse_request(record.payload)
            found = None if request is None else self._ask(_Asked(record, request))
        else:
            response = parse_response(record.payload)
            found = None if response is None else self._answer(_Answered(record, response, where))
        if found is None:
            yield Dropped("damaged", where)
            return
        yield from found
        # Two records in a row have to agree on what time it is: one of an absurd time would part all the others.
        agreed = abs(record.at_ns - self._last_ns) <= WINDOW_NS
        self._last_ns = record.at_ns
        yield from self._overdue(record.at_ns if agreed else None)

    def rest(self) -> Iterator[Exchange | Dropped]:
        yield from self._overdue(1 << 63)

    def _overdue(self, now_ns: int | None) -> Iterator[Exchange | Dropped]:
        for asked in self._asked.overdue(now_ns):
            yield self._exchange(asked, None)
        for answered in self._answered.overdue(now_ns):
            yield Dropped("response_without_request", answered.where)

    def _ask(self, asked: _Asked) -> Iterator[Exchange | Dropped]:
        early = self._answered.named(asked.record.name)
        answered = next((each for each in early if _fit(asked.record, each.record)), None)
        if answered is not None:
            yield self._exchange(asked, self._answered.removed(answered))
        elif (oldest := self._asked.put(asked)) is not None:
            yield self._exchange(oldest, None)

    def _answer(self, answered: _Answered) -> Iterator[Exchange | Dropped]:
        """The latest request it can be an answer to: an id that came again belongs to another request."""
        same = [each for each in self._asked.named(answered.record.name) if _fit(each.record, answered.record)]
        if same:
            asked = max(same, key=lambda each: each.record.at_ns)
            yield self._exchange(self._asked.removed(asked), answered)
        elif (oldest := self._answered.put(answered)) is not None:
            yield Dropped("response_without_request", oldest.where)

    def _exchange(self, asked: _Asked, answered: _Answered | None) -> Exchange:
        record, request = asked.record, asked.request
        at_ns = record.at_ns
        end_ns = at_ns + max(record.latency_ns or 0, 0)
        flags = Flags.REQUEST_TRUNCATED if request.body.truncated else Flags(0)
        exchange = Exchange(
            arrival_ns=at_ns,
            request=Request(
                method=request.method,
                target=request.target,
                headers=request.headers,
                chunks=_chunks(request.body, end_ns),
                end_ns=end_ns,
                size=request.body.size,
                http_version=request.http_version,
            ),
            connection=self._connection(record.name),
            flags=flags,
        )
        return exchange if answered is None else _with_response(exchange, record, answered)

    def _connection(self, name: bytes) -> int:
        """0: ids of old versions are digests of the message, a connection is not in them."""
        client = name[:_CLIENT]
        if len(name) != _IDS_WITH_CLIENT or not client.strip(b"0"):
            return 0
        return self._connections.of(client)


def _fit(asked: Record, answered: Record) -> bool:
    return 0 <= answered.at_ns - asked.at_ns <= WINDOW_NS


def _with_response(exchange: Exchange, asked: Record, answered: _Answered) -> Exchange:
    record, response = answered.record, answered.response
    body = response.body
    if exchange.request.method == "HEAD":
        body = Body((), 0, truncated=False, framed=True)
    first_ns = record.at_ns
    end_ns = first_ns
    # Newer versions: how long this message took. Older ones: how long ago the request was, which we know.
    if record.latency_ns is not None and (asked.latency_ns is not None or record.latency_ns != first_ns - asked.at_ns):
        end_ns += max(record.latency_ns, 0)
    flags = exchange.flags | (Flags.RESPONSE_TRUNCATED if body.truncated else Flags(0))
    if header(response.headers, "transfer-encoding") and not header(response.headers, "content-length"):
        flags |= Flags.STREAM
    found = Response(
        status=response.status,
        reason=response.reason,
        headers=response.headers,
        chunks=_chunks(body, end_ns),
        first_ns=first_ns,
        end_ns=end_ns,
        size=body.size,
    )
    return replace(exchange, response=found, flags=flags)


def _chunks(body: Body, at_ns: int) -> tuple[Chunk, ...]:
    return tuple(Chunk(at_ns, piece) for piece in body.pieces)
