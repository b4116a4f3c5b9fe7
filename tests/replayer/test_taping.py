import numpy as np
from numpy.typing import NDArray

from captures.batches import concat, exchanges_of
from captures.exchange import Exchange, FailureKind, Flags
from captures.testing import capture_bytes, capture_of, example_exchanges
from replayer.attempt import Attempts, Reply
from replayer.plan import Plan, plan_of
from replayer.taping import batches_of
from transforms.catalogue import build_all

TARGETS = ["", "/v2/models/house/infer"]


def attempted() -> tuple[Plan, Attempts, NDArray[np.uint32]]:
    """Four rows: completed late, failed within the body, shed, never sent; the second finished first."""
    plan = plan_of(
        [capture_of(capture_bytes([example_exchanges(2)]))], build_all(["amplify:copies=2,jitter=0ms"]), seed=0
    )
    attempts = Attempts.for_schedule("candidate", plan.schedule.at_ns)
    attempts.dispatched_ns[:2] = attempts.intended_ns[:2] + 100
    attempts.first_byte_ns[:2] = attempts.dispatched_ns[:2] + 10
    attempts.done_ns[:3] = [9_000_000, 5_000_000, 7_000_000]
    attempts.status[:2] = 200
    attempts.failure[:3] = [FailureKind.NONE, FailureKind.RESET, FailureKind.SHED]
    attempts.request_size[:2] = 75
    return plan, attempts, np.array([1, 1, 0, 0], dtype=np.uint32)


def test_attempts_become_exchanges_in_order_of_completion_with_their_origins() -> None:
    plan, attempts, target_of = attempted()

    batch = concat(list(batches_of(attempts, plan, TARGETS, target_of)))
    found = exchanges_of(batch)

    assert [one.origin.row for one in found if one.origin is not None] == [1, 2, 0, 3]
    reset, shed, completed, unsent = found
    assert completed.response is not None
    assert (completed.response.status, completed.response.end_ns) == (200, 9_000_000)
    assert completed.failure is None
    assert completed.request.target == "/v2/models/house/infer"
    assert completed.route == "POST /v2/models/{model}/infer"
    assert completed.flags == Flags.INFERENCE | Flags.REQUEST_DROPPED | Flags.RESPONSE_DROPPED
    assert reset.failure is not None
    assert (reset.failure.kind, reset.failure.at_ns) == (FailureKind.RESET, 5_000_000)
    assert reset.response is not None
    assert reset.response.end_ns == -1
    assert shed.failure is not None
    assert (shed.failure.kind, shed.failure.at_ns, shed.arrival_ns) == (
        FailureKind.SHED,
        7_000_000,
        int(attempts.intended_ns[2]),
    )
    assert unsent.failure is not None
    assert unsent.failure.kind is FailureKind.UNSENT
    for one in found:
        assert one.origin is not None
        row = one.origin.row
        assert (one.origin.source, one.origin.variant) == (plan.schedule.source[row], plan.schedule.variant[row])
        assert (one.origin.target, one.origin.intended_ns) == ("candidate", attempts.intended_ns[row])


def test_kept_answers_pass_the_policy_of_their_own_input_and_no_other_bytes_are_written() -> None:
    plan, attempts, target_of = attempted()
    replies = {0: Reply(200, (("set-cookie", "secret"),), [(8_000_000, b"secret")], FailureKind.NONE, 6)}
    asked: list[int] = []

    def protect(owner: int, exchanges: list[Exchange] | tuple[Exchange, ...] | object) -> list[Exchange]:
        asked.append(owner)
        return []  # a policy that keeps nothing at all

    batches = list(batches_of(attempts, plan, TARGETS, target_of, replies, protect))

    assert asked == [0]
    assert all(b"secret" not in body for batch in batches for body in batch.bodies)
    assert sum(len(batch) for batch in batches) == 3


def test_a_kept_answer_keeps_its_times_and_says_what_is_missing() -> None:
    plan, attempts, target_of = attempted()
    replies = {
        0: Reply(200, (("content-type", "text/plain"),), [(8_000_000, b"ab"), (8_500_000, b"c")], FailureKind.NONE, 3),
        1: Reply(200, (), [(4_000_000, b"a")], FailureKind.RESET, 9),
    }

    batches = list(batches_of(attempts, plan, TARGETS, target_of, replies, lambda owner, raw: list(raw)))
    found = {one.origin.row: one for batch in batches for one in exchanges_of(batch) if one.origin is not None}

    assert len(found) == 4
    whole, part = found[0].response, found[1].response
    assert whole is not None
    assert [(chunk.at_ns, chunk.data) for chunk in whole.chunks] == [(8_000_000, b"ab"), (8_500_000, b"c")]
    assert part is not None
    assert Flags.RESPONSE_TRUNCATED in found[1].flags
    assert found[1].failure is not None


def test_no_rows_make_no_batches() -> None:
    plan = plan_of([capture_of(capture_bytes([]))], [], seed=0)

    assert (
        list(batches_of(Attempts.for_schedule("target", plan.schedule.at_ns), plan, TARGETS, np.zeros(0, np.uint32)))
        == []
    )
