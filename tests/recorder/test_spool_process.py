"""A recording in a loop of the test's own, with the real spool process behind it; and the files a user names."""

import asyncio
import os
import resource
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from captures.confessions import Confessions
from captures.errors import CaptureError, UsageError
from captures.exchange import RUN_HEADER
from captures.opening import open_capture
from captures.privacy.policy import Policy
from captures.testing import example_exchange, write_example
from recorder.board import Count
from recorder.options import DEFAULT_LIMITS, Address, Storage
from recorder.outlet import QUEUE_BYTES
from recorder.report import Report, closing_line
from recorder.spool_process import LocalSession, Terms, local_session
from recorder.testing import wire_exchange
from recorder.wire import WireExchange

KEY = bytes(range(32))


def settings(out: Path, **changes: object) -> Mapping[str, object]:
    return {
        "path": str(out),
        "url": "",
        "rotation": None,
        "expire_ns": 0,
        "min_free": 0,
        "fsync": False,
        "labels": [],
        "tape_key": None,
        "policy": Policy().as_data(),
        "key": KEY,
        "sampling_rate": 1.0,
        "sources": [("127.0.0.1", 8000)],
        "wall_ns": time.time_ns(),
        "producer": "shadowtape test",
        **changes,
    }


class Desk:
    """A session, and the loop it lives in: it runs only while something is waited for."""

    def __init__(self, out: Path, *, queue_bytes: int = QUEUE_BYTES, **changes: object) -> None:
        self.told: list[str] = []
        self.notes: list[str] = []
        self._runner = asyncio.Runner()
        self._report: Report | None = None
        terms = Terms(settings(out, **changes), time.monotonic_ns(), KEY, "")
        try:
            self.session = self._runner.run(self._start(terms, queue_bytes))
        except BaseException:
            self._runner.close()
            raise
        self.path = Path(self.session.path)

    async def _start(self, terms: Terms, queue_bytes: int) -> LocalSession:
        return LocalSession(terms, self.told.append, self.notes.append, DEFAULT_LIMITS, queue_bytes)

    @property
    def pid(self) -> int:
        return self.session.pid

    def offer(self, n: int = 1, exchange: WireExchange | None = None) -> int:
        """How many were taken; the others are counted as shed."""
        return self._runner.run(self._offer(n, exchange or wire_exchange()))

    async def _offer(self, n: int, exchange: WireExchange) -> int:
        before = self.session.row[Count.OFFERED]
        for _ in range(n):
            if self.session.recording.admit(exchange.request_head):
                self.session.recording.keep(exchange)
        return self.session.row[Count.OFFERED] - before

    def until(self, happened: Callable[[], bool]) -> None:
        async def wait() -> None:
            async with asyncio.timeout(30):
                while not happened():  # noqa: ASYNC110 - files have no events
                    await asyncio.sleep(0.02)

        self._runner.run(wait())

    def close(self) -> Report:
        if self._report is None:
            self._report = self._runner.run(self.session.close())
            self._runner.close()
        return self._report


@contextmanager
def desk(out: Path, **options: object) -> Iterator[Desk]:
    opened = Desk(out, **options)  # type: ignore[arg-type]  # passed on as they are
    try:
        yield opened
    finally:
        opened.close()


def kept(path: Path) -> int:
    with open_capture(path) as capture:
        return len(capture)


@pytest.mark.slow
def test_what_is_offered_is_sealed_at_the_end_with_an_account(tmp_path: Path) -> None:
    with desk(tmp_path / "x.tape") as opened:
        assert opened.offer(300) == 300
    report = opened.close()
    assert (report.kept, report.trouble, report.confessions.seen) == (300, "", 300)
    with open_capture(opened.path) as capture:
        assert (len(capture), capture.sealed, capture.confessions) == (300, True, report.confessions)
        header = capture.header
        assert (header.kind, header.policy, header.policy_digest) == ("recording", Policy().as_data(), Policy().digest)
        assert len(header.source_digests) == 1
    assert KEY not in opened.path.read_bytes()
    assert "recorded 300 of 300 exchanges" in closing_line(report)


@pytest.mark.slow
def test_an_existing_output_gives_the_next_free_name(tmp_path: Path) -> None:
    (tmp_path / "x.tape").write_bytes(b"")
    (tmp_path / "x-2.tape").write_bytes(b"")
    with desk(tmp_path / "x.tape") as opened:
        assert opened.path == tmp_path / "x-3.tape"


@pytest.mark.slow
def test_a_stuck_spool_makes_offers_fail_not_wait_and_what_was_taken_is_kept(tmp_path: Path) -> None:
    big = wire_exchange()
    with desk(tmp_path / "x.tape", queue_bytes=1 << 17) as opened:
        os.kill(opened.pid, signal.SIGSTOP)
        taken = opened.offer(3000, big)
        assert 0 < taken < 3000
        os.kill(opened.pid, signal.SIGCONT)
    report = opened.close()
    assert (report.kept, report.confessions.shed, report.confessions.seen) == (taken, 3000 - taken, 3000)


@pytest.mark.slow
def test_a_killed_spool_is_told_once_and_the_flushed_part_is_readable(tmp_path: Path) -> None:
    with desk(tmp_path / "x.tape") as opened:
        opened.offer(10)
        opened.until(lambda: kept(opened.path) == 10)
        os.kill(opened.pid, signal.SIGKILL)
        opened.until(lambda: bool(opened.told))
        assert opened.offer(5) == 0
    report = opened.close()
    assert opened.told == ["the spool process died (signal 9)"]
    assert (report.confessions.seen, report.trouble) == (15, opened.told[0])
    with open_capture(opened.path) as capture:
        assert (len(capture), capture.sealed, len(capture.damage)) == (10, False, 0)


@pytest.mark.slow
def test_a_full_disk_stops_the_recording_is_told_once_and_all_is_accounted_for(tmp_path: Path) -> None:
    with desk(tmp_path / "x.tape") as opened:
        opened.offer(10)
        opened.until(lambda: kept(opened.path) == 10)
        size = opened.path.stat().st_size
        resource.prlimit(opened.pid, resource.RLIMIT_FSIZE, (size + 100, size + 100))
        opened.offer(500)
        opened.until(lambda: bool(opened.told))
        opened.offer(7)
    report = opened.close()
    assert opened.told == [f"{opened.path}: cannot write: File too large"]
    assert (report.kept, report.confessions.shed) == (10, 507)
    with open_capture(opened.path) as capture:
        assert (len(capture), capture.sealed) == (10, False)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["removed", "replaced"])
def test_an_output_that_vanished_is_told_once(tmp_path: Path, how: str) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    with desk(folder / "x.tape") as opened:
        opened.offer(10)
        opened.until(lambda: kept(opened.path) == 10)
        opened.path.unlink()
        if how == "removed":
            folder.rmdir()
        else:
            opened.path.write_bytes(b"something else")
        opened.offer(5)
        opened.until(lambda: bool(opened.told))
    report = opened.close()
    assert opened.told == [f"{opened.path}: the file is gone from its folder (removed or replaced)"]
    assert (report.kept, report.confessions.shed) == (0, 15)


@pytest.mark.slow
def test_signals_meant_for_the_relay_do_not_end_the_spool(tmp_path: Path) -> None:
    with desk(tmp_path / "x.tape") as opened:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.kill(opened.pid, number)
        opened.offer(3)
    assert opened.close().kept == 3


@pytest.mark.slow
def test_neither_key_nor_policy_is_in_the_process_list_or_the_environment(tmp_path: Path) -> None:
    with desk(tmp_path / "x.tape") as opened:
        shown = Path(f"/proc/{opened.pid}/cmdline").read_bytes()
        shown += Path(f"/proc/{opened.pid}/environ").read_bytes()
    assert KEY not in shown
    assert KEY.hex().encode() not in shown
    assert b"headers_kept" not in shown


@pytest.mark.slow
def test_a_spool_that_refuses_says_why(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="missing"):
        Desk(tmp_path / "missing" / "x.tape")


@pytest.mark.slow
def test_a_session_is_recorded_under_the_policy_and_key_it_was_given(tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text("labels: [approved]\n")
    (tmp_path / "keys").mkdir()
    (tmp_path / "x.tape").write_bytes(b"mine")
    said: list[str] = []

    async def record() -> tuple[LocalSession, Report]:
        session = local_session(
            Storage(out="x.tape", path=tmp_path / "x.tape"),
            policy=tmp_path / "policy.yaml",
            key=tmp_path / "keys" / "k",
            sampling_rate=0.5,
            sources=[Address("127.0.0.1", 1)],
            on_trouble=said.append,
            on_note=said.append,
        )
        return session, await session.close()

    session, report = asyncio.run(record())
    assert said == [f"{tmp_path / 'x.tape'} exists already: recording into {tmp_path / 'x-2.tape'}"]
    assert report.kept == 0
    with open_capture(Path(session.path)) as capture:
        assert capture.header.sampling_rate == 0.5
        assert capture.header.key_id


@pytest.mark.slow
def test_a_session_counts_what_it_leaves_out(tmp_path: Path) -> None:
    with desk(tmp_path / "x.tape") as opened:
        opened.offer(2)
        opened.offer(3, wire_exchange(headers=f"{RUN_HEADER}: r\r\n"))
    said = opened.close().confessions
    assert (said.seen, said.own, said.shed) == (5, 3, 0)
    with open_capture(opened.path) as capture:
        assert capture.confessions == said


FOLDER = {"size_bytes": 1, "every_ns": 0, "keep_bytes": 0, "keep_ns": 0}


def numbered(number: int) -> WireExchange:
    """An exchange that does not compress away."""
    body = b'{"inputs":[{"name":"x","datatype":"FP64","shape":[1],"data":[%d.%d]}]}' % (number % 7, number**5)
    return wire_exchange(number**3, body=body)


def by_file(folder: Path) -> list[Confessions]:
    found = []
    for path in sorted(folder.iterdir()):
        with open_capture(path) as capture:
            assert capture.damage == ()
            found.append(capture.confessions)
    return found


def written(folder: Path) -> int:
    return sum(kept(path) for path in folder.iterdir())


@pytest.mark.slow
def test_a_folder_takes_one_file_after_another_and_the_sums_are_right(tmp_path: Path) -> None:
    folder = tmp_path / "tapes"
    with desk(folder, rotation=FOLDER, queue_bytes=1 << 17) as opened:
        assert opened.path == folder
        os.kill(opened.pid, signal.SIGSTOP)
        opened.offer(2000)  # more than the queue takes
        os.kill(opened.pid, signal.SIGCONT)
        opened.until(lambda: written(folder) > 0)
        opened.offer(500)
    report = opened.close()
    files = by_file(folder)
    assert (report.files, report.trouble, len(files)) == (len(files), "", len(files))
    assert sum(each.seen for each in files) == report.confessions.seen == 2500
    assert sum(each.shed for each in files) == report.confessions.shed > 0
    assert report.kept == written(folder) == 2500 - report.confessions.shed
    with open_capture(max(folder.iterdir())) as capture:
        assert capture.header.number == len(files)
        assert capture.sealed


@pytest.mark.slow
def test_a_killed_spool_leaves_sealed_files_and_one_that_is_readable(tmp_path: Path) -> None:
    folder = tmp_path / "tapes"
    with desk(folder, rotation=FOLDER) as opened:
        opened.offer(10)
        opened.until(lambda: written(folder) == 10)
        opened.offer(10)
        opened.until(lambda: written(folder) == 20)
        os.kill(opened.pid, signal.SIGKILL)
        opened.until(lambda: bool(opened.told))
    assert opened.close().confessions.seen == 20
    sealed = []
    for path in sorted(folder.iterdir()):
        with open_capture(path) as capture:
            assert capture.damage == ()
            sealed.append(capture.sealed)
    assert all(sealed[:-1])  # the last one too, where the kill came between two files
    assert written(folder) == 20


@pytest.mark.slow
def test_a_full_disk_in_a_folder_keeps_what_was_sealed_and_accounts_for_all(tmp_path: Path) -> None:
    folder = tmp_path / "tapes"
    with desk(folder, rotation={**FOLDER, "size_bytes": 1 << 20}) as opened:
        opened.offer(10)
        opened.until(lambda: written(folder) == 10)
        (path,) = folder.iterdir()
        size = path.stat().st_size
        resource.prlimit(opened.pid, resource.RLIMIT_FSIZE, (size + 1000, size + 1000))
        for number in range(1000):
            opened.offer(1, numbered(number))
        opened.until(lambda: bool(opened.told))
        opened.offer(7)
    report = opened.close()
    assert opened.told == [f"{folder}: cannot write: File too large"]
    assert (report.kept, report.confessions.shed, report.confessions.seen) == (10, 1007, 1017)
    with open_capture(path) as capture:
        assert (len(capture), capture.sealed, capture.damage) == (10, True, ())  # the footer fitted
        assert capture.confessions.seen == 10 + capture.confessions.shed


@pytest.mark.slow
def test_below_the_floor_recording_does_not_start(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"x.tape: the disk has .* left, less than the .* of --min-free"):
        Desk(tmp_path / "x.tape", min_free=1 << 60)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_retention_is_told_and_counted(tmp_path: Path) -> None:
    folder = tmp_path / "tapes"
    folder.mkdir()
    old = write_example(folder / "20200101T000000Z-000001.tape", [example_exchange()])
    os.utime(old, ns=(0, 10**18))
    with desk(folder, rotation={**FOLDER, "keep_ns": 86_400 * 10**9}) as opened:
        opened.offer(3)
    report = opened.close()
    assert not old.exists()
    assert report.removed == 1
    assert report.removed_bytes > 0
    assert "; 1 file removed by retention (" in closing_line(report)
    assert len(opened.notes) == 1
    assert opened.notes[0].startswith(f"{folder}: 1 older file removed")


@pytest.mark.slow
def test_a_recording_can_be_encrypted_labelled_and_made_to_expire(tmp_path: Path) -> None:
    path = tmp_path / "x.tape"
    tape_key = bytes(range(100, 132))
    secret = "jane.doe@example.com"
    known = wire_exchange(headers="X-Region: eu-west\r\n")
    planted = wire_exchange(headers=f"X-Region: {secret}\r\n")
    labels = ["region=header:x-region", "op=path:4"]
    with desk(path, tape_key=tape_key, labels=labels, expire_ns=3_600 * 10**9, fsync=True) as opened:
        opened.offer(2, known)
        opened.offer(3, planted)
    report = opened.close()
    assert report.other == {"region": 3}
    assert "; label values kept as other: region 3" in closing_line(report)
    for hidden in (b"eu-west", b"house", tape_key, tape_key.hex().encode(), secret.encode()):
        assert hidden not in path.read_bytes()
    with pytest.raises(CaptureError):
        open_capture(path)
    with open_capture(path, key=tape_key) as capture:
        assert capture.header.labels == ("op", "region")
        assert 0 < capture.header.expires_ns - time.time_ns() <= 3_600 * 10**9
        assert capture.sealed
        exchanges = list(capture.exchanges())
    assert [dict(each.labels) for each in exchanges] == [
        {"op": "infer", "region": region} for region in ["eu-west"] * 2 + ["other"] * 3
    ]
    assert secret not in repr(exchanges)


@pytest.mark.slow
def test_the_environment_alone_encrypts_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHADOWTAPE_TAPE_KEY", "ab" * 32)
    with desk(tmp_path / "x.tape") as opened:
        opened.offer()
    opened.close()
    with open_capture(tmp_path / "x.tape") as capture:
        assert (capture.encrypted, len(capture)) == (False, 1)
