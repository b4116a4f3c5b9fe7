"""Exchanges under a policy: raw in, kept out. In memory, before anything is written.

What is replaced, what is dropped and what may still be concluded is set as flags on each exchange. Where a body was replaced its
first chunk carries all of it and the others are empty; where it was dropped all are empty: chunk times and ``size``, the
length on the wire, always stay.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import parse_qsl

from captures.codecs.codec import Claim, Codec, Leaf, Side
from captures.codecs.compressed import is_compressed
from captures.codecs.opaque import METHODS, OpaqueCodec
from captures.codecs.registry import classify, codecs
from captures.codecs.routes import path_of
from captures.exchange import Chunk, Exchange, Flags, Request, Response, header
from captures.makers import make_chunk, make_exchange, make_request, make_response
from captures.privacy.decisions import Decision
from captures.privacy.heads import IS_ENCODED, IS_STREAM, Heads, Part, http_version, reason_phrase
from captures.privacy.leaves import Bodies, Kept
from captures.privacy.policy import Policy
from captures.privacy.surrogate import Surrogates

_OPAQUE = OpaqueCodec()
_EMPTY = Kept(b"")
_CACHED = 4096  # calls: method and request-target

# Plain integers in here: a Flags costs ten times as much per operation, and there are a dozen in an exchange.
_REPLAYABLE, _VALID, _INFERENCE = int(Flags.REPLAYABLE), int(Flags.RECORDED_VALID), int(Flags.INFERENCE)
_UNPARSED, _STREAM, _SYNTHETIC = int(Flags.UNPARSED), int(Flags.STREAM), int(Flags.SYNTHETIC)
_REQUEST_ALTERED, _RESPONSE_ALTERED = int(Flags.REQUEST_ALTERED), int(Flags.RESPONSE_ALTERED)
_INCOMPLETE = int(Flags.REQUEST_TRUNCATED | Flags.REQUEST_DROPPED)
_UNSURE = _INCOMPLETE | int(Flags.RESPONSE_TRUNCATED | Flags.RESPONSE_DROPPED)
# Flags whoever made the exchange has set; the others are ours to find.
_GIVEN = _UNSURE | _STREAM | _SYNTHETIC
_GIVEN_DERIVED = _GIVEN | _REQUEST_ALTERED | _RESPONSE_ALTERED

_FLAGS: list[Flags] = [Flags(number) for number in range(4096)]  # looking one up costs a tenth of making one


@dataclass(frozen=True, slots=True)
class _Bits:
    """The flags of one side."""

    altered: int
    dropped: int
    truncated: int


_BITS: dict[Side, _Bits] = {
    "request": _Bits(_REQUEST_ALTERED, int(Flags.REQUEST_DROPPED), int(Flags.REQUEST_TRUNCATED)),
    "response": _Bits(_RESPONSE_ALTERED, int(Flags.RESPONSE_DROPPED), int(Flags.RESPONSE_TRUNCATED)),
}


@dataclass(frozen=True, slots=True)
class _Call:
    """What method and request-target say, and what is kept of them."""

    claim: Claim
    codec: Codec
    method: str
    target: str
    altered: bool  # the path
    model: str
    place: str  # bodies of one are alike
    claimed: bool


class Pseudonymiser:
    """Applies one policy under one key to batches of exchanges.

    ``derived``: the exchanges were made from an already pseudonymised recording (what a run writes); values that are tokens
    stay. Integer surrogates cannot be told from integers and are replaced again.

    What an importer made up (SYNTHETIC) holds nothing of anybody: its request stays as it is, and so does its response, unless it
    is ``derived``: then a live server gave it. It is never RECORDED_VALID.
    """

    def __init__(self, policy: Policy, key: bytes, *, derived: bool = False) -> None:
        self._policy = policy
        self._derived = derived
        self._surrogates = Surrogates(key)
        self._heads = Heads(policy, self._surrogates, derived=derived)
        self._bodies = Bodies(policy, self._surrogates, derived=derived)
        self._codecs: dict[str, Codec] = {codec.name: codec for codec in codecs()}
        self._call = lru_cache(_CACHED)(self._new_call)

    def apply(self, exchanges: Sequence[Exchange]) -> list[Exchange]:
        """Never raises for what is in an exchange."""
        return [self._kept(exchange) for exchange in exchanges]

    # -- what `apply` does, part by part, for `policy explain`

    def segments(self, request: Request) -> list[Part]:
        """Of the path; the first is the empty one in front of the first slash."""
        call = self._call(request.method, request.target)
        return self._heads.segments(path_of(request.target), call.claim.route.partition(" ")[2])

    def parameters(self, request: Request) -> list[Part]:
        return self._heads.parameters(request.target)

    def header(self, side: Side, name: str, value: str) -> Part:
        return self._heads.header(side, name, value)

    def leaves(self, request: Request, body: bytes, side: Side) -> list[tuple[Leaf, bytes, Decision, bytes]] | None:
        """Each leaf of a body: what stood there, what is decided, what will stand there. None: the body is dropped."""
        return self._bodies.explained(self._call(request.method, request.target).codec, body, side)

    def _new_call(self, method: str, target: str) -> _Call:
        method = method if method in METHODS else "OTHER"
        claim = classify(Request(method=method, target=target))
        kept, altered = self._heads.target(target, claim.route.partition(" ")[2])
        codec = self._codecs.get(claim.codec, _OPAQUE) if claim.inference else _OPAQUE
        model = self._heads.name(claim.model)
        place = f"{claim.route} {model}"
        return _Call(claim, codec, method, kept, altered, model, place, codec.name != _OPAQUE.name)

    def _kept(self, exchange: Exchange) -> Exchange:
        raw = exchange.request
        call = self._call(raw.method, raw.target)
        given = int(exchange.flags)
        made_up = bool(given & _SYNTHETIC)
        flags = given & (_GIVEN_DERIVED if self._derived else _GIVEN)
        if call.claim.inference or (made_up and given & _INFERENCE):
            flags |= _INFERENCE

        # A rewrite altered the request before us, and nobody says the answer is the same.
        visible = made_up or bool(given & _REQUEST_ALTERED and not given & _VALID)
        request = raw
        if not made_up:
            request, found, altered = self._request(raw, call, flags)
            flags |= found
            visible = visible or altered
        response = exchange.response
        if response is not None and (self._derived or not made_up):
            response, found, altered = self._response(response, call, flags)
            flags |= found
            visible = visible or altered
        if raw.end_ns >= 0 and not flags & _INCOMPLETE:
            flags |= _REPLAYABLE
        if response is not None and response.end_ns >= 0 and not visible and not flags & _UNSURE:
            flags |= _VALID
        return make_exchange(
            exchange.arrival_ns,
            request,
            response,
            exchange.failure,
            call.claim.route,
            call.claim.codec,
            (call.claim.model or exchange.model) if made_up else call.model,
            exchange.session if made_up or self._derived else self._session(exchange.request),
            exchange.connection,
            _FLAGS[flags],
            exchange.labels,
            exchange.origin,
        )

    def _request(self, raw: Request, call: _Call, flags: int) -> tuple[Request, int, bool]:
        """The request, its flags, and whether something a model would see was altered."""
        head = self._heads.headers(raw.headers, "request")
        sent = self._body(call, "request", raw, head.says, flags)
        found = _flags("request", sent)
        headers = head.of_body(len(sent.body) or raw.size)
        if len(headers) < len(raw.headers):
            found |= _REQUEST_ALTERED
        chunks = _chunks(raw.chunks, sent)
        version = http_version(raw.http_version)
        request = make_request(call.method, call.target, headers, chunks, raw.end_ns, raw.size, version)
        return request, found, sent.visible or call.altered

    def _response(self, raw: Response, call: _Call, flags: int) -> tuple[Response, int, bool]:
        head = self._heads.headers(raw.headers, "response")
        got = self._body(call, "response", raw, head.says, flags)
        found = _flags("response", got)
        if raw.status >= 400:  # an error page is no gap in a codec
            found &= ~_UNPARSED
        headers = head.of_body(len(got.body) or raw.size)
        if len(headers) < len(raw.headers):
            found |= _RESPONSE_ALTERED
        if head.says & IS_STREAM:
            found |= _STREAM
        chunks = _chunks(raw.chunks, got)
        reason = reason_phrase(raw.status, raw.reason)
        response = make_response(raw.status, headers, chunks, raw.first_ns, raw.end_ns, raw.size, reason)
        return response, found, got.visible

    def _body(self, call: _Call, side: Side, message: Request | Response, says: int, flags: int) -> Kept:
        """``says``: what the headers say."""
        chunks = message.chunks
        body = chunks[0].data if len(chunks) == 1 else message.body
        if not body:
            return _EMPTY
        if flags & _BITS[side].truncated or says & IS_STREAM:
            return Kept(b"", visible=True, dropped=True)
        if says & IS_ENCODED or is_compressed(body):
            return Kept(b"", visible=True, dropped=True, unparsed=call.claimed)
        return self._bodies.keep(call.codec, body, side, call.place)

    def _session(self, request: Request) -> int:
        """The keyed hash of what the policy names."""
        if not self._policy.session:
            return 0
        where, _, name = self._policy.session.partition(":")
        value = _SESSION_SOURCES[where](request, name)
        return self._surrogates.number64("session", value) if value else 0


def _flags(side: Side, kept: Kept) -> int:
    bits = _BITS[side]
    flags = bits.altered if kept.altered else 0
    if kept.dropped:
        flags |= bits.dropped
    return flags | _UNPARSED if kept.unparsed else flags


def _chunks(chunks: tuple[Chunk, ...], kept: Kept) -> tuple[Chunk, ...]:
    if not kept.altered and not kept.dropped:
        return chunks
    return tuple([make_chunk(chunk.at_ns, b"" if position else kept.body) for position, chunk in enumerate(chunks)])


def _from_header(request: Request, name: str) -> str:
    return header(request.headers, name) or ""


def _from_cookie(request: Request, name: str) -> str:
    pairs = (part.strip().partition("=") for part in (header(request.headers, "cookie") or "").split(";"))
    return next((value for key, _, value in pairs if key == name), "")


def _from_query(request: Request, name: str) -> str:
    query = request.target.partition("#")[0].partition("?")[2]
    return next((value for key, value in parse_qsl(query) if key == name), "")


_SESSION_SOURCES = {"header": _from_header, "cookie": _from_cookie, "query": _from_query}
