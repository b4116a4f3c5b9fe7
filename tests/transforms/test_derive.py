from dataclasses import replace

import numpy as np

from captures.exchange import Exchange, Failure, FailureKind, Flags
from transforms.amplify import Amplify
from transforms.derive import derive, shifted
from transforms.noise import Noise
from transforms.plan import schedule_of
from transforms.testing import MemoryCapture, example_captures, example_exchange
from transforms.time_scale import TimeScale
from transforms.transform import Transform, apply
from transforms.view import View


def derived(*chain: Transform, count: int = 30) -> tuple[list[Exchange], int]:
    captures = example_captures(count)
    view = View(captures)
    runs = list(derive(view, apply(schedule_of(captures)[0], view, chain, 7)))
    return [exchange for run in runs for exchange in run.exchanges], sum(run.responses_dropped for run in runs)


def test_a_moved_exchange_keeps_every_distance_and_what_never_came() -> None:
    plain = example_exchange(1)
    assert plain.response is not None
    response = replace(plain.response, end_ns=-1)
    failure = Failure(FailureKind.RESET, 31_000_000)
    held = replace(plain, request=replace(plain.request, end_ns=-1), response=response, failure=failure)
    moved = shifted(held, -1000)
    assert moved.response is not None
    assert moved.failure is not None

    assert moved.arrival_ns == held.arrival_ns - 1000
    assert moved.request.end_ns == moved.response.end_ns == -1
    assert moved.response.first_ns == response.first_ns - 1000
    assert moved.response.chunks[0].at_ns == response.chunks[0].at_ns - 1000
    assert moved.request.body == held.request.body
    assert moved.failure.at_ns == 31_000_000 - 1000
    assert shifted(moved, 1000) == held


def test_moving_requests_moves_their_responses_along() -> None:
    exchanges, dropped = derived(TimeScale(5))
    recorded = [example_exchange(number) for number in range(30)]

    assert dropped == 0
    for new, old in zip(exchanges, recorded, strict=False):
        assert new.arrival_ns == old.arrival_ns // 5
        assert shifted(new, old.arrival_ns - new.arrival_ns) == old


def test_a_request_that_asks_something_new_loses_its_answer() -> None:
    exchanges, dropped = derived(Noise("amount", 1))

    assert dropped == 30
    for exchange in exchanges[:30]:
        assert exchange.response is None
        assert exchange.failure is None
        assert Flags.RECORDED_VALID not in exchange.flags
        assert Flags.RESPONSE_DROPPED | Flags.REQUEST_ALTERED | Flags.REPLAYABLE in exchange.flags
        assert exchange.request.size == len(exchange.request.body)
    assert exchanges[30].response is not None
    assert Flags.RECORDED_VALID in exchanges[30].flags


def test_copies_keep_their_answers_and_are_clients_of_their_own() -> None:
    exchanges, dropped = derived(Amplify(3))

    assert dropped == 0
    assert len(exchanges) == 93
    assert all(exchange.response and Flags.RECORDED_VALID in exchange.flags for exchange in exchanges)
    connections = [exchange.connection for exchange in exchanges]
    assert len(set(connections)) == 3 * len({example_exchange(number).connection for number in range(31)})
    assert [exchange.arrival_ns for exchange in exchanges] == sorted(exchange.arrival_ns for exchange in exchanges)


def test_only_bodies_that_changed_are_called_altered() -> None:
    exchanges, _ = derived(Amplify(2))
    opaque = [exchange for exchange in exchanges if exchange.codec == "opaque"]

    assert sum(Flags.REQUEST_ALTERED in exchange.flags for exchange in exchanges) == 30
    assert not any(Flags.REQUEST_ALTERED in exchange.flags for exchange in opaque)


def test_a_body_that_changed_size_has_its_length_put_right() -> None:
    held = example_exchange(0)
    headers = (("Content-Length", str(held.request.size)), ("content-type", "application/json"))
    capture = MemoryCapture([replace(held, request=replace(held.request, headers=headers)), example_exchange(1)])
    view = View([capture])
    schedule = apply(schedule_of([capture])[0], view, [Noise("amount", 3)], 1)
    (run,) = derive(view, schedule)
    request = run.exchanges[0].request

    assert dict(request.headers)["Content-Length"] == str(len(request.body)) == str(request.size)


def test_exchanges_come_in_batches_in_the_order_of_the_schedule() -> None:
    captures = example_captures(700)
    view = View(captures)
    plan, _ = schedule_of(captures)
    runs = list(derive(view, plan))

    assert len(runs) > 1
    assert np.array_equal([exchange.arrival_ns for run in runs for exchange in run.exchanges], plan.at_ns)
