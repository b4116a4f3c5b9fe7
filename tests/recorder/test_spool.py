"""The spool without its process: a control socket, frames through real pipes, files in a folder, a bucket that is a dictionary."""

import fcntl
import os
import selectors
import time
from collections.abc import Callable, Sequence
from itertools import count, pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from captures.confessions import Confessions
from captures.opening import open_capture
from captures.privacy.policy import Policy
from captures.rotating import RotatingTape, stored_in
from captures.testing import example_exchange, write_example
from recorder import desk, places, spool
from recorder.board import Count
from recorder.channel import Channel, pair
from recorder.desk import Desk
from recorder.frames import frame
from recorder.intake import Intake
from recorder.places import Upload, free_bytes
from recorder.spool import run
from recorder.testing import frames, new_row, told
from recorder.totals import TOLD

URL = "s3://tapes/prod"
FOLDER = {"size_bytes": 1 << 20, "every_ns": 0, "keep_bytes": 0, "keep_ns": 0}


class Bucket:
    def __init__(self, *, broken: bool = False) -> None:
        self.objects: dict[str, bytes] = {}
        self.broken = broken

    def upload(self, local: Path, url: str) -> None:
        if self.broken:
            raise ConnectionRefusedError(111, "Connection refused")
        self.objects[url] = local.read_bytes()


class Supervised:
    """The supervisor's side: what is said to a spool beforehand, all of which it finds when it starts."""

    def __init__(self, path: Path, row: list[int] | None = None, **changes: object) -> None:
        ours, theirs = pair()
        self.channel, self._theirs = Channel(ours), Channel(theirs)
        self.row = new_row() if row is None else row
        settings: dict[str, object] = {
            "path": str(path),
            "url": "",
            "rotation": None,
            "expire_ns": 0,
            "min_free": 0,
            "fsync": False,
            "labels": [],
            "policy": Policy().as_data(),
            "key": bytes(32),
            "tape_key": None,
            "sampling_rate": 1.0,
            "sources": [],
            "wall_ns": time.time_ns(),
            "producer": "test",
        }
        self.channel.send(settings | changes)

    def inlet(self, *values: object, goodbye: bool = True, began: Sequence[int] = told(0), tail: bytes = b"") -> None:
        """A worker that says this and is gone. ``tail``: the beginning of a frame that it did not finish."""
        reading, writing = os.pipe()
        fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 1 << 20)
        os.write(writing, b"".join(map(frame, [*values, None] if goodbye else values)) + tail)
        os.close(writing)
        self.channel.send({"do": "inlet", "row": list(began)}, reading)

    def over(self, **counts: int) -> None:
        """The workers' row, at the end."""
        self.row[:TOLD] = told(**{"offered": self.row[Count.OFFERED], **counts})

    def run(self, upload: Upload | None = None) -> list[dict[str, Any]]:
        """What the spool says; the last message is its end."""
        self.channel.send({"do": "end"})
        self.code = run(self._theirs, self.row, upload=upload)
        said = [dict(each) for each in self.channel.hear()]
        self.channel.close()
        return said


def recorded(path: Path, exchanges: int, bucket: Bucket | None = None, **changes: Any) -> list[dict[str, Any]]:
    """What a spool says about a recording of so many exchanges."""
    supervised = Supervised(path, **changes)
    supervised.inlet(*frames(exchanges))
    supervised.over(offered=exchanges)
    return supervised.run(None if bucket is None else bucket.upload)


def test_a_recording_is_ready_then_done(tmp_path: Path) -> None:
    said = recorded(tmp_path / "x.tape", 5)
    assert [each["kind"] for each in said] == ["ready", "done"]
    assert said[0]["path"] == str(tmp_path / "x.tape")
    assert (said[1]["kept"], said[1]["files"], said[1]["staged"]) == (5, 1, 0)
    with open_capture(tmp_path / "x.tape") as capture:
        assert (len(capture), capture.sealed, capture.header.number) == (5, True, 1)


def test_an_existing_output_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "x.tape").write_bytes(b"mine")
    (tmp_path / "x-2.tape").write_bytes(b"mine, too")
    said = recorded(tmp_path / "x.tape", 2)
    assert said[0]["path"] == str(tmp_path / "x-3.tape")
    assert (tmp_path / "x.tape").read_bytes() == b"mine"


@pytest.mark.parametrize(
    ("place", "min_free", "message"),
    [
        ("missing/x.tape", 0, "missing/x.tape: cannot be created: No such file or directory"),
        ("x.tape", 1 << 62, "of --min-free; free some, or ask for less"),
    ],
)
def test_what_cannot_be_begun_is_refused(tmp_path: Path, place: str, min_free: int, message: str) -> None:
    supervised = Supervised(tmp_path / place, min_free=min_free)
    (said,) = supervised.run()
    assert said["kind"] == "refused"
    assert message in said["message"]
    assert supervised.code == 2


def test_a_supervisor_that_goes_before_it_says_anything_leaves_nothing(tmp_path: Path) -> None:
    ours, theirs = pair()
    ours.close()
    assert run(Channel(theirs), new_row()) == 0


def test_a_supervisor_that_goes_is_the_end_once_the_workers_are_gone(tmp_path: Path) -> None:
    supervised = Supervised(tmp_path / "x.tape")
    supervised.inlet(*frames(3))
    supervised.channel.close()
    assert run(supervised._theirs, supervised.row) == 0
    with open_capture(tmp_path / "x.tape") as capture:
        assert (len(capture), capture.sealed) == (3, True)


def test_what_a_killed_worker_had_begun_or_queued_is_lost_and_said(tmp_path: Path) -> None:
    supervised = Supervised(tmp_path / "x.tape")
    supervised.inlet(*frames(3, shed=1), goodbye=False, tail=frame(frames(1)[0])[:-20])
    supervised.over(offered=5, shed=1)
    supervised.row[Count.BEGAN] += 2
    supervised.run()
    assert (supervised.row[Count.LOST], supervised.row[Count.KEPT]) == (4, 3)
    with open_capture(tmp_path / "x.tape") as capture:
        assert (len(capture), capture.sealed) == (3, True)
        assert capture.confessions == Confessions(seen=8, shed=5)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_worker_that_took_the_place_of_a_killed_one_counts_on(
    tmp_path: Path, order: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever pipe is read first: the dead worker's may still be full when the new one's begins."""

    class Ordered(selectors.DefaultSelector):
        def select(self, timeout: float | None = None) -> list[Any]:
            ready = [each for each in super().select(timeout) if isinstance(each[0].data, spool._Inlet)]
            wanted = sorted(ready, key=lambda each: each[0].data.began[Count.BEGAN], reverse=order == (1, 0))
            return [*wanted[:1]] or super().select(timeout)

    monkeypatch.setattr(spool, "selectors", SimpleNamespace(DefaultSelector=Ordered, EVENT_READ=1, EVENT_WRITE=2))
    supervised = Supervised(tmp_path / "x.tape")
    dead = told(5)
    dead[Count.BEGAN] += 2  # two were in the making, two in the queue
    supervised.inlet(*frames(3), goodbye=False)
    supervised.inlet(*frames(4, offered=9), began=dead)
    supervised.over(offered=9)
    supervised.row[Count.BEGAN] += 2
    said = supervised.run()
    assert supervised.row[Count.LOST] == 4
    assert (said[-1]["kept"], said[-1]["confessions"]["seen"], said[-1]["confessions"]["shed"]) == (7, 11, 4)


def test_a_loss_is_said_when_the_next_worker_begins_and_not_only_at_the_end(tmp_path: Path) -> None:
    supervised = Supervised(tmp_path / "x.tape")
    supervised.inlet(*frames(3), goodbye=False)
    dead = told(5)
    supervised.inlet(began=dead)
    settled: list[tuple[int, int]] = []
    settle = Intake.settle

    def noting(intake: Intake, counts: Sequence[int], later: int = 0) -> None:
        settle(intake, counts, later)
        settled.append((counts[Count.BEGAN], supervised.row[Count.LOST]))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Intake, "settle", noting)
        supervised.over(offered=5)
        supervised.run()
    assert settled[0] == (5, 2)


def test_the_folder_adds_up_when_a_spool_took_the_place_of_a_killed_one(tmp_path: Path) -> None:
    first = Supervised(tmp_path / "out", rotation=FOLDER)
    first.inlet(*frames(3, shed=1))
    first.over(offered=3, shed=1)
    first.run()
    row = first.row
    row[Count.RECEIVED] += 2  # and then it was killed, with two that it had not committed yet
    second = Supervised(tmp_path / "out", row, rotation=FOLDER)
    second.inlet(*frames(4, offered=11, shed=2), began=told(5, shed=1))
    second.over(offered=11, shed=2)  # two more were in the pipe of the first
    said = second.run()
    with open_capture(tmp_path / "out") as capture:
        assert (len(capture), capture.sealed, capture.damage) == (7, True, ())
        assert capture.confessions == Confessions(seen=13, shed=6)
        assert [len(file) for file in sorted(capture.files, key=lambda file: file.name)] == [3, 4]
    assert (said[-1]["kept"], said[-1]["files"], said[-1]["confessions"]["seen"]) == (4, 1, 9)
    assert (row[Count.FILES], row[Count.KEPT], row[Count.LOST], row[Count.SPOOL_SHED]) == (2, 7, 2, 2)


def test_another_policy_is_another_file(tmp_path: Path) -> None:
    supervised = Supervised(tmp_path / "x.tape")
    other = Policy(headers_dropped=("x-tenant",))
    supervised.channel.send({"do": "policy", "policy": other.as_data()})
    supervised.inlet(*frames(2))
    said = supervised.run()
    assert [each["kind"] for each in said] == ["ready", "policy", "done"]
    with open_capture(tmp_path / "x-2.tape") as capture:
        assert (len(capture), capture.header.policy_digest) == (2, other.digest)


def test_garbage_costs_what_it_stands_for_and_nothing_else(tmp_path: Path) -> None:
    supervised = Supervised(tmp_path / "x.tape")
    garbage = b"\x05\x00\x00\x00\xc1\xc1\xc1\xc1\xc1"  # a frame of no msgpack
    reading, writing = os.pipe()
    os.write(writing, frame(frames(1)[0]) + garbage + frame(frames(1)[0]))
    os.close(writing)
    supervised.channel.send({"do": "inlet"}, reading)
    supervised.over(offered=3)
    said = supervised.run()
    assert (said[-1]["kept"], said[-1]["confessions"]["hook_errors"]) == (2, 1)
    assert said[-1]["confessions"]["seen"] == 3


def test_what_came_is_on_the_disk_a_second_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that goes on by a quarter of a second whenever it is read, and frames that trickle in: what a kill costs."""
    ticks = count(0.0, 0.25)
    now = 0.0

    def monotonic() -> float:
        nonlocal now
        now = next(ticks)
        return now

    on_disk: list[tuple[float, int]] = []
    come: list[tuple[float, int]] = [(0.0, 0)]
    take, tick = Intake.take, Desk.tick

    def taking(intake: Intake, received: Sequence[Any]) -> int:
        taken = take(intake, received)
        come.append((now, come[-1][1] + taken))
        return taken

    def ticking(each: Desk) -> None:
        tick(each)
        with open_capture(tmp_path / "x.tape") as capture:  # as after a kill
            on_disk.append((now, len(capture)))

    monkeypatch.setattr(spool, "time", SimpleNamespace(monotonic=monotonic))
    monkeypatch.setattr(spool, "_READ", 700)
    monkeypatch.setattr(Intake, "take", taking)
    monkeypatch.setattr(Desk, "tick", ticking)
    recorded(tmp_path / "x.tape", 40)

    assert len(on_disk) > 5
    for (_, kept), (later, _) in pairwise(on_disk):
        # All that is not on the disk just before the next flush came within a second, and the tick that noticed it.
        assert kept >= max(number for at, number in come if at <= later - 1.5)
    assert on_disk[-1][1] > 20


def test_a_flush_that_is_due_does_not_wait_for_all_that_one_read_gave(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = count(0.0, 0.6)
    monkeypatch.setattr(spool, "time", SimpleNamespace(monotonic=lambda: next(ticks)))
    monkeypatch.setattr(spool, "_AT_ONCE", 5)
    ticked: list[int] = []
    tick = Desk.tick

    def ticking(each: Desk) -> None:
        tick(each)
        ticked.append(each.intake.account()["kept"])  # type: ignore[arg-type]  # a number

    monkeypatch.setattr(Desk, "tick", ticking)
    recorded(tmp_path / "x.tape", 40)
    assert [kept for kept in ticked if kept % 40] != []


def test_a_label_that_is_nowhere_is_a_column_without_values(tmp_path: Path) -> None:
    recorded(tmp_path / "x.tape", 2, labels=["nowhere=path:9"], fsync=True)
    with open_capture(tmp_path / "x.tape") as capture:
        assert capture.header.labels == ("nowhere",)
        assert [each.labels for each in capture.exchanges()] == [(), ()]


def test_sealed_files_go_to_the_bucket_and_leave_nothing_here(tmp_path: Path) -> None:
    bucket = Bucket()
    said = recorded(tmp_path / "state" / "b", 5, bucket, url=URL, rotation=FOLDER)
    assert said[0] == {"kind": "ready", "path": URL}
    assert (said[-1]["kept"], said[-1]["staged"], said[-1]["staging"]) == (5, 0, "")
    assert list((tmp_path / "state" / "b").iterdir()) == []
    (url,) = bucket.objects
    assert url.startswith(f"{URL}/2")
    assert url.endswith("Z-000001.tape")


def test_what_an_earlier_recording_left_goes_to_the_bucket_too(tmp_path: Path) -> None:
    write_example(tmp_path / "20200101T000000Z-000001.tape", [example_exchange()])
    unsealed = write_example(tmp_path / "20200101T000000Z-000002.tape", [example_exchange()], number=2, seal=False)
    held = write_example(tmp_path / "20200101T000000Z-000003.tape", [example_exchange()], number=3)
    bucket = Bucket()
    with held.open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_SH)
        said = recorded(tmp_path, 1, bucket, url=URL, rotation=FOLDER)
    assert f"{URL}/20200101T000000Z-000001.tape" in bucket.objects
    assert len(bucket.objects) == 2
    assert sorted(tmp_path.iterdir()) == [unsealed, held]
    notes = [str(each["message"]) for each in said if each["kind"] == "note"]
    assert len(notes) == 1
    assert notes[0].startswith(f"{unsealed}: left by an earlier recording, not sealed")


def test_what_another_recorder_uploads_meanwhile_is_no_trouble(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = write_example(tmp_path / "20200101T000000Z-000001.tape", [example_exchange()])
    found = list(stored_in(tmp_path))
    gone.unlink()
    monkeypatch.setattr(places, "stored_in", lambda _: found)
    bucket = Bucket()
    said = recorded(tmp_path, 1, bucket, url=URL, rotation=FOLDER)
    assert [each["kind"] for each in said] == ["ready", "done"]
    assert len(bucket.objects) == 1


def test_what_cannot_be_uploaded_stays_and_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recorder.spool.UPLOAD_WAIT_S", 0.0)
    said = recorded(tmp_path, 3, Bucket(broken=True), url=URL, rotation=FOLDER)
    assert (said[-1]["staged"], said[-1]["staging"]) == (1, str(tmp_path))
    (path,) = tmp_path.iterdir()
    with open_capture(path) as capture:
        assert (len(capture), capture.sealed) == (3, True)


@pytest.mark.parametrize(("out", "rotation"), [("x.tape", None), ("tapes", FOLDER)])
def test_a_name_that_another_recorder_takes_at_the_same_moment_is_left_to_it(
    out: str, rotation: dict[str, int] | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, begin, rivals = tmp_path / out, RotatingTape, iter([b"first", b"second"])

    def too_late(path_of: Callable[[int], Path], *others: Any, **more: Any) -> RotatingTape:
        if rival := next(rivals, None):
            path_of(1).write_bytes(rival)
        return begin(path_of, *others, **more)

    monkeypatch.setattr(desk, "RotatingTape", too_late)
    said = recorded(place, 3, rotation=rotation)
    assert said[-1]["kept"] == 3
    files = sorted((place if rotation else tmp_path).iterdir(), key=lambda path: (len(path.name), path.name))
    assert [path.read_bytes() for path in files[:2]] == [b"first", b"second"]
    with open_capture(files[2]) as capture:
        assert len(capture) == 3
    assert said[0]["path"] == str(place if rotation else files[2])


@pytest.mark.parametrize(("folder", "why"), [("missing/tapes", "No such file"), ("file", "File exists")])
def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path, folder: str, why: str) -> None:
    (tmp_path / "file").touch()
    (said,) = recorded(tmp_path / folder, 0, rotation=FOLDER)
    assert said["kind"] == "refused"
    assert f"cannot be written: {why}" in said["message"]


def test_the_room_on_a_disk_is_known_before_the_folder_is_made(tmp_path: Path) -> None:
    here, there = free_bytes(tmp_path), free_bytes(tmp_path / "not" / "yet")
    assert here is not None
    assert here > 0
    assert there is not None
    assert here == pytest.approx(there, rel=0.2)
