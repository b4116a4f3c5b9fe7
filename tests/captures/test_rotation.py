"""Decisions about files: when another begins, which go, and what a gap in the numbers then means."""

from dataclasses import astuple, fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from captures.confessions import Confessions
from captures.rotation import (
    Rotation,
    Stored,
    confessions_since,
    confessions_with,
    file_name,
    free_start,
    is_due,
    number_of,
    oldest_kept,
    to_remove,
)

NOW = 1_800_000_000_000_000_000
DAY = 86_400_000_000_000
A, B = b"a" * 16, b"b" * 16


def stored(number: int, *, size: int = 100, age_ns: int = 0, recording: bytes = A, held: bool = False) -> Stored:
    return Stored(
        name=file_name(NOW, number),
        size=size,
        written_ns=NOW - age_ns,
        recording_id=recording,
        number=number,
        held=held,
    )


@pytest.mark.parametrize(
    ("size", "age_ns", "due"), [(99, 59, False), (100, 0, True), (101, 0, True), (0, 60, True), (0, 61, True)]
)
def test_a_file_is_followed_by_another_at_its_size_or_its_age(size: int, age_ns: int, due: bool) -> None:
    assert is_due(Rotation(size_bytes=100, every_ns=60), size, age_ns) is due


def test_without_a_limit_a_file_is_never_due() -> None:
    assert not is_due(Rotation(size_bytes=0), 1 << 40, 1 << 60)


@pytest.mark.parametrize("limits", [{"keep_bytes": 99, "size_bytes": 100}, {"every_ns": -1}])
def test_limits_that_cannot_be_kept_are_refused(limits: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"limits|at least one file"):
        Rotation(**limits)


def test_names_sort_by_start_and_then_by_number() -> None:
    names = [file_name(NOW + start * 10**9, number) for start in range(3) for number in (1, 2, 10, 999_999)]

    assert names[0] == "20270115T080000Z-000001.tape"
    assert sorted(names) == names
    assert [number_of(name) for name in names[:4]] == [1, 2, 10, 999_999]


@pytest.mark.parametrize(
    "name",
    ["x.tape", "20270115T080000Z-1.tape", "20270115T080000Z-000001.tape.gz", "my-20270115T080000Z-000001.tape", ""],
)
def test_a_name_of_somebody_else_has_no_number(name: str) -> None:
    assert number_of(name) is None


def test_two_recordings_that_begin_in_the_same_second_do_not_share_names() -> None:
    taken = [file_name(NOW, 7), file_name(NOW + 10**9, 1), "x.tape"]

    assert free_start(NOW + 5, []) == NOW + 5
    assert file_name(free_start(NOW + 5, taken), 1) == file_name(NOW + 2 * 10**9, 1)


def test_what_is_kept_leaves_room_for_a_whole_new_file() -> None:
    files = [stored(number, age_ns=100 - number) for number in (3, 1, 2, 4)]

    assert to_remove(files, Rotation(size_bytes=100, keep_bytes=500), NOW) == []
    assert [file.number for file in to_remove(files, Rotation(size_bytes=100, keep_bytes=499), NOW)] == [1]
    assert [file.number for file in to_remove(files, Rotation(size_bytes=100, keep_bytes=100), NOW)] == [1, 2, 3, 4]


def test_a_held_file_stays_and_its_size_counts() -> None:
    files = [stored(1, age_ns=9, held=True), stored(2, age_ns=5), stored(3, age_ns=1)]

    assert [file.number for file in to_remove(files, Rotation(size_bytes=100, keep_bytes=300), NOW)] == [2]
    assert [file.number for file in to_remove(files, Rotation(size_bytes=100, keep_ns=1), NOW)] == [2]


def test_age_counts_from_the_last_write() -> None:
    files = [stored(1, age_ns=7 * DAY + 1), stored(2, age_ns=7 * DAY), stored(3)]

    assert [file.number for file in to_remove(files, Rotation(keep_ns=7 * DAY), NOW)] == [1]


def test_an_expired_file_goes_whatever_is_kept() -> None:
    expired = Stored(name="e", size=1, written_ns=NOW, recording_id=A, number=1, expires_ns=NOW)
    later = Stored(name="l", size=1, written_ns=NOW, recording_id=A, number=2, expires_ns=NOW + 1)

    assert to_remove([expired, later], Rotation(), NOW) == [expired]


def test_without_limits_nothing_goes() -> None:
    assert to_remove([stored(1, size=1 << 50, age_ns=NOW)], Rotation(), NOW) == []


@given(
    st.lists(st.tuples(st.integers(0, 300), st.integers(0, 50), st.booleans()), max_size=12),
    st.integers(100, 2000),
    st.integers(0, 50),
)
def test_the_rest_fits_unless_somebody_holds_it(
    files: list[tuple[int, int, bool]], keep_bytes: int, keep_ns: int
) -> None:
    folder = [stored(n, size=size, age_ns=age, held=held) for n, (size, age, held) in enumerate(files, 1)]
    rotation = Rotation(size_bytes=100, keep_bytes=keep_bytes, keep_ns=keep_ns)
    removed = to_remove(folder, rotation, NOW)
    rest = [file for file in folder if file not in removed]

    assert not any(file.held for file in removed)
    assert sum(file.size for file in rest) + 100 <= keep_bytes or all(file.held for file in rest)
    youngest = max((NOW - file.written_ns for file in rest if not file.held), default=0)
    assert all(NOW - file.written_ns >= youngest for file in removed)


def test_what_is_gone_by_retention_is_known_by_recording() -> None:
    removed = [stored(1), stored(3), stored(2, recording=B)]

    assert oldest_kept(removed) == {A: 4, B: 3}
    assert oldest_kept([]) == {}


def test_a_file_confesses_what_was_counted_since_it_began() -> None:
    before = Confessions(seen=5, shed=1, sampled_out=1, own=1, truncated=1, unparsed=1, hook_errors=1, filtered=1)
    total = Confessions(
        seen=12, shed=3, sampled_out=4, own=5, truncated=6, unparsed=7, hook_errors=8, sampling_rate=0.5, filtered=9
    )
    since = confessions_since(total, before)

    assert astuple(since) == (7, 2, 3, 4, 5, 6, 7, 8, 0.5)
    assert confessions_with(before, since) == total
    assert len(fields(Confessions)) == len(astuple(since))
