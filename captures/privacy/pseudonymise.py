"""Exchanges under a policy: raw in, kept out. In memory, before anything is written.

What is replaced, what is dropped and what may still be concluded is set as flags on each exchange. Where a body was replaced its
first chunk carries all of it and the others are empty; where it was dropped all are empty: chunk times and ``size``, the
length on the wire, always stay.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import parse_qsl

from captures.codecs.codec import Claim, Codec, Side
from captures.codecs.compressed import is_compressed
from captures.codecs.opaque import METHODS, OpaqueCodec
from captures.codecs.registry import classify, codecs
from captures.exchange import Chunk, Exchange, Flags, Headers, Request, Response, header
from captures.privacy.grammars import MEDIA_TYPES
from captures.privacy.heads import Heads, http_version, reason_phrase
from captures.privacy.leaves import Bodies, Kept
from captures.privacy.policy import Policy
from captures.privacy.surrogate import Surrogates

_OPAQUE = OpaqueCodec()
_STREAMS = (
    frozenset(("text/event-stream", "application/x-ndjson", "application/jsonlines", "application/jsonl")) & MEDIA_TYPES
)
_EMPTY = Kept(b"")


@dataclass(frozen=True, slots=True)
class _Bits:
    """The flags of one side."""

    altered: Flags
    dropped: Flags
    truncated: Flags


_BITS: dict[Side, _Bits] = {
    "request": _Bits(Flags.REQUEST_ALTERED, Flags.REQUEST_DROPPED, Flags.REQUEST_TRUNCATED),
    "response": _Bits(Flags.RESPONSE_ALTERED, Flags.RESPONSE_DROPPED, Flags.RESPONSE_TRUNCATED),
}
# Flags whoever made the exchange has set; the others are ours to find.
_GIVEN = (
    Flags.REQUEST_TRUNCATED
    | Flags.RESPONSE_TRUNCATED
    | Flags.REQUEST_DROPPED
    | Flags.RESPONSE_DROPPED
    | Flags.STREAM
    | Flags.SYNTHETIC
)
_GIVEN_DERIVED = _GIVEN | Flags.REQUEST_ALTERED | Flags.RESPONSE_ALTERED
_INCOMPLETE = Flags.REQUEST_TRUNCATED | Flags.REQUEST_DROPPED
_UNSURE = _INCOMPLETE | Flags.RESPONSE_TRUNCATED | Flags.RESPONSE_DROPPED


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

    def apply(self, exchanges: Sequence[Exchange]) -> list[Exchange]:
        """Never raises for what is in an exchange."""
        return [self._kept(exchange) for exchange in exchanges]

    def _kept(self, exchange: Exchange) -> Exchange:
        raw = exchange.request
        method = raw.method if raw.method in METHODS else "OTHER"
        claim = classify(raw if method is raw.method else Request(method=method, target=raw.target))
        made_up = Flags.SYNTHETIC in exchange.flags
        codec = self._codecs.get(claim.codec, _OPAQUE) if claim.inference else _OPAQUE
        flags = exchange.flags & (_GIVEN_DERIVED if self._derived else _GIVEN)
        if claim.inference or (made_up and Flags.INFERENCE in exchange.flags):
            flags |= Flags.INFERENCE

        visible = made_up or _given_altered(exchange)
        request = raw
        if not made_up:
            request, found, altered = self._request(raw, codec, method, claim, flags)
            flags |= found
            visible = visible or altered
        response = exchange.response
        if response is not None and (self._derived or not made_up):
            response, got, stream = self._response(response, codec, flags)
            flags |= _flags("response", got) | stream
            visible = visible or got.visible
        if raw.end_ns >= 0 and not flags & _INCOMPLETE:
            flags |= Flags.REPLAYABLE
        if response is not None and response.end_ns >= 0 and not visible and not flags & _UNSURE:
            flags |= Flags.RECORDED_VALID
        return Exchange(
            arrival_ns=exchange.arrival_ns,
            request=request,
            response=response,
            failure=exchange.failure,
            route=claim.route,
            codec=claim.codec,
            model=(claim.model or exchange.model) if made_up else self._heads.name(claim.model),
            session=self._session(exchange),
            connection=exchange.connection,
            flags=flags,
            labels=exchange.labels,
            origin=exchange.origin,
        )

    def _request(
        self, raw: Request, codec: Codec, method: str, claim: Claim, flags: Flags
    ) -> tuple[Request, Flags, bool]:
        """The request, its flags, and whether something a model would see was altered."""
        sent = self._body(codec, "request", raw, flags)
        found = _flags("request", sent)
        target, path_altered = self._heads.target(raw.target, claim.route.partition(" ")[2])
        request = Request(
            method=method,
            target=target,
            headers=self._heads.headers(raw.headers, _length(raw, sent)),
            chunks=_chunks(raw.chunks, sent),
            end_ns=raw.end_ns,
            size=raw.size,
            http_version=http_version(raw.http_version),
        )
        if len(request.headers) < len(raw.headers):
            found |= Flags.REQUEST_ALTERED
        return request, found, sent.visible or path_altered

    def _response(self, raw: Response, codec: Codec, flags: Flags) -> tuple[Response, Kept, Flags]:
        got = self._body(codec, "response", raw, flags)
        if got.unparsed and raw.status >= 400:  # an error page is no gap in a codec
            got = Kept(got.body, got.altered, got.visible, got.dropped)
        headers = self._heads.headers(raw.headers, _length(raw, got))
        response = Response(
            status=raw.status,
            headers=headers,
            chunks=_chunks(raw.chunks, got),
            first_ns=raw.first_ns,
            end_ns=raw.end_ns,
            size=raw.size,
            reason=reason_phrase(raw.status, raw.reason),
        )
        extra = Flags.STREAM if _is_stream(raw.headers) else Flags(0)
        if len(headers) < len(raw.headers):
            extra |= Flags.RESPONSE_ALTERED
        return response, got, extra

    def _body(self, codec: Codec, side: Side, message: Request | Response, flags: Flags) -> Kept:
        body = message.body
        if not body:
            return _EMPTY
        claimed = codec.name != _OPAQUE.name
        if flags & _BITS[side].truncated or _is_stream(message.headers):
            return Kept(b"", visible=True, dropped=True)
        if is_compressed(body) or _is_encoded(message.headers):
            return Kept(b"", visible=True, dropped=True, unparsed=claimed)
        return self._bodies.keep(codec, body, side)

    def _session(self, exchange: Exchange) -> int:
        """The keyed hash of what the policy names; one that is derived or made up keeps the session it has."""
        if self._derived or Flags.SYNTHETIC in exchange.flags:
            return exchange.session
        where, _, name = self._policy.session.partition(":")
        if not where:
            return 0
        value = _SESSION_SOURCES[where](exchange.request, name)
        return self._surrogates.number64("session", value) if value else 0


def _flags(side: Side, kept: Kept) -> Flags:
    bits = _BITS[side]
    flags = bits.altered if kept.altered else Flags(0)
    if kept.dropped:
        flags |= bits.dropped
    return flags | Flags.UNPARSED if kept.unparsed else flags


def _given_altered(exchange: Exchange) -> bool:
    """A rewrite altered the request before us, and nobody says the answer is the same."""
    return Flags.REQUEST_ALTERED in exchange.flags and Flags.RECORDED_VALID not in exchange.flags


def _length(message: Request | Response, kept: Kept) -> int:
    """What Content-Length says: the bytes kept, or the length on the wire where none were."""
    return len(kept.body) if kept.body else message.size


def _chunks(chunks: tuple[Chunk, ...], kept: Kept) -> tuple[Chunk, ...]:
    if not kept.altered and not kept.dropped:
        return chunks
    return tuple(Chunk(chunk.at_ns, b"" if position else kept.body) for position, chunk in enumerate(chunks))


def _is_stream(headers: Headers) -> bool:
    kind = header(headers, "content-type")
    return kind is not None and kind.partition(";")[0].strip().lower() in _STREAMS


def _is_encoded(headers: Headers) -> bool:
    coding = header(headers, "content-encoding")
    return coding is not None and coding.strip().lower() not in ("", "identity")


def _from_header(request: Request, name: str) -> str:
    return header(request.headers, name) or ""


def _from_cookie(request: Request, name: str) -> str:
    pairs = (part.strip().partition("=") for part in (header(request.headers, "cookie") or "").split(";"))
    return next((value for key, _, value in pairs if key == name), "")


def _from_query(request: Request, name: str) -> str:
    query = request.target.partition("#")[0].partition("?")[2]
    return next((value for key, value in parse_qsl(query) if key == name), "")


_SESSION_SOURCES = {"header": _from_header, "cookie": _from_cookie, "query": _from_query}
