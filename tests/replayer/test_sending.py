import signal
import socket
from collections.abc import Mapping

import numpy as np
import pytest

from captures.errors import RefusedError
from captures.exchange import FailureKind
from captures.testing import capture_bytes, capture_of, example_exchanges
from replayer.attempt import Reply
from replayer.driver import Settings
from replayer.plan import Plan, plan_of
from replayer.sending import send
from replayer.target import parse_target
from replayer.testing import misbehaving

SECOND = 1_000_000_000
SETTINGS = Settings(max_in_flight=4, drain_ns=2 * SECOND)


def plan(n: int, every_ns: int = 1_000_000) -> Plan:
    return plan_of([capture_of(capture_bytes([example_exchanges(n, every_ns)]))], [], seed=0)


def test_every_target_gets_every_row_in_the_order_given() -> None:
    order = np.random.default_rng(1).permutation(12)
    seen: list[tuple[int, set[str]]] = []

    def on_row(row: int, replies: Mapping[str, Reply]) -> None:
        seen.append((row, set(replies)))

    with misbehaving() as left, misbehaving() as right:
        targets = [parse_target(left.url, "baseline"), parse_target(right.url, "candidate")]
        sent = send(plan(12), targets, run_id="ab", timeout_ns=SECOND, settings=SETTINGS, order=order, on_row=on_row)

    assert (len(left.hits), len(right.hits)) == (12, 12)
    assert sorted(row for row, _ in seen) == list(range(12))
    assert all(roles == {"baseline", "candidate"} for _, roles in seen)
    for attempts in sent.attempts.values():
        assert (attempts.failure == FailureKind.NONE).all()
        assert np.argsort(attempts.intended_ns, kind="stable").tolist() == order.tolist()
    assert sent.headers_not_sent == {"host": 12}
    assert sent.wall_ns > 1_600_000_000 * SECOND


def test_where_one_target_cannot_be_reached_none_is_asked() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        nobody = f"http://127.0.0.1:{free.getsockname()[1]}"
    with misbehaving() as server:
        targets = [parse_target(server.url, "baseline"), parse_target(nobody, "candidate")]
        with pytest.raises(RefusedError, match="--candidate"):
            send(plan(3), targets, run_id="ab", timeout_ns=SECOND, settings=SETTINGS)

    assert server.hits == []


def test_an_interrupt_is_a_clean_end_and_signals_are_as_they_were_afterwards() -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)

    def on_row(row: int, replies: Mapping[str, Reply]) -> None:
        if row == 3:
            signal.raise_signal(signal.SIGTERM)

    with misbehaving() as server:
        targets = [parse_target(server.url)]
        sent = send(plan(200, 20_000_000), targets, run_id="ab", timeout_ns=SECOND, settings=SETTINGS, on_row=on_row)

    assert sent.stop.reason == "interrupted"
    assert 4 <= len(server.hits) < 200
    assert np.count_nonzero(sent.attempts["target"].failure == FailureKind.UNSENT) == 200 - len(server.hits)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
