"""The spool without its process: frames through a pipe, files in a folder, a bucket that is a dictionary."""

import fcntl
import os
import time
from collections.abc import Callable, Sequence
from itertools import count, pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from captures.errors import UsageError
from captures.opening import open_capture
from captures.privacy.policy import Policy
from captures.rotating import RotatingTape, stored_in
from captures.testing import example_exchange, write_example
from recorder import spool
from recorder.frames import frame
from recorder.intake import Intake
from recorder.spool import free_bytes, serve
from recorder.testing import frames

URL = "s3://tapes/prod"


class Bucket:
    def __init__(self, *, broken: bool = False) -> None:
        self.objects: dict[str, bytes] = {}
        self.broken = broken

    def upload(self, local: Path, url: str) -> None:
        if self.broken:
            raise ConnectionRefusedError(111, "Connection refused")
        self.objects[url] = local.read_bytes()


def recorded(path: Path, exchanges: int, bucket: Bucket | None = None, **changes: object) -> list[dict[str, object]]:
    """What a spool says about a recording of so many exchanges."""
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
    told: list[dict[str, object]] = []
    reading, writing = os.pipe()
    try:
        fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 1 << 20)
        for value in [settings | changes, *frames(exchanges)]:
            os.write(writing, frame(value))
        os.close(writing)
        serve(
            reading,
            lambda kind, **said: told.append({"kind": kind, **said}),
            upload=None if bucket is None else bucket.upload,
        )
    finally:
        os.close(reading)
    return told


FOLDER = {"size_bytes": 1 << 20, "every_ns": 0, "keep_bytes": 0, "keep_ns": 0}


def test_a_recording_is_ready_then_done(tmp_path: Path) -> None:
    told = recorded(tmp_path / "x.tape", 5)
    assert [each["kind"] for each in told] == ["ready", "done"]
    assert told[0]["path"] == str(tmp_path / "x.tape")
    assert (told[1]["kept"], told[1]["files"], told[1]["staged"]) == (5, 1, 0)
    with open_capture(tmp_path / "x.tape") as capture:
        assert (len(capture), capture.sealed, capture.header.number) == (5, True, 1)


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
    take = Intake.take

    def taking(intake: Intake, received: Sequence[Any]) -> None:
        take(intake, received)
        come.append((now, come[-1][1] + len(received)))

    def flushing(desk: spool._Desk) -> bool:
        done = flush(desk)
        with open_capture(tmp_path / "x.tape") as capture:  # as after a kill
            on_disk.append((now, len(capture)))
        return done

    flush = spool._Desk.flush
    monkeypatch.setattr(spool, "time", SimpleNamespace(monotonic=monotonic))
    monkeypatch.setattr(spool, "_READ", 700)
    monkeypatch.setattr(Intake, "take", taking)
    monkeypatch.setattr(spool._Desk, "flush", flushing)
    recorded(tmp_path / "x.tape", 40)

    assert len(on_disk) > 5
    for (_, kept), (later, _) in pairwise(on_disk):
        # All that is not on the disk just before the next flush came within a second, and the tick that noticed it.
        assert kept >= max(number for at, number in come if at <= later - 1.5)
    assert on_disk[-1][1] > 20


def test_a_label_that_is_nowhere_is_a_column_without_values(tmp_path: Path) -> None:
    recorded(tmp_path / "x.tape", 2, labels=["nowhere=path:9"], fsync=True)
    with open_capture(tmp_path / "x.tape") as capture:
        assert capture.header.labels == ("nowhere",)
        assert [each.labels for each in capture.exchanges()] == [(), ()]


def test_sealed_files_go_to_the_bucket_and_leave_nothing_here(tmp_path: Path) -> None:
    bucket = Bucket()
    told = recorded(tmp_path / "state" / "b", 5, bucket, url=URL, rotation=FOLDER)
    assert told[0] == {"kind": "ready", "path": URL}
    assert (told[-1]["kept"], told[-1]["staged"], told[-1]["staging"]) == (5, 0, "")
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
        told = recorded(tmp_path, 1, bucket, url=URL, rotation=FOLDER)
    assert f"{URL}/20200101T000000Z-000001.tape" in bucket.objects
    assert len(bucket.objects) == 2
    assert sorted(tmp_path.iterdir()) == [unsealed, held]
    notes = [str(each["message"]) for each in told if each["kind"] == "note"]
    assert len(notes) == 1
    assert notes[0].startswith(f"{unsealed}: left by an earlier recording, not sealed")


def test_what_another_recorder_uploads_meanwhile_is_no_trouble(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = write_example(tmp_path / "20200101T000000Z-000001.tape", [example_exchange()])
    found = list(stored_in(tmp_path))
    gone.unlink()
    monkeypatch.setattr(spool, "stored_in", lambda _: found)
    bucket = Bucket()
    told = recorded(tmp_path, 1, bucket, url=URL, rotation=FOLDER)
    assert [each["kind"] for each in told] == ["ready", "done"]
    assert len(bucket.objects) == 1


def test_what_cannot_be_uploaded_stays_and_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recorder.spool.UPLOAD_WAIT_S", 0.0)
    told = recorded(tmp_path, 3, Bucket(broken=True), url=URL, rotation=FOLDER)
    assert (told[-1]["staged"], told[-1]["staging"]) == (1, str(tmp_path))
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

    monkeypatch.setattr(spool, "RotatingTape", too_late)
    told = recorded(place, 3, rotation=rotation)
    assert told[-1]["kept"] == 3
    files = sorted((place if rotation else tmp_path).iterdir(), key=lambda path: (len(path.name), path.name))
    assert [path.read_bytes() for path in files[:2]] == [b"first", b"second"]
    with open_capture(files[2]) as capture:
        assert len(capture) == 3
    assert told[0]["path"] == str(place if rotation else files[2])


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be written: No such file"):
        recorded(tmp_path / "missing" / "tapes", 0, rotation=FOLDER)
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="cannot be written: File exists"):
        recorded(tmp_path / "file", 0, rotation=FOLDER)


def test_the_room_on_a_disk_is_known_before_the_folder_is_made(tmp_path: Path) -> None:
    here, there = free_bytes(tmp_path), free_bytes(tmp_path / "not" / "yet")
    assert here is not None
    assert here > 0
    assert there is not None
    assert here == pytest.approx(there, rel=0.2)
