"""Exchanges on another clock: unix time <-> a capture's zero."""

from dataclasses import replace

from captures.exchange import Chunk, Exchange


def moved(exchange: Exchange, by_ns: int) -> Exchange:
    """Every time of the exchange ``by_ns`` later; what never came (-1) stays so."""

    def at(ns: int) -> int:
        # The number -1 is taken: what would come to stand there is 1 ns late.
        return -1 if ns == -1 else 0 if ns + by_ns == -1 else ns + by_ns

    def chunks(found: tuple[Chunk, ...]) -> tuple[Chunk, ...]:
        return tuple(Chunk(chunk.at_ns + by_ns, chunk.data) for chunk in found)

    request, response, failure, origin = exchange.request, exchange.response, exchange.failure, exchange.origin
    return replace(
        exchange,
        arrival_ns=exchange.arrival_ns + by_ns,
        request=replace(request, chunks=chunks(request.chunks), end_ns=at(request.end_ns)),
        response=response
        and replace(
            response, chunks=chunks(response.chunks), first_ns=at(response.first_ns), end_ns=at(response.end_ns)
        ),
        failure=failure and replace(failure, at_ns=at(failure.at_ns)),
        origin=origin and replace(origin, intended_ns=origin.intended_ns + by_ns),
    )
