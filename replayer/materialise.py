"""From rows of a schedule to bytes for the wire, in batches of one route. Pure, and independent of batching and of the target.

A Wire holds what every target gets alike; the transport adds what differs between targets: host and path prefix.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from captures.exchange import RUN_HEADER, Exchange, Headers
from captures.privacy.surrogate import MARKER
from replayer.transport import Wire
from transforms.fresh_ids import ID_HEADERS
from transforms.rewrite import apply_rewrites
from transforms.schedule import Rows, Schedule
from transforms.view import View

SENT_HEADERS = frozenset(
    {
        "accept",
        "accept-encoding",
        "ce-datacontenttype",
        "ce-source",
        "ce-specversion",
        "ce-type",
        "content-encoding",
        "content-type",
        "inference-header-content-length",
    }
)
"""Recorded headers that decide how a body is read or answered. Everything else stays in the capture, and is counted."""
OWN_HEADERS = frozenset(
    {RUN_HEADER.lower(), "traceparent", "content-length", "host", "connection", "transfer-encoding"}
)
CACHED_HEADERS = 4096


class Materialiser:
    """Turns rows into wires. ``headers``: credentials and the like, from the environment, sent with every row in place of recorded
    ones of the same name. ``not_sent`` counts recorded headers left out, by name. One caller at a time.
    """

    def __init__(self, view: View, schedule: Schedule, run_id: str, headers: Headers = ()) -> None:
        self.not_sent: Counter[str] = Counter()
        self.targets: list[str] = [""]  # request-targets that were sent, by the number in ``target_of``
        self.target_of = np.zeros(len(schedule), dtype=np.uint32)
        self._view = view
        self._schedule = schedule
        self._trace = run_id[:16].rjust(16, "0")
        self._own: Headers = (*headers, (RUN_HEADER, run_id))
        self._replaced = {name.lower() for name, _ in headers} | OWN_HEADERS
        self._chosen: dict[Headers, tuple[Headers, tuple[str, ...]]] = {}
        self._numbers: dict[str, int] = {"": 0}

    def wires(self, rows: NDArray[np.int64]) -> list[Wire]:
        """In the order of ``rows``. Raises CaptureError where the capture cannot be read."""
        exchanges = self._view.read(self._schedule.source[rows])
        if not self._schedule.rewrites:
            return [
                self._wire(int(row), one, one.request.target, one.request.headers, one.request.body)
                for row, one in zip(rows, exchanges, strict=True)
            ]
        places: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
        for place, exchange in enumerate(exchanges):
            places[exchange.codec, exchange.route].append(place)
        wires: dict[int, Wire] = {}
        for (codec, _), group in places.items():
            wires.update(
                zip(group, self._rewritten(codec, rows[group], [exchanges[place] for place in group]), strict=True)
            )
        return [wires[place] for place in range(len(exchanges))]

    def _rewritten(self, codec: str, rows: NDArray[np.int64], exchanges: Sequence[Exchange]) -> list[Wire]:
        batch = apply_rewrites(
            self._schedule.rewrites,
            Rows(
                codec=self._view.codec(codec),
                source=self._schedule.source[rows],
                variant=self._schedule.variant[rows],
                targets=[one.request.target for one in exchanges],
                headers=[one.request.headers for one in exchanges],
                bodies=[one.request.body for one in exchanges],
            ),
        )
        return [
            self._wire(int(row), exchange, target, headers, body)
            for row, exchange, target, headers, body in zip(
                rows, exchanges, batch.targets, batch.headers, batch.bodies, strict=True
            )
        ]

    def _wire(self, row: int, exchange: Exchange, target: str, headers: Headers, body: bytes) -> Wire:
        self._remember(row, target)
        # A trace per row, its parent the row itself; not sampled, or a replay at five times the load floods the tracing backend.
        trace = f"00-{self._trace}{row:016x}-{row + 1:016x}-00"
        return Wire(exchange.request.method, target, (*self._choose(headers), *self._own, ("traceparent", trace)), body)

    def _choose(self, headers: Headers) -> Headers:
        if (chosen := self._chosen.get(headers)) is None:
            sent = tuple(pair for pair in headers if self._may_send(*pair))
            chosen = sent, tuple(name.lower() for name, value in headers if not self._may_send(name, value))
            if len(self._chosen) < CACHED_HEADERS:
                self._chosen[headers] = chosen
        self.not_sent.update(chosen[1])
        return chosen[0]

    def _may_send(self, name: str, value: str) -> bool:
        name = name.lower()
        if name in self._replaced:
            return False
        # An id may be a token: it is only ever compared with itself. Any other token would be read as what it stands for.
        return name in ID_HEADERS or (name in SENT_HEADERS and MARKER not in value)

    def _remember(self, row: int, target: str) -> None:
        number = self._numbers.get(target)
        if number is None:
            if len(self.targets) > CACHED_HEADERS:  # ids in paths: the source of the row still says which
                return
            number = self._numbers[target] = len(self.targets)
            self.targets.append(target)
        self.target_of[row] = number
