"""Which bytes of an HTTP/1.1 connection belong to which exchange, for one who only watches. Sans-IO.

The bytes of both directions come in as calls with their time; exchanges go to a `Recording`. The rules, the same as in
`recorder.assembler`:

1. An exchange comes out exactly once: when request and response have both ended, or when it failed.
2. A response may end before its request has (an early 413). The exchange then waits for the rest of the request, or for the
   client to go away; the response is complete either way and there is no failure.
3. A failure after a partial response keeps the part that came; its ``end_ns`` stays -1.

Responses answer requests in order (RFC 9112 §9.3). Where bytes stop making sense to a strict reader (`recorder.strict_http`) the
connection is lost from there on: what is not certain is left as unparsed, and so is the rest of the connection, once. What is
certain still comes out: a bad request says nothing about the answers to the good ones before it. After an upgrade or a CONNECT that
succeeded the bytes are not HTTP; the exchange that led there is the one that counts as unparsed.
"""

from collections import deque

from captures.exchange import FailureKind
from recorder.board import Count
from recorder.recording import Recording
from recorder.strict_http import (
    CHUNKED,
    HEAD_LIMIT,
    UNTIL_CLOSE,
    Dechunker,
    RequestPlan,
    ResponsePlan,
    UnframedError,
    request_plan,
    response_plan,
)
from recorder.wire import WireExchange

PENDING_LIMIT = 256  # requests sent ahead of their answers; nobody pipelines more, and it bounds memory
_MANY = 16  # and this many with heads of any size
_SMALL_HEAD = 4 << 10  # bytes: heads behind them, and heads that are remembered

_HEAD_END = b"\r\n\r\n"
_LINE_END = b"\r\n"


class _Turn:
    """A request and its place in the order of answers. ``exchange`` None: not recorded, or no more."""

    __slots__ = ("answered", "asked", "exchange", "method")

    def __init__(self, exchange: WireExchange | None, method: bytes) -> None:
        self.exchange = exchange
        self.method = method
        self.asked = False  # the request has ended
        self.answered = False  # the response has ended


class _Stream:
    """One direction, and where in a message it is. ``left``: of a body, its bytes to come, CHUNKED or UNTIL_CLOSE; 0 between
    bodies. ``deaf``: nothing more is read here.
    """

    __slots__ = ("_dechunker", "_part", "_part_ns", "deaf", "left")

    def __init__(self) -> None:
        self.left = 0
        self.deaf = False
        self._part: bytearray | None = None  # of a head
        self._part_ns = 0  # when its first byte came
        self._dechunker = Dechunker()

    @property
    def in_head(self) -> bool:
        return self._part is not None

    def head(self, data: bytes, start: int, at_ns: int, *, after_empty_lines: bool) -> tuple[bytes, int, int] | None:
        """The head that ``data`` has the end of, where it stops there, and when its first byte came. None: more is to come.
        RFC 9112 §2.2 lets empty lines come before a request. Raises UnframedError where it is too long.
        """
        if self._part is not None:
            return self._rest_of_head(self._part, data, start, at_ns, after_empty_lines)
        if after_empty_lines:
            while data.startswith(_LINE_END, start):
                start += 2
        stop = data.find(_HEAD_END, start) + 4
        if stop == 3:
            if start < len(data):
                self._part, self._part_ns = bytearray(data[start:]), at_ns
            return None
        if stop - start > HEAD_LIMIT:
            raise UnframedError
        return data[start:stop], stop, at_ns

    def _rest_of_head(
        self, part: bytearray, data: bytes, start: int, at_ns: int, after_empty_lines: bool
    ) -> tuple[bytes, int, int] | None:
        before = len(part)
        part += data[start:] if start else data
        if after_empty_lines and part.startswith(_LINE_END):  # a read had ended between CR and LF
            self._part = None
            return self.head(data, start + 1, at_ns, after_empty_lines=True)
        stop = part.find(_HEAD_END, max(0, before - 3)) + 4
        if max(stop, before) > HEAD_LIMIT:
            raise UnframedError
        if stop == 3:
            return None
        self._part = None
        return bytes(memoryview(part)[:stop]), start + stop - before, self._part_ns

    def body_comes(self, left: int) -> None:
        self.left = left
        if left == CHUNKED:
            self._dechunker = Dechunker()

    def body(self, data: bytes, start: int) -> tuple[bytes, int]:
        """The body bytes in ``data`` from ``start``, and where they stop; ``left`` is 0 at their end. Raises UnframedError."""
        if self.left > 0:
            stop = start + self.left
            self.left = max(0, stop - len(data))
            return data[start:stop], min(stop, len(data))
        if self.left == UNTIL_CLOSE:
            return data[start:], len(data)
        payload, start = self._dechunker.feed(data, start)
        if self._dechunker.over:
            self.left = 0
        return payload, start


class Framer:
    """One client connection and the upstream connection it has. Bytes of either side are given once, in the order they came;
    nothing is raised, whatever they are. ``lost``: they are no HTTP any more that can be framed.
    """

    def __init__(self, recording: Recording, connection: int) -> None:
        self.lost = False
        self._recording = recording
        self._connection = connection
        self._requests = _Stream()
        self._responses = _Stream()
        self._turns: deque[_Turn] = deque()  # those whose response or request has not ended
        self._client_left = False
        # The heads before, with what they meant: on one connection they often repeat.
        self._last_request = b""
        self._request_plan = RequestPlan(b"", 0)
        self._last_response = b""
        self._response_plan = ResponsePlan(0, 0)

    @property
    def pending(self) -> bool:
        """A request has begun and is not over."""
        return bool(self._turns) or (self._requests.in_head and not self._requests.deaf)

    @property
    def reading(self) -> bool:
        """A request has begun, and not all of it has come."""
        return bool(self._requests.left) or self._requests.in_head

    def from_client(self, data: bytes, at_ns: int) -> None:
        requests = self._requests
        try:
            start, size = 0, len(data)
            while start < size and not requests.deaf:
                if requests.left:
                    start = self._request_body(data, start, at_ns)
                elif (head := requests.head(data, start, at_ns, after_empty_lines=True)) is not None:
                    start = head[1]
                    self._request(head[0], head[2], at_ns)
                else:
                    return
        except UnframedError:
            self._requests_lost()

    def from_server(self, data: bytes, at_ns: int) -> None:
        responses, turns = self._responses, self._turns
        try:
            start, size = 0, len(data)
            while start < size and not responses.deaf:
                if responses.left:
                    start = self._response_body(data, start, at_ns)
                elif not turns or turns[0].answered:  # a response without a request
                    self._all_lost()
                elif (head := responses.head(data, start, at_ns, after_empty_lines=False)) is not None:
                    start = head[1]
                    self._response(head[0], head[2], at_ns)
                else:
                    return
        except UnframedError:
            self._all_lost()

    def client_closed(self) -> None:
        """The client sends nothing more. Answers may still reach it."""
        self._client_left = True
        self._no_more_requests()
        if self._turns and self._turns[0].answered:
            self._keep(self._turns.popleft())

    def server_closed(self, at_ns: int, *, whole: bool) -> None:
        """The upstream sends nothing more. ``whole``: what it sent has reached us; else the connection was cut, which does not
        end a response that lasts until the close.
        """
        if whole and self._responses.left == UNTIL_CLOSE and not self._responses.deaf:
            self._answered(self._turns[0], at_ns)
        self._responses.deaf = True
        kind = FailureKind.CLIENT_DISCONNECT if self._client_left else FailureKind.RESET
        self._fail_unanswered(kind, at_ns)

    def connect_failed(self, at_ns: int) -> None:
        """There is no upstream connection, and never will be."""
        self._responses.deaf = True
        kind = FailureKind.CLIENT_DISCONNECT if self._client_left else FailureKind.CONNECT
        self._fail_unanswered(kind, at_ns)

    def abandon(self, at_ns: int) -> None:
        """The recording ends: what is open is over, through no fault of client or server. Framing goes on, for `pending`."""
        for turn in self._turns:
            if turn.exchange is not None:
                self._fail(turn, FailureKind.INTERNAL, at_ns)
                turn.exchange = None

    def give_up(self) -> None:
        """Our own code failed; nothing here is certain any more."""
        open_before = [turn.exchange for turn in self._turns if turn.exchange is not None]
        self._turns.clear()
        self._requests.deaf = self._responses.deaf = self.lost = True
        if not open_before:
            self._recording.hook_failed()
        for exchange in open_before:
            self._recording.leave(exchange, Count.HOOK_ERRORS)

    def _request(self, head: bytes, arrival_ns: int, at_ns: int) -> None:
        if head == self._last_request:
            method, left = self._request_plan
        else:
            method, left = self._request_plan = request_plan(head)
            self._last_request = head if len(head) <= _SMALL_HEAD else b""
        turns = self._turns
        if len(turns) >= _MANY and (len(turns) >= PENDING_LIMIT or len(head) > _SMALL_HEAD):
            raise UnframedError
        wanted = self._recording.admit(head)
        turn = _Turn(WireExchange(arrival_ns, self._connection, head) if wanted else None, method)
        turns.append(turn)
        if left:
            self._requests.body_comes(left)
        else:
            self._asked(turn, at_ns)

    def _request_body(self, data: bytes, start: int, at_ns: int) -> int:
        turn = self._turns[-1]
        payload, start = self._requests.body(data, start)
        exchange = turn.exchange
        if payload and exchange is not None and not self._recording.body(exchange.request, at_ns, payload):
            self._leave(turn, Count.SHED)
        if not self._requests.left:
            self._asked(turn, at_ns)
        return start

    def _asked(self, turn: _Turn, at_ns: int) -> None:
        turn.asked = True
        if turn.exchange is not None:
            turn.exchange.request.end_ns = at_ns
        if turn.answered:
            self._keep(self._turns.popleft())

    def _response(self, head: bytes, first_ns: int, at_ns: int) -> None:
        if head == self._last_response:
            status, left = self._response_plan
        else:
            status, left = self._response_plan = response_plan(head)
            self._last_response = head if len(head) <= _SMALL_HEAD else b""
        turn = self._turns[0]
        if status == 101 or (turn.method == b"CONNECT" and 200 <= status < 300):
            self._upgraded()
            return
        if status < 200 or status == 204:
            if left > 0 or left == CHUNKED:
                raise UnframedError  # no body by the RFC, and some read one
            left = 0
        elif status == 304 or turn.method == b"HEAD":
            left = 0
        if status < 200:
            return
        if (exchange := turn.exchange) is not None:
            exchange.response_head = head
            exchange.first_ns = first_ns
        if left:
            self._responses.body_comes(left)
        else:
            self._answered(turn, at_ns)

    def _response_body(self, data: bytes, start: int, at_ns: int) -> int:
        turn = self._turns[0]
        payload, start = self._responses.body(data, start)
        exchange = turn.exchange
        if payload and exchange is not None and not self._recording.body(exchange.response, at_ns, payload):
            self._leave(turn, Count.SHED)
        if not self._responses.left:
            self._answered(turn, at_ns)
        return start

    def _answered(self, turn: _Turn, at_ns: int) -> None:
        turn.answered = True
        if turn.exchange is not None:
            turn.exchange.response.end_ns = at_ns
        if turn.asked or self._client_left:
            self._keep(self._turns.popleft())

    def _keep(self, turn: _Turn) -> None:
        if turn.exchange is not None:
            self._recording.keep(turn.exchange)

    def _leave(self, turn: _Turn, reason: Count) -> None:
        exchange, turn.exchange = turn.exchange, None
        if exchange is not None:
            self._recording.leave(exchange, reason)

    def _fail(self, turn: _Turn, kind: FailureKind, at_ns: int) -> None:
        """By rule 2 a complete response is no failure."""
        if turn.exchange is not None and not turn.answered:
            turn.exchange.failure = kind
            turn.exchange.failed_ns = at_ns
        self._keep(turn)

    def _fail_unanswered(self, kind: FailureKind, at_ns: int) -> None:
        """Nothing more will be answered. What was, early, waits for the rest of its request as long as the client is there."""
        waiting = bool(self._turns) and self._turns[0].answered and not self._client_left
        while len(self._turns) > waiting:
            self._fail(self._turns.pop() if waiting else self._turns.popleft(), kind, at_ns)
        if not waiting:
            self._no_more_requests()

    def _no_more_requests(self) -> None:
        if self._requests.in_head and not self._requests.deaf:
            self._requests_lost()
        self._requests.deaf = True

    def _requests_lost(self) -> None:
        """The requests before this place are certain, and so are their answers."""
        self._requests.deaf = True
        self._count_rest()
        if self._requests.left:
            self._leave(self._turns.pop(), Count.UNPARSED)
        if not self._turns:
            self._responses.deaf = True

    def _all_lost(self) -> None:
        self._count_rest()
        self._requests.deaf = self._responses.deaf = True
        while self._turns:
            self._leave(self._turns.popleft(), Count.UNPARSED)

    def _count_rest(self) -> None:
        if not self.lost:
            self.lost = True
            self._recording.unparsed()

    def _upgraded(self) -> None:
        """What follows is another protocol, in both directions. What was sent behind the request is part of that."""
        self.lost = self._requests.deaf = self._responses.deaf = True
        while self._turns:
            self._leave(self._turns.popleft(), Count.UNPARSED)
