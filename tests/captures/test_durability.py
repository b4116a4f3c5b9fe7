"""What a failing disk, a kill and a power loss may cost: nothing that a flush committed."""

import errno
import json
import os
import random
import shutil
import signal
import stat
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from captures import store
from captures.batches import batch_of
from captures.confessions import Confessions
from captures.exchange import Exchange
from captures.opening import open_capture
from captures.store import TapeFile, create_capture
from captures.testing import example_exchange, example_header

KEY = bytes(range(32))
ROOT = Path(__file__).parents[2]


class KilledError(BaseException):
    """From here on the process does nothing any more."""


@dataclass
class Disk:
    """The operating system as `captures.store` sees it, with faults. ``room``: bytes until writes fail; None: no end. ``shorts``:
    no write takes more bytes at once. ``mends``: whether a file can be made shorter. ``dead``: killed where ``room`` ends.
    """

    room: int | None = None
    shorts: int = 1 << 20
    mends: bool = True
    dead: bool = False
    calls: list[str] = field(default_factory=list)

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def pwrite(self, fd: int, data: memoryview, offset: int) -> int:
        self.calls.append("pwrite")
        if self.room is None:
            return os.pwrite(fd, data[: self.shorts], offset)
        if self.room == 0:
            raise KilledError if self.dead else OSError(errno.ENOSPC, "No space left on device")
        written = os.pwrite(fd, data[: min(self.room, self.shorts)], offset)
        self.room -= written
        return written

    def ftruncate(self, fd: int, size: int) -> None:
        if not self.mends:
            raise OSError(errno.EIO, "Input/output error")
        os.ftruncate(fd, size)

    def fdatasync(self, fd: int) -> None:
        self.calls.append("fdatasync")
        os.fdatasync(fd)

    def fsync(self, fd: int) -> None:
        self.calls.append("fsync folder" if stat.S_ISDIR(os.fstat(fd).st_mode) else "fsync file")
        os.fsync(fd)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    found = Disk()
    monkeypatch.setattr(store, "os", found)
    return found


def exchanges(first: int, count: int) -> list[Exchange]:
    """Told apart by their connections."""
    return [example_exchange(arrival_ns=number * 1000, connection=number) for number in range(first, first + count)]


def connections(path: Path, key: bytes | None = None) -> list[int]:
    """Of every exchange that can be read in full; there is no damage."""
    with open_capture(path, key=key) as capture:
        found = [each.connection for each in capture.exchanges()]
        assert capture.damage == ()
        assert len(found) == len(capture)
        return found


@dataclass
class Schedule:
    """Does what it is told to a tape, and keeps what must be in its file. ``ends``: (size of the file, exchanges in it)."""

    tape: TapeFile
    disk: Disk
    taken: list[int] = field(default_factory=list)
    kept: list[int] = field(default_factory=list)
    ends: list[tuple[int, int]] = field(default_factory=list)
    asked: int = 0

    def append(self, count: int) -> None:
        self.taken += range(self.asked, self.asked + count)
        batch, self.asked = batch_of(exchanges(self.asked, count)), self.asked + count
        self._try(lambda: self.tape.append(batch))

    def flush(self) -> None:
        self._try(lambda: self.tape.flush(Confessions(seen=self.asked, shed=self.asked - len(self.kept + self.taken))))

    def _try(self, step: Any) -> None:
        try:
            step()
        except OSError:
            self._note()
            self.taken = []
        else:
            self._note()

    def _note(self) -> None:
        new = self.tape.committed - len(self.kept)
        self.kept, self.taken = self.kept + self.taken[:new], self.taken[new:]
        self.ends.append((self.tape.size, len(self.kept)))


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(1, 12)),
        st.tuples(st.just("flush"), st.just(0)),
        st.tuples(st.just("room"), st.integers(0, 1500)),
        st.tuples(st.just("mended"), st.just(0)),
        st.tuples(st.just("stuck"), st.just(0)),
        st.tuples(st.just("shorts"), st.integers(1, 300)),
    ),
    max_size=14,
)


@settings(max_examples=60, deadline=None)
@given(STEPS, st.sampled_from([None, KEY]), st.sampled_from([700, 5000]), st.integers(0, 2000), st.randoms())
def test_any_schedule_of_writes_flushes_faults_and_kills_leaves_every_flush_that_returned(
    steps: list[tuple[str, int]], key: bytes | None, segment_bytes: int, killed_after: int, draw: random.Random
) -> None:
    with pytest.MonkeyPatch.context() as patch, TemporaryDirectory() as folder:
        disk = Disk()
        patch.setattr(store, "os", disk)
        path = Path(folder) / "a.tape"
        with create_capture(path, example_header(), key=key, segment_bytes=segment_bytes) as tape:
            schedule = Schedule(tape, disk)
            schedule._note()
            for step, amount in steps:
                if step == "append":
                    schedule.append(amount)
                elif step == "flush":
                    schedule.flush()
                else:
                    disk.room = {"room": amount, "mended": None}.get(step, disk.room)
                    disk.mends = {"mended": True, "stuck": False}.get(step, disk.mends)
                    disk.shorts = amount if step == "shorts" else disk.shorts
            assert connections(path, key) == schedule.kept

            disk.room, disk.dead, disk.mends = killed_after, True, True
            try:
                schedule.append(5)
                schedule.flush()
            except KilledError:
                disk.mends = False  # nobody is there to take the torn bytes back
        found = connections(path, key)
        assert found[: len(schedule.kept)] == schedule.kept
        assert found == [*schedule.kept, *schedule.taken][: len(found)]

        data = path.read_bytes()
        cut = draw.randint(schedule.ends[0][0], len(data))
        (Path(folder) / "cut.tape").write_bytes(data[:cut])
        whole = max(count for size, count in schedule.ends if size <= cut)
        assert connections(Path(folder) / "cut.tape", key)[:whole] == schedule.kept[:whole]


def test_a_write_interrupted_by_ctrl_c_is_taken_back_by_the_next_one(disk: Disk, tmp_path: Path) -> None:
    with create_capture(tmp_path / "a.tape", example_header()) as tape:
        tape.append(batch_of(exchanges(0, 30)))
        disk.room, disk.dead = 100, True
        with pytest.raises(KilledError):
            tape.flush(Confessions(seen=30))
        disk.room = None
        tape.append(batch_of(exchanges(30, 1)))
        tape.seal(Confessions(seen=31, shed=30))

    assert connections(tape.path) == [30]


def test_a_torn_write_that_cannot_be_taken_back_stops_the_next_one_until_it_can(disk: Disk, tmp_path: Path) -> None:
    with create_capture(tmp_path / "a.tape", example_header()) as tape:
        disk.room, disk.mends = 100, False
        tape.append(batch_of(exchanges(0, 3)))
        with pytest.raises(OSError, match="No space"):
            tape.flush(Confessions(seen=3))
        disk.room = None
        tape.append(batch_of(exchanges(3, 1)))
        with pytest.raises(OSError, match="Input/output"):
            tape.flush(Confessions(seen=4))
        assert connections(tape.path) == []

        disk.mends = True
        tape.append(batch_of(exchanges(4, 1)))
        tape.seal(Confessions(seen=5, shed=4))

    assert connections(tape.path) == [4]


def test_where_fsync_is_asked_for_every_write_is_synced_before_it_counts_and_the_folder_once(
    disk: Disk, tmp_path: Path
) -> None:
    with create_capture(tmp_path / "a.tape", example_header(), fsync=True) as tape:
        for seen in (1, 2):
            tape.append(batch_of(exchanges(seen, 1)))
            tape.flush(Confessions(seen=seen))
        tape.seal(Confessions(seen=2))

    header, flush, footer = (["pwrite", "fdatasync"],) * 3
    assert disk.calls == [*header, "fsync folder", *flush, *flush, *footer]


def test_where_fsync_is_not_asked_for_nothing_is_synced(disk: Disk, tmp_path: Path) -> None:
    with create_capture(tmp_path / "a.tape", example_header()) as tape:
        tape.append(batch_of(exchanges(0, 1)))
        tape.seal(Confessions(seen=1))

    assert disk.calls == ["pwrite", "pwrite", "pwrite"]


def test_a_flush_that_could_not_be_synced_was_not_written(disk: Disk, tmp_path: Path) -> None:
    def broken(fd: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with create_capture(tmp_path / "a.tape", example_header(), fsync=True) as tape:
        tape.append(batch_of(exchanges(0, 1)))
        disk.fdatasync = broken  # type: ignore[method-assign]  # a fault, from here on
        with pytest.raises(OSError, match="Input/output"):
            tape.flush(Confessions(seen=1))

    assert (tape.committed, connections(tape.path)) == (0, [])


FULL = """
import errno, json, sys
from pathlib import Path
from captures.batches import batch_of
from captures.confessions import Confessions
from captures.opening import open_capture
from captures.store import create_capture
from captures.testing import example_exchange, example_header
import random
folder, draw = Path(sys.argv[1]), random.Random(1)
with create_capture(folder / "sealed.tape", example_header()) as tape:
    tape.append(batch_of([example_exchange()]))
    tape.seal(Confessions(seen=1))
failed = asked = kept = 0
with create_capture(folder / "a.tape", example_header()) as tape:
    for flush in range(200):
        tape.append(batch_of([example_exchange(route=draw.randbytes(400).hex(), connection=asked)]))
        asked += 1
        try:
            tape.flush(Confessions(seen=asked, shed=failed))
        except OSError as error:
            assert error.errno == errno.ENOSPC, error
            failed += 1
    kept = tape.committed
    (folder / "sealed.tape").rename(folder / "b.tape")  # needs no room
    with open_capture(folder / "a.tape") as capture:
        while_full = [len(capture), list(capture.damage)]
with open_capture(folder / "b.tape") as capture:
    sealed = [capture.sealed, len(list(capture.exchanges())), list(capture.damage)]
with open_capture(folder / "a.tape") as capture:
    read = len(list(capture.exchanges()))
print(json.dumps(dict(asked=asked, failed=failed, kept=kept, read=read, while_full=while_full, sealed=sealed)))
"""


def test_a_file_system_that_is_full_costs_what_did_not_fit_and_it_is_counted(tmp_path: Path) -> None:
    """A real one: 64 KiB of tmpfs in a mount namespace of its own, which is gone with the process."""
    if not shutil.which("unshare"):
        pytest.skip("no unshare")
    mount = 'mount -t tmpfs -o size=64k tmpfs "$0" && exec "$@"'
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", mount, str(tmp_path), sys.executable, "-c", FULL, str(tmp_path)],
        check=False, capture_output=True, text=True, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    if "mount" in done.stderr or "unshare" in done.stderr:
        pytest.skip(f"a file system cannot be mounted here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)

    assert found["failed"] > 20
    assert found["kept"] > 20
    assert found["asked"] == found["kept"] + found["failed"]
    assert found["read"] == found["kept"]
    assert found["while_full"] == [found["kept"], []]
    assert found["sealed"] == [True, 1, []]


KILLS = 200
BATCH = 8
WRITER = """
import os, random, signal, struct, sys, time
from pathlib import Path
from captures.batches import batch_of
from captures.confessions import Confessions
from captures.store import create_capture
from captures.testing import example_exchange, example_header

folder, kills, size, key = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), bytes(range(32))
template = batch_of([example_exchange() for _ in range(size)])


def write(path, key, report):
    seen = 0
    with create_capture(path, example_header(), key=key, segment_bytes=1 << 15) as tape:
        os.write(report, struct.pack("<I", 0))
        while True:
            template.columns["session"][:] = range(seen, seen + size)
            tape.append(template)
            seen += size
            tape.flush(Confessions(seen=seen))
            os.write(report, struct.pack("<I", tape.committed))


def reported(pipe, data):
    while part := os.read(pipe, 1 << 16):
        data += part
    return struct.unpack("<I", data[-4:])[0] if data else -1


def main():
    draw = random.Random(20261123)
    for number in range(kills):
        into, report = os.pipe()
        writer = os.fork()
        if not writer:
            try:
                write(folder / f"{number}.tape", key if number % 2 else None, report)
            finally:
                os._exit(3)
        os.close(report)
        # A few are killed before they have written anything; most wherever they happen to be.
        reports, wanted = b"", draw.randint(1, 25) if number % 10 else 0
        while len(reports) < 4 * wanted and (report_read := os.read(into, 4)):
            reports += report_read
        time.sleep(draw.uniform(0, 0.004))
        os.kill(writer, signal.SIGKILL)
        _, status = os.waitpid(writer, 0)
        print(number, os.WTERMSIG(status) if os.WIFSIGNALED(status) else -1, reported(into, reports), flush=True)
        os.close(into)


main()
"""


def test_a_writer_that_is_killed_200_times_never_loses_what_it_had_flushed(tmp_path: Path) -> None:
    """Real processes that write as fast as they can, and SIGKILL at a random moment."""
    done = subprocess.run(
        [sys.executable, "-c", WRITER, str(tmp_path), str(KILLS), str(BATCH)],
        check=False, capture_output=True, text=True, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = [tuple(map(int, line.split())) for line in done.stdout.splitlines()]
    assert len(rows) == KILLS

    for number, ended_by, reported in rows:
        path = tmp_path / f"{number}.tape"
        assert ended_by == signal.SIGKILL
        if reported < 0 and not path.exists():
            continue  # before its first write, which is the header
        with open_capture(path, key=KEY) as capture:
            columns = capture.columns().columns
            assert columns["session"].tolist() == list(range(len(capture)))
            assert not capture.lost().any()
            assert capture.damage == ()
            assert max(reported, 0) <= len(capture) <= max(reported, 0) + BATCH
            assert capture.confessions.seen >= reported
    assert sum(reported > 0 for _, _, reported in rows) > KILLS / 2  # under load, or nothing was shown
