"""Files that follow one another: what each confesses, what goes, and what a full disk or a stranger in the folder costs."""

import fcntl
import resource
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

import pytest

from captures import rotating
from captures.batches import batch_of
from captures.confessions import Confessions
from captures.errors import UsageError
from captures.opening import open_capture
from captures.rotating import Clock, Keeping, RotatingTape, start_of, stored_in
from captures.rotation import Rotation, file_name
from captures.store import create_capture
from captures.testing import example_exchange, example_header, write_example

NOW = 1_800_000_000_000_000_000
SECOND = 1_000_000_000
SMALL = Rotation(size_bytes=1)  # every flush that writes ends a file


class HandClock:
    def __init__(self) -> None:
        self.now_ns, self.wall_ns = 0, NOW

    def forward(self, ns: int) -> None:
        self.now_ns += ns
        self.wall_ns += ns

    @property
    def clock(self) -> Clock:
        return Clock(lambda: self.now_ns, lambda: self.wall_ns)


class Rig:
    def __init__(self, folder: Path, keeping: Keeping | None = None, **header: object) -> None:
        folder.mkdir(exist_ok=True)
        self.hand = HandClock()
        self.notes: list[str] = []
        self.sealed: list[str] = []
        self.seen = 0
        self.tape = RotatingTape(
            start_of(folder, NOW),
            example_header(**({"wall_ns": NOW} | header)),
            keeping or Keeping(rotation=SMALL),
            clock=self.hand.clock,
            on_sealed=lambda path: self.sealed.append(path.name),
            note=self.notes.append,
        )

    def write(self, n: int = 1, **confessed: int) -> None:
        """n exchanges and a flush."""
        self.tape.append(batch_of([example_exchange(connection=self.seen + i + 1) for i in range(n)]))
        self.seen += n
        self.tape.flush(Confessions(seen=self.seen, **confessed))


def numbers(folder: Path) -> list[int]:
    return [stored.number for stored in stored_in(folder)]


@contextmanager
def files_limited_to(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_files_follow_one_another_and_each_confesses_its_own(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    with closing(rig.tape) as tape:
        rig.write(2, shed=1)
        rig.write(3, shed=1)
        tape.seal(Confessions(seen=9, shed=5))

    assert sorted(path.name for path in tmp_path.iterdir()) == [file_name(NOW, number) for number in (1, 2, 3)]
    assert rig.sealed == [file_name(NOW, number) for number in (1, 2, 3)]
    found = []
    for path in sorted(tmp_path.iterdir()):
        with open_capture(path) as capture:
            assert capture.sealed
            found.append((len(capture), capture.confessions.seen, capture.confessions.shed))
            assert capture.header.recording_id == b"recording id 16b"
            assert capture.header.wall_ns == NOW
    assert found == [(2, 2, 1), (3, 3, 0), (0, 4, 4)]
    assert (tape.committed, tape.before, tape.files) == (5, 5, 3)


def test_every_file_has_an_id_of_its_own(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    with closing(rig.tape):
        rig.write()
    ids = set()
    for path in tmp_path.iterdir():
        with open_capture(path) as capture:
            ids.add(capture.header.file_id)
    assert len(ids) == 2


def test_a_file_ends_by_time_even_where_nothing_passes(tmp_path: Path) -> None:
    rig = Rig(tmp_path, Keeping(rotation=Rotation(every_ns=60 * SECOND)))
    with closing(rig.tape) as tape:
        rig.hand.forward(59 * SECOND)
        tape.flush(Confessions())
        assert tape.files == 1
        rig.hand.forward(SECOND)
        tape.flush(Confessions())
        assert tape.files == 2
        rig.hand.forward(59 * SECOND)
        tape.flush(Confessions())
        assert tape.files == 2


def test_one_file_is_never_followed_by_another(tmp_path: Path) -> None:
    with closing(
        RotatingTape(lambda _: tmp_path / "x.tape", example_header(), Keeping(), clock=HandClock().clock)
    ) as tape:
        for seen in range(1, 4):
            tape.append(batch_of([example_exchange()]))
            tape.flush(Confessions(seen=seen))
        assert (tape.files, tape.committed, tape.before) == (1, 3, 0)
        tape.seal(Confessions(seen=3))
        tape.seal(Confessions(seen=3))  # once is enough
    with open_capture(tmp_path / "x.tape") as capture:
        assert (capture.sealed, len(capture), capture.damage) == (True, 3, ())


def test_each_file_expires_from_its_own_beginning(tmp_path: Path) -> None:
    rig = Rig(tmp_path, Keeping(rotation=SMALL, expire_ns=10 * SECOND))
    with closing(rig.tape):
        rig.hand.forward(3 * SECOND)
        rig.write()
    assert [stored.expires_ns for stored in stored_in(tmp_path)] == [NOW + 10 * SECOND, NOW + 13 * SECOND]


def test_the_sum_stays_within_what_is_kept_and_the_header_says_what_is_gone(tmp_path: Path) -> None:
    rig = Rig(tmp_path, Keeping(rotation=Rotation(size_bytes=2000, keep_bytes=9000)))
    largest = 0
    with closing(rig.tape) as tape:
        for _ in range(40):
            rig.write(3)
            largest = max(largest, sum(path.stat().st_size for path in tmp_path.iterdir()))
        kept = numbers(tmp_path)
        assert kept == list(range(kept[0], tape.files + 1))
        assert kept[0] > 1
        assert tape.removed == kept[0] - 1
        assert len(rig.notes) == tape.removed
        with open_capture(tape.path) as capture:
            assert capture.header.oldest == kept[0]
    assert 6000 < largest <= 9000 + 2000
    assert all("1 older file removed" in note for note in rig.notes)


def test_old_files_of_an_earlier_recording_go_first_and_that_is_remembered(tmp_path: Path) -> None:
    with closing(Rig(tmp_path, recording_id=b"an earlier one!!").tape):
        pass
    rig = Rig(tmp_path, Keeping(rotation=Rotation(size_bytes=1, keep_bytes=1)))
    with closing(rig.tape) as tape, open_capture(tape.path) as capture:
        assert tape.path.name == file_name(NOW + SECOND, 1)
        assert capture.header.oldest == 1
        assert capture.header.oldest_of == {b"an earlier one!!".hex(): 2}
    assert [path.name for path in tmp_path.iterdir()] == [file_name(NOW + SECOND, 1)]


def test_what_is_not_ours_is_neither_counted_nor_removed(tmp_path: Path) -> None:
    everything = Keeping(rotation=Rotation(size_bytes=1, keep_bytes=1))
    strangers = {
        "notes.txt": b"x" * 5000,
        "20270115T075900Z-000001.tape": b"no capture at all",
        "20270115T075900Z-000002.tape": b"",
        "20270115T075900Z-000003.tape": b"\x89TAPE\r\n\x01" + b"\xff" * 200,
    }
    for name, content in strangers.items():
        (tmp_path / name).write_bytes(content)
    write_example(tmp_path / "monday.tape", [example_exchange()])
    write_example(tmp_path / "20270115T075900Z-000004.tape", [example_exchange()], number=7)
    write_example(tmp_path / "20270115T075900Z-000005.tape", [example_exchange()], number=5, kind="derived")
    (tmp_path / "20270115T075900Z-000006.tape").symlink_to(tmp_path / "monday.tape")
    (tmp_path / "20270115T075900Z-000008.tape").mkdir()
    before = sorted(path.name for path in tmp_path.iterdir())
    with closing(Rig(tmp_path, everything).tape) as tape:
        assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*before, tape.path.name])
        assert tape.removed == 0


def test_a_file_that_another_process_holds_stays(tmp_path: Path) -> None:
    path = write_example(tmp_path / "20270115T075900Z-000001.tape", [example_exchange()])
    with path.open("rb") as reader:
        fcntl.flock(reader, fcntl.LOCK_SH)
        rig = Rig(tmp_path, Keeping(rotation=Rotation(size_bytes=1, keep_bytes=1)))
        with closing(rig.tape):
            assert path.exists()
            fcntl.flock(reader, fcntl.LOCK_UN)
            rig.write()
            assert not path.exists()


def test_what_another_recorder_of_the_folder_removes_first_is_no_news(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_example(tmp_path / "20270115T075900Z-000001.tape", [example_exchange()])
    doomed = list(rotating.stored_in(tmp_path))
    path.unlink()
    monkeypatch.setattr(rotating, "stored_in", lambda _: doomed)
    rig = Rig(tmp_path, Keeping(rotation=Rotation(size_bytes=1, keep_bytes=1)))
    with closing(rig.tape) as tape:
        assert (tape.removed, tape.removed_bytes, rig.notes) == (0, 0, [])


def test_an_expired_file_is_removed_at_the_start(tmp_path: Path) -> None:
    path = write_example(tmp_path / "20270115T075900Z-000001.tape", [example_exchange()], expires_ns=NOW)
    with closing(Rig(tmp_path, Keeping(rotation=Rotation())).tape) as tape:
        assert not path.exists()
        assert tape.removed == 1


def test_a_next_file_that_cannot_be_begun_loses_nothing_of_the_last(tmp_path: Path) -> None:
    rig = Rig(tmp_path, Keeping(rotation=Rotation(size_bytes=1, keep_bytes=1)))
    (tmp_path / file_name(NOW, 2)).write_bytes(b"taken")
    with closing(rig.tape) as tape:
        with pytest.raises(UsageError, match="exists already"):
            rig.write(3)
        assert tape.committed == 3
        tape.seal(Confessions(seen=9))  # it is sealed: nothing happens
    with open_capture(tmp_path / file_name(NOW, 1)) as capture:
        assert (len(capture), capture.sealed, capture.damage) == (3, True, ())
    assert rig.sealed == [file_name(NOW, 1)]


def test_a_full_disk_costs_what_was_not_flushed_and_the_footer_may_still_fit(tmp_path: Path) -> None:
    rig = Rig(tmp_path, Keeping(rotation=Rotation(size_bytes=1 << 20)))
    with closing(rig.tape) as tape:
        rig.write(5)
        size = tape.path.stat().st_size
        with files_limited_to(size + 1000):
            tape.append(batch_of([example_exchange(connection=i, model=f"model {i * i}") for i in range(500)]))
            with pytest.raises(OSError, match="File too large"):
                tape.flush(Confessions(seen=505))
            assert tape.committed == 5
            tape.seal(Confessions(seen=505, shed=500))
    with open_capture(tape.path) as capture:
        assert (len(capture), capture.sealed, capture.damage) == (5, True, ())
        assert capture.confessions == Confessions(seen=505, shed=500)


def test_a_file_that_cannot_be_sealed_stays_readable(tmp_path: Path) -> None:
    rig = Rig(tmp_path, Keeping(rotation=Rotation(size_bytes=1 << 20)))
    with closing(rig.tape) as tape:
        rig.write(5)
        with files_limited_to(tape.path.stat().st_size + 10), pytest.raises(OSError, match="File too large"):
            tape.seal(Confessions(seen=5))
    assert rig.sealed == []
    with open_capture(tape.path) as capture:
        assert (len(capture), capture.sealed, capture.damage) == (5, False, ())


@pytest.mark.parametrize("folder", [False, True])
def test_a_file_or_folder_that_is_gone_is_noticed(tmp_path: Path, folder: bool) -> None:
    rig = Rig(tmp_path / "out")
    with closing(rig.tape) as tape:
        rig.write(2)
        assert not tape.gone
        for path in list((tmp_path / "out").iterdir()) if folder else [tape.path]:
            path.unlink()
        if folder:
            (tmp_path / "out").rmdir()
        assert tape.gone


def test_after_an_error_the_next_file_goes_on_and_tells_what_no_file_has_told(tmp_path: Path) -> None:
    rig = Rig(tmp_path, Keeping(rotation=Rotation(size_bytes=1 << 20)))
    with closing(rig.tape) as tape:
        rig.write(5, shed=1)
        with files_limited_to(tape.path.stat().st_size + 10):
            tape.append(batch_of([example_exchange(connection=i) for i in range(50)]))
            with pytest.raises(OSError, match="File too large"):
                tape.flush(Confessions(seen=55, shed=1))
            with pytest.raises(OSError, match="File too large"):
                tape.seal(Confessions(seen=55, shed=51))
        tape.resume()
        tape.append(batch_of([example_exchange()]))
        tape.seal(Confessions(seen=56, shed=51))
        assert (tape.committed, tape.files, tape.confessed) == (6, 2, Confessions(seen=56, shed=51))
        assert tape.written == sum(path.stat().st_size for path in tmp_path.iterdir())
    assert rig.sealed == [file_name(NOW, 1), file_name(NOW, 2)]
    with open_capture(tmp_path) as capture:
        assert (len(capture), capture.sealed, capture.damage) == (6, True, ())
        assert capture.confessions == Confessions(seen=56, shed=51)


def test_a_segment_that_filled_up_before_an_error_is_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It commits itself, between two flushes."""
    monkeypatch.setattr(rotating, "create_capture", partial(create_capture, segment_bytes=1))
    rig = Rig(tmp_path, Keeping(rotation=Rotation(size_bytes=1 << 20)))
    with closing(rig.tape) as tape:
        tape.append(batch_of([example_exchange()] * 3))
        assert (tape.committed, tape.confessed) == (3, Confessions(seen=3))
        tape.resume()
        tape.append(batch_of([example_exchange()] * 2))
        tape.seal(Confessions(seen=7, shed=2))
    with open_capture(tmp_path) as capture:
        assert (len(capture), capture.sealed, capture.damage) == (5, True, ())
        assert capture.confessions == Confessions(seen=7, shed=2)


def test_what_other_files_tell_already_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    base = Confessions(seen=90, shed=30, filtered=4)
    with closing(
        RotatingTape(start_of(tmp_path / "out", NOW), example_header(), Keeping(rotation=SMALL), base=base)
    ) as tape:
        assert tape.base == tape.confessed == base
        tape.seal(Confessions(seen=95, shed=33, filtered=6))
        assert tape.base == base
    with open_capture(tape.path) as capture:
        assert capture.confessions == Confessions(seen=5, shed=3, filtered=2)


def test_a_folder_that_loses_its_rights_keeps_recording_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_example(tmp_path / "20270115T075900Z-000001.tape", [example_exchange()])

    def refuse(path: Path) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "unlink", refuse)
    rig = Rig(tmp_path, Keeping(rotation=Rotation(size_bytes=1, keep_bytes=1)))
    with closing(rig.tape) as tape:
        assert (tape.files, tape.removed) == (1, 0)
    assert rig.notes == [f"{tmp_path / '20270115T075900Z-000001.tape'}: cannot be removed: Operation not permitted"]
