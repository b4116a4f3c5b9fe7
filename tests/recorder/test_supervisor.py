"""The relay's side of the spool, with the real process behind it; and the files a user names."""

import os
import resource
import signal
import stat
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from captures.errors import UsageError
from captures.exchange import Exchange
from captures.privacy.policy import Policy
from captures.store import open_capture
from captures.testing import example_exchange
from recorder.options import Address
from recorder.recording import Counts
from recorder.supervisor import SpoolClient, check_folder, closing_line, read_key, read_policy, start_session

KEY = bytes(range(32))


def settings(out: Path, **changes: object) -> Mapping[str, object]:
    return {
        "out": str(out),
        "policy": Policy().as_data(),
        "key": KEY,
        "sampling_rate": 1.0,
        "sources": [("127.0.0.1", 8000)],
        "wall_ns": time.time_ns(),
        "producer": "shadowtape test",
        **changes,
    }


class Desk:
    def __init__(self, out: Path, **options: int) -> None:
        self.counts = Counts()
        self.told: list[str] = []
        self.heard = threading.Event()
        self.client = SpoolClient(self.counts, self.on_trouble, **options)
        self.client.start(settings(out))
        self.path = Path(self.client.ready())

    def on_trouble(self, trouble: str) -> None:
        self.told.append(trouble)
        self.heard.set()

    def offer(self, n: int = 1, exchange: Exchange | None = None) -> int:
        """How many were taken; the others are counted as a recording counts them."""
        taken = 0
        for _ in range(n):
            self.counts.seen += 1
            if self.client.offer(exchange or example_exchange()):
                taken += 1
            else:
                self.counts.shed += 1
        return taken


@contextmanager
def desk(out: Path, **options: int) -> Iterator[Desk]:
    opened = Desk(out, **options)
    try:
        yield opened
    finally:
        opened.client.close()


def until(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def kept(path: Path) -> int:
    with open_capture(path) as capture:
        return len(capture)


@pytest.mark.slow
def test_what_is_offered_is_sealed_at_the_end_with_an_account(tmp_path: Path) -> None:
    with desk(tmp_path / "x.tape") as opened:
        assert opened.offer(300) == 300
    report = opened.client.close()
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
    big = example_exchange()
    with desk(tmp_path / "x.tape", queue_bytes=1 << 20) as opened:
        os.kill(opened.client.pid, signal.SIGSTOP)
        taken = opened.offer(3000, big)
        assert 0 < taken < 3000
        os.kill(opened.client.pid, signal.SIGCONT)
    report = opened.client.close()
    assert (report.kept, report.confessions.shed, report.confessions.seen) == (taken, 3000 - taken, 3000)


@pytest.mark.slow
def test_a_killed_spool_is_told_once_and_the_flushed_part_is_readable(tmp_path: Path) -> None:
    with desk(tmp_path / "x.tape") as opened:
        opened.offer(10)
        until(lambda: kept(opened.path) == 10)
        os.kill(opened.client.pid, signal.SIGKILL)
        assert opened.heard.wait(30)
        assert opened.offer(5) == 0
    report = opened.client.close()
    assert opened.told == ["the spool process died (signal 9)"]
    assert (report.confessions.seen, report.trouble) == (15, opened.told[0])
    with open_capture(opened.path) as capture:
        assert (len(capture), capture.sealed, len(capture.damage)) == (10, False, 0)


@pytest.mark.slow
def test_a_full_disk_stops_the_recording_is_told_once_and_all_is_accounted_for(tmp_path: Path) -> None:
    with desk(tmp_path / "x.tape") as opened:
        opened.offer(10)
        until(lambda: kept(opened.path) == 10)
        size = opened.path.stat().st_size
        resource.prlimit(opened.client.pid, resource.RLIMIT_FSIZE, (size + 100, size + 100))
        opened.offer(500)
        assert opened.heard.wait(30)
        opened.offer(7)
    report = opened.client.close()
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
        until(lambda: kept(opened.path) == 10)
        opened.path.unlink()
        if how == "removed":
            folder.rmdir()
        else:
            opened.path.write_bytes(b"something else")
        opened.offer(5)
        assert opened.heard.wait(30)
    report = opened.client.close()
    assert opened.told == [f"{opened.path}: the file is gone from its folder (removed or replaced)"]
    assert (report.kept, report.confessions.shed) == (0, 15)


@pytest.mark.slow
def test_signals_meant_for_the_relay_do_not_end_the_spool(tmp_path: Path) -> None:
    with desk(tmp_path / "x.tape") as opened:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.kill(opened.client.pid, number)
        opened.offer(3)
    assert opened.client.close().kept == 3


@pytest.mark.slow
def test_neither_key_nor_policy_is_in_the_process_list_or_the_environment(tmp_path: Path) -> None:
    with desk(tmp_path / "x.tape") as opened:
        shown = Path(f"/proc/{opened.client.pid}/cmdline").read_bytes()
        shown += Path(f"/proc/{opened.client.pid}/environ").read_bytes()
    assert KEY not in shown
    assert KEY.hex().encode() not in shown
    assert b"headers_kept" not in shown


@pytest.mark.slow
def test_a_spool_that_refuses_says_why(tmp_path: Path) -> None:
    client = SpoolClient(Counts(), lambda trouble: None)
    client.start(settings(tmp_path / "missing" / "x.tape"))
    with pytest.raises(UsageError, match="missing"):
        client.ready()


def test_a_missing_key_file_is_made_for_its_owner_only_and_read_back(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "k"
    path.parent.mkdir()
    made = read_key(path, tmp_path / "x.tape")
    assert len(made) == 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_key(path, tmp_path / "x.tape") == made


def test_a_key_beside_the_tape_is_refused_even_by_another_name(tmp_path: Path) -> None:
    (tmp_path / "alias").symlink_to(tmp_path)
    with pytest.raises(UsageError, match="another folder"):
        read_key(tmp_path / "alias" / "k", tmp_path / "x.tape")
    assert not (tmp_path / "k").exists()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_a_key_that_others_can_reach_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "keys" / "k"
    path.parent.mkdir()
    path.write_text("ab" * 32)
    path.chmod(mode)
    with pytest.raises(UsageError, match="chmod 600"):
        read_key(path, tmp_path / "x.tape")


def test_a_file_that_holds_no_key_is_refused_and_not_quoted(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "k"
    path.parent.mkdir()
    path.write_text("hunter2 is not a key")
    path.chmod(0o600)
    with pytest.raises(UsageError) as caught:
        read_key(path, tmp_path / "x.tape")
    assert "hunter2" not in str(caught.value)


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="make it first"):
        check_folder(tmp_path / "missing" / "x.tape")


def test_without_a_policy_file_the_default_denies() -> None:
    assert read_policy(None) == Policy()


@pytest.mark.parametrize("content", [b"\xff\xfe", b"a: [", b"no_such_field: 1"])
def test_a_policy_that_cannot_be_read_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "policy.yaml"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=r"policy\.yaml"):
        read_policy(path)
    with pytest.raises(UsageError, match="cannot be read"):
        read_policy(tmp_path / "missing.yaml")


@pytest.mark.slow
def test_a_session_is_recorded_under_the_policy_and_key_it_was_given(tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text("labels: [approved]\n")
    (tmp_path / "keys").mkdir()
    called: list[str] = []
    session = start_session(
        tmp_path / "x.tape",
        policy=tmp_path / "policy.yaml",
        key=tmp_path / "keys" / "k",
        sampling_rate=0.5,
        sources=[Address("127.0.0.1", 1)],
        on_trouble=called.append,
        meanwhile=lambda: called.append("meanwhile"),
    )
    report = session.close()
    assert called == ["meanwhile"]
    assert report.kept == 0
    with open_capture(Path(session.path)) as capture:
        assert capture.header.sampling_rate == 0.5
        assert capture.header.key_id
