"""Uploads: in order, again where they fail, never in the recording's way, and never for ever."""

import threading
from pathlib import Path

import pytest

from captures.errors import CaptureError, UsageError
from recorder.uploading import LONGEST_S, Uploader, delay_s


class Bucket:
    """Takes files, unless it is told to fail or to hang."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.failures: list[Exception] = []
        self.arrived = threading.Event()
        self.open = threading.Event()
        self.refused = ""
        self.filled = threading.Event()  # two objects
        self.open.set()

    def upload(self, local: Path, url: str) -> None:
        self.arrived.set()
        self.open.wait(30)
        if local.name == self.refused:
            raise UsageError("exists already")
        if self.failures:
            raise self.failures.pop(0)
        self.objects[url] = local.read_bytes()
        if len(self.objects) == 2:
            self.filled.set()


class Rig:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bucket = Bucket()
        self.notes: list[str] = []
        self.uploader = Uploader(self.bucket.upload, "s3://tapes/prod", self.notes.append, delay=lambda *_: 0.0)

    def put(self, name: str) -> Path:
        path = self.folder / name
        path.write_bytes(name.encode())
        self.uploader.put(path)
        return path


def test_what_is_uploaded_is_no_longer_here(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    for name in ("a.tape", "b.tape"):
        rig.put(name)
    assert rig.uploader.close(30) == []
    assert rig.bucket.objects == {"s3://tapes/prod/a.tape": b"a.tape", "s3://tapes/prod/b.tape": b"b.tape"}
    assert (list(tmp_path.iterdir()), rig.notes) == ([], [])


def test_a_bucket_that_takes_nothing_is_said_before_there_is_a_file() -> None:
    bucket, said, notes = Bucket(), threading.Event(), list[str]()

    def note(line: str) -> None:
        notes.append(line)
        said.set()

    def probe() -> None:
        raise CaptureError("s3://tapes/prod: access refused")

    uploader = Uploader(bucket.upload, "s3://tapes/prod", note, probe=probe)
    assert said.wait(30)
    assert uploader.close(30) == []
    assert notes == [
        "nothing can be uploaded now: s3://tapes/prod: access refused; files wait here, and it is tried again"
    ]


def test_what_fails_is_said_once_and_tried_again(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.bucket.failures = [OSError(111, "Connection refused"), CaptureError("no such bucket"), ValueError("secret")]
    rig.put("a.tape")
    assert rig.uploader.close(30) == []
    assert list(rig.bucket.objects) == ["s3://tapes/prod/a.tape"]
    assert rig.notes == [
        "a.tape: cannot be uploaded: Connection refused; tried again later",
        "uploading to s3://tapes/prod goes on",
    ]


@pytest.mark.parametrize(
    ("error", "said"),
    [(CaptureError("no such bucket"), "no such bucket"), (ValueError("secret"), "ValueError"), (OSError(), "OSError")],
)
def test_reasons_are_ours_or_the_system_s(tmp_path: Path, error: Exception, said: str) -> None:
    rig = Rig(tmp_path)
    rig.bucket.failures = [error]
    rig.put("a.tape")
    rig.uploader.close(30)
    assert f": {said}; tried again later" in rig.notes[0]


def test_what_is_left_when_time_is_up_is_named_and_kept(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.bucket.open.clear()
    paths = [rig.put("a.tape"), rig.put("b.tape")]
    assert rig.bucket.arrived.wait(30)
    assert rig.uploader.close(0.01) == paths
    assert all(path.exists() for path in paths)
    rig.bucket.open.set()


def test_one_that_never_gets_there_does_not_keep_the_others(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.bucket.refused = "a.tape"
    rig.bucket.open.clear()
    paths = [rig.put(name) for name in ("a.tape", "b.tape", "c.tape")]
    rig.bucket.open.set()
    assert rig.bucket.filled.wait(30)
    assert rig.uploader.close(0.1) == paths[:1]
    assert sorted(rig.bucket.objects) == ["s3://tapes/prod/b.tape", "s3://tapes/prod/c.tape"]
    assert rig.notes == ["a.tape: cannot be uploaded: exists already; tried again later"]


def test_a_file_that_somebody_took_away_is_told_and_forgotten(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.uploader.put(tmp_path / "a.tape")
    assert rig.uploader.close(30) == []
    assert rig.notes == [f"a.tape: no longer in {tmp_path}: uploaded by another worker, or removed"]


def test_putting_never_waits(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.bucket.open.clear()
    rig.put("a.tape")
    assert rig.bucket.arrived.wait(30)
    for number in range(100):
        rig.put(f"{number}.tape")  # would hang here
    rig.bucket.open.set()
    assert rig.uploader.close(30) == []
    assert len(rig.bucket.objects) == 101


def test_waits_grow_are_spread_and_bounded() -> None:
    assert [delay_s(n, 0.0) for n in (1, 2, 3, 7, 100)] == [0.5, 1.0, 2.0, LONGEST_S / 2, LONGEST_S / 2]
    assert delay_s(3, 0.999) < 4.0
    assert delay_s(10**6, 1.0) == LONGEST_S


def test_of_two_that_found_the_same_file_one_uploads_it(tmp_path: Path) -> None:
    rig, other = Rig(tmp_path), Rig(tmp_path)
    rig.bucket.open.clear()
    path = rig.put("a.tape")
    assert rig.bucket.arrived.wait(30)
    other.uploader.put(path, found=True)
    rig.bucket.open.set()
    assert (rig.uploader.close(30), other.uploader.close(30)) == ([], [])
    assert (len(rig.bucket.objects), len(other.bucket.objects), rig.notes, other.notes) == (1, 0, [], [])
