"""Schedules to exchanges: what a derived capture holds. Pure; the shell writes what comes out.

A row's recorded response moves along with its request, unless a value rewrite touched the row: then nobody knows what would have
been answered, and the response is dropped and counted.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from captures.exchange import Chunk, Exchange, Failure, Flags, Headers
from transforms.contents import contents
from transforms.rewrite import value_touched
from transforms.schedule import Schedule
from transforms.view import View

BATCH_ROWS = 512
NO_LONGER = Flags.RECORDED_VALID | Flags.RESPONSE_TRUNCATED | Flags.RESPONSE_ALTERED


@dataclass(frozen=True, slots=True)
class Derived:
    """A run of exchanges, in the order of the schedule. ``responses_dropped``: how many of them had a response before."""

    exchanges: Sequence[Exchange]
    responses_dropped: int


def derive(view: View, schedule: Schedule) -> Iterator[Derived]:
    """The exchanges of a schedule, a batch at a time: memory is bounded by a batch and a few segments."""
    touched = value_touched(schedule)
    connections = view.column("connection")
    block = int(connections.max()) + 1 if len(connections) else 1
    for start in range(0, len(schedule), BATCH_ROWS):
        rows = np.arange(start, min(start + BATCH_ROWS, len(schedule)))
        said = contents(view, schedule, rows)
        exchanges: list[Exchange] = []
        dropped = 0
        for at, row in enumerate(rows.tolist()):
            old = said.exchanges[at]
            new = _sent(old, said.targets[at], said.headers[at], said.bodies[at])
            if touched[row]:
                dropped += old.response is not None
                new = _unanswered(new)
            new = shifted(new, int(schedule.at_ns[row]) - old.arrival_ns)
            # A copy comes from other clients than the row it copies.
            connection = old.connection and old.connection + int(schedule.variant[row]) * block
            exchanges.append(replace(new, session=int(schedule.session[row]), connection=connection % 2**32))
        yield Derived(exchanges, dropped)


def _sent(old: Exchange, target: str, headers: Headers, body: bytes) -> Exchange:
    request = replace(old.request, target=target, headers=headers)
    if body == old.request.body:
        return replace(old, request=request)
    # Who sends a body as one piece has it ready when the last piece was.
    at_ns = old.request.chunks[-1].at_ns if old.request.chunks else old.arrival_ns
    lengths = tuple(
        (name, str(len(body)) if name.lower() == "content-length" else value) for name, value in request.headers
    )
    request = replace(request, headers=lengths, chunks=(Chunk(at_ns, body),), size=len(body))
    return replace(old, request=request, flags=old.flags | Flags.REQUEST_ALTERED)


def _unanswered(exchange: Exchange) -> Exchange:
    flags = (exchange.flags & ~NO_LONGER) | Flags.RESPONSE_DROPPED
    return replace(exchange, response=None, failure=None, flags=flags)


def shifted(exchange: Exchange, by_ns: int) -> Exchange:
    """The exchange with every time moved; what never happened (-1) still never did."""

    def moved(at_ns: int) -> int:
        return at_ns if at_ns == -1 else at_ns + by_ns

    def chunks(old: tuple[Chunk, ...]) -> tuple[Chunk, ...]:
        return tuple(Chunk(chunk.at_ns + by_ns, chunk.data) for chunk in old)

    request, response, failure = exchange.request, exchange.response, exchange.failure
    return replace(
        exchange,
        arrival_ns=exchange.arrival_ns + by_ns,
        request=replace(request, chunks=chunks(request.chunks), end_ns=moved(request.end_ns)),
        response=response
        and replace(
            response, chunks=chunks(response.chunks), first_ns=moved(response.first_ns), end_ns=moved(response.end_ns)
        ),
        failure=failure and Failure(failure.kind, moved(failure.at_ns), failure.detail),
    )
