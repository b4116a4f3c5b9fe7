"""The metrics say what the board says, in a form that Prometheus reads."""

from collections.abc import Iterator
from contextlib import closing

import pytest
from prometheus_client.parser import text_string_to_metric_families

from recorder.board import DELAY_BOUNDS_NS, DELAYS, Board, Count
from recorder.metrics import BUILD_INFO, METRICS, PREFIX, exposition

# Offered is between seen and received, and the queue's bytes say more; what was confessed is for the spool that follows a dead one;
# of a heartbeat /healthz makes something.
SILENT = {Count.OFFERED, Count.RELAY_BEAT_S, *(count for count in Count if count.name.startswith("CONFESSED"))}


@pytest.fixture
def board() -> Iterator[Board]:
    with closing(Board.new(2)) as board:
        yield board


def samples(board: Board) -> dict[tuple[str, str], float]:
    """As Prometheus would have them, by name and by labels other than the worker; summed over workers."""
    found: dict[tuple[str, str], float] = {}
    for family in text_string_to_metric_families(exposition(board.rows, "1.2")):
        for sample in family.samples:
            labels = ",".join(value for name, value in sorted(sample.labels.items()) if name != "worker")
            place = (sample.name.removeprefix(PREFIX), labels)
            found[place] = found.get(place, 0) + sample.value
    return found


def test_prometheus_reads_what_is_written(board: Board) -> None:
    families = list(text_string_to_metric_families(exposition(board.rows, "1.2")))

    assert len(families) == len(METRICS) + 1
    assert all(family.documentation for family in families)
    assert {family.type for family in families} == {"counter", "gauge", "histogram"}
    assert samples(board)[BUILD_INFO, "1.2"] == 1


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_names_follow_the_conventions_of_prometheus(metric: object) -> None:
    name, kind = metric.name, metric.kind  # type: ignore[attr-defined]  # a parameter

    assert name.endswith("_total") == (kind == "counter")
    assert not any(part in name for part in ("_ns", "_ms", "_kib"))
    assert name == name.lower()


def test_what_became_of_each_exchange_adds_up(board: Board) -> None:
    first, second = board.rows
    first[Count.SEEN], second[Count.SEEN] = 90, 10
    for place, count in enumerate(
        (Count.KEPT, Count.SHED, Count.SPOOL_SHED, Count.LOST, Count.SAMPLED_OUT, Count.OWN, Count.FILTERED), start=1
    ):
        first[count] = place
    first[Count.SPOOL_FILTERED], first[Count.UNPARSED], first[Count.SPOOL_ERRORS] = 8, 9, 45
    second[Count.KEPT] = 10
    found = samples(board)

    assert found["exchanges_seen_total", ""] == 100
    by_outcome = {labels: value for (name, labels), value in found.items() if name == "exchanges_total"}
    assert by_outcome == {
        "kept": 11,
        "shed": 5,
        "lost": 4,
        "sampled_out": 5,
        "own": 6,
        "filtered": 15,
        "unparsed": 9,
        "error": 45,
    }
    assert sum(by_outcome.values()) == 100


def test_the_histogram_is_cumulative_and_in_seconds(board: Board) -> None:
    row = board.rows[0]
    for place in range(len(DELAY_BOUNDS_NS) + 1):
        row[DELAYS + place] = place + 1
    row[Count.DELAY_SUM_NS] = 1_500_000_000
    found = samples(board)

    assert found["relay_delay_seconds_bucket", "5e-05"] == 1
    assert found["relay_delay_seconds_bucket", "0.0001"] == 3
    assert found["relay_delay_seconds_bucket", "+Inf"] == found["relay_delay_seconds_count", ""] == 66
    assert found["relay_delay_seconds_sum", ""] == 1.5


def test_a_disk_that_does_not_say_has_no_sample(board: Board) -> None:
    board.rows[0][Count.DISK_FREE_BYTES], board.rows[1][Count.DISK_FREE_BYTES] = -1, 7

    assert samples(board)["disk_free_bytes", ""] == 7
    assert exposition(board.rows, "1").count("\nshadowtape_recorder_disk_free_bytes{") == 1


def test_counts_read_while_they_change_never_give_less_than_nothing(board: Board) -> None:
    row = board.rows[0]
    row[Count.BEGAN], row[Count.SEEN], row[Count.RECEIVED], row[Count.KEPT] = 1, 2, 3, 4
    found = samples(board)

    assert (found["open_exchanges", ""], found["spool_exchanges", ""]) == (0, 0)


def test_the_first_start_of_a_process_is_no_restart(board: Board) -> None:
    board.rows[0][Count.RELAY_STARTS], board.rows[1][Count.RELAY_STARTS] = 1, 3
    board.rows[0][Count.RELAY_PID] = 4711
    found = samples(board)

    assert (found["relay_restarts_total", ""], found["spool_restarts_total", ""]) == (2, 0)
    assert (found["relay_up", ""], found["spool_up", ""]) == (1, 0)


@pytest.mark.parametrize("count", sorted({*Count} - SILENT), ids=lambda count: count.name)
def test_no_count_is_forgotten(count: Count, board: Board) -> None:
    before = exposition(board.rows, "1")
    board.rows[0][count] = 5

    assert exposition(board.rows, "1") != before
