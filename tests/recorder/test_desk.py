"""Where a spool writes: real files, a clock to turn by hand, and a disk that fills up when it is told to."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from captures.confessions import Confessions
from captures.errors import UsageError
from captures.opening import open_capture
from captures.privacy.policy import Policy
from captures.verification import check, verdict
from recorder import desk as desks
from recorder.board import Count
from recorder.desk import Desk
from recorder.guard import GONE, RESERVE
from recorder.testing import frames, new_row

MIB = 1 << 20
FOLDER = {"size_bytes": 1 << 20, "every_ns": 0, "keep_bytes": 0, "keep_ns": 0}
OTHER_POLICY = Policy(headers_dropped=("x-tenant",))


def settings(path: Path, **changes: object) -> dict[str, object]:
    return {
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
        "sources": [("127.0.0.1", 8080)],
        "wall_ns": 1_800_000_000_000_000_000,
        "producer": "test",
        **changes,
    }


class Rig:
    """``now``: seconds; ``free``: bytes on the disk."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        self.now, self.free = 1000.0, 1 << 40
        self.row = new_row()
        self.told: list[dict[str, Any]] = []
        self.sent = 0
        self.tmp_path = tmp_path
        wall_ns = 1_800_000_000_000_000_000
        clock = SimpleNamespace(monotonic=lambda: self.now, time_ns=lambda: wall_ns + int(self.now * 1e9))
        monkeypatch.setattr(desks, "time", clock)
        monkeypatch.setattr(desks, "free_bytes", lambda _: self.free)

    def open(self, name: str, **changes: object) -> Desk:
        self.desk = Desk(
            settings(self.tmp_path / name, **changes),
            self.row,
            lambda kind, **said: self.told.append({"kind": kind, **said}),
        )
        return self.desk

    def take(self, n: int) -> None:
        self.sent += n
        self.desk.intake.take(frames(n, offered=self.sent))

    def tick(self, seconds: float = 1.0) -> None:
        self.now += seconds
        self.desk.tick()

    def end(self) -> None:
        self.desk.seal()
        self.desk.close()

    def said(self, kind: str) -> list[str]:
        return [told["message"] for told in self.told if told["kind"] == kind]


@pytest.fixture
def rig(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(monkeypatch, tmp_path)
    yield rig
    if hasattr(rig, "desk"):
        rig.desk.close()


def tapes(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.tape"), key=lambda path: (len(path.name), path.name))


def all_told(folder: Path) -> tuple[int, Confessions]:
    """Exchanges and confessions of all files of a folder, every one of which is sound by itself."""
    for path in tapes(folder):
        with open_capture(path) as capture:
            found = verdict([capture], sum(check(capture)))
            # Alone, a later file of a recording misses those before it.
            damage = [each for each in found["damage"] if "missing" not in each["reason"]]
            assert (damage, found["sealed"]) == ([], True), path
    with open_capture(tapes(folder)[0].parent) as capture:
        return len(capture), capture.confessions


def test_the_gauges_say_what_is_there(rig: Rig) -> None:
    rig.free = 123456789
    rig.open("x.tape")
    assert (rig.row[Count.RECORDING], rig.row[Count.DISK_FREE_BYTES], rig.row[Count.FILES]) == (1, 123456789, 1)
    rig.take(3)
    rig.tick()
    assert rig.row[Count.TAPE_BYTES] == (rig.tmp_path / "x.tape").stat().st_size
    rig.end()
    assert (rig.row[Count.RECORDING], rig.row[Count.KEPT]) == (0, 3)


def test_a_disk_that_says_nothing_is_not_watched(rig: Rig) -> None:
    rig.free = None  # type: ignore[assignment]  # unknown
    rig.open("x.tape", min_free=1 << 50)
    rig.take(1)
    rig.tick()
    assert (rig.row[Count.DISK_FREE_BYTES], rig.row[Count.KEPT]) == (-1, 1)


def test_too_little_room_at_the_start_is_refused(rig: Rig) -> None:
    rig.free = 5
    with pytest.raises(UsageError, match=r"the disk has 5 B left, less than the 256.0 MiB of --min-free; free some"):
        rig.open("x.tape", min_free=256 * MIB)


@pytest.mark.parametrize("rotation", [None, FOLDER])
def test_when_there_is_room_again_recording_goes_on_and_says_what_was_missed(
    rig: Rig, rotation: dict[str, int] | None
) -> None:
    rig.open("out" if rotation else "x.tape", min_free=MIB, rotation=rotation)
    rig.take(3)
    rig.tick()
    rig.free = MIB - 1
    rig.take(2)
    rig.tick()
    assert (rig.row[Count.KEPT], rig.row[Count.RECORDING]) == (5, 0)  # what fits below the floor is still written
    rig.take(4)
    rig.tick()
    assert len(rig.said("trouble")) == 1
    rig.free = MIB + RESERVE
    rig.tick(desks.RETRY_S)
    rig.take(1)
    rig.tick()
    assert (rig.row[Count.KEPT], rig.row[Count.RECORDING], rig.row[Count.FILES]) == (6, 1, 2)
    rig.end()

    first, second = tapes(rig.tmp_path)
    assert rig.said("recovered") == [f"{second if rotation is None else second.parent}: recording goes on in {second}"]
    if rotation is None:
        assert (first.name, second.name) == ("x.tape", "x-2.tape")
    assert all_told(rig.tmp_path) == (6, Confessions(seen=10, shed=4))
    with open_capture(second) as capture:
        assert (len(capture), capture.confessions) == (1, Confessions(seen=5, shed=4))
    assert rig.desk.account()["files"] == 2


def test_a_folder_goes_on_with_the_next_number_of_the_same_recording(rig: Rig) -> None:
    rig.open("out", min_free=MIB, rotation=FOLDER)
    rig.free = 0
    rig.tick()
    rig.free = 1 << 40
    rig.tick(desks.RETRY_S)
    rig.end()
    with open_capture(rig.tmp_path / "out") as capture:
        assert [file.header.number for file in capture.files] == [1, 2]
        assert len({file.header.recording_id for file in capture.files}) == 1
        assert capture.damage == ()


def test_it_is_tried_later_and_later(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig.open("x.tape", min_free=MIB)
    tries: list[float] = []
    rig.free = 0
    rig.tick()
    start = rig.now

    def room(free: int | None, min_free: int) -> bool:
        tries.append(rig.now - start)
        return False

    monkeypatch.setattr(desks, "has_room", room)
    for _ in range(200):
        rig.tick()
    assert tries == [5, 15, 35, 75, 135, 195]


def test_trouble_soon_after_trouble_waits_longer(rig: Rig) -> None:
    rig.open("x.tape", min_free=MIB)
    for wait in (5, 10, 20):
        rig.free = 0
        rig.tick()
        rig.free = 1 << 40
        rig.tick(wait - 0.5)
        assert rig.row[Count.RECORDING] == 0
        rig.tick(0.5)
        assert rig.row[Count.RECORDING] == 1
    rig.tick(desks.LONGEST_RETRY_S)
    rig.free = 0
    rig.tick()
    rig.free = 1 << 40
    rig.tick(desks.RETRY_S)
    assert rig.row[Count.RECORDING] == 1
    assert len(rig.said("trouble")) == len(rig.said("recovered")) == 4


def test_a_file_that_is_removed_is_followed_by_another(rig: Rig) -> None:
    rig.open("x.tape")
    rig.take(3)
    rig.tick()
    (rig.tmp_path / "x.tape").unlink()
    rig.take(2)
    rig.tick()
    assert rig.said("trouble") == [f"{rig.tmp_path / 'x.tape'}: {GONE}"]
    rig.tick(desks.RETRY_S)
    rig.take(1)
    rig.end()
    assert [path.name for path in tapes(rig.tmp_path)] == ["x.tape"]
    assert all_told(rig.tmp_path) == (1, Confessions(seen=6, shed=5))
    assert (rig.row[Count.KEPT], rig.row[Count.SPOOL_SHED]) == (1, 5)


def test_the_files_beside_a_removed_one_still_add_up(rig: Rig) -> None:
    """The gone file takes with it what it told, and the next one tells it."""
    rig.open("out", rotation={**FOLDER, "size_bytes": 1})
    rig.take(3)
    rig.tick()
    rig.take(2)
    rig.tick()
    (current,) = [path for path in tapes(rig.tmp_path) if path.name.endswith("3.tape")]
    rig.take(4)
    current.unlink()
    rig.tick()
    rig.tick(desks.RETRY_S)
    rig.take(1)
    rig.end()
    with open_capture(rig.tmp_path / "out") as capture:
        assert (len(capture), capture.confessions, capture.damage) == (6, Confessions(seen=10, shed=4), ())
        assert len({file.header.recording_id for file in capture.files}) == 2


def test_a_removed_folder_is_made_again(rig: Rig) -> None:
    rig.open("out", rotation={**FOLDER, "size_bytes": 1})
    rig.take(3)
    rig.tick()
    shutil.rmtree(rig.tmp_path / "out")
    rig.take(2)
    rig.tick()
    rig.tick(desks.RETRY_S)
    rig.take(1)
    rig.end()
    assert all_told(rig.tmp_path / "out") == (1, Confessions(seen=6, shed=5))


def test_a_folder_that_cannot_be_made_is_trouble_until_it_can(rig: Rig) -> None:
    rig.open("x.tape")
    shutil.rmtree(rig.tmp_path)
    rig.tick()
    rig.tick(desks.RETRY_S)
    assert rig.row[Count.RECORDING] == 0
    rig.tmp_path.mkdir()
    rig.tick(2 * desks.RETRY_S)
    assert rig.row[Count.RECORDING] == 1
    assert (len(rig.said("trouble")), len(rig.said("recovered"))) == (1, 1)


@pytest.mark.parametrize("free", [0, 1 << 40])
def test_what_is_shed_to_the_very_end_stands_in_a_file(rig: Rig, free: int) -> None:
    """A small one: the floor is no reason to keep silent."""
    rig.open("out", min_free=MIB, rotation=FOLDER)
    rig.free = 0
    rig.tick()
    rig.take(5)
    rig.free = free
    rig.end()
    assert all_told(rig.tmp_path) == (0, Confessions(seen=5, shed=5))


def test_where_nothing_can_be_written_at_the_end_the_account_still_tells(rig: Rig) -> None:
    (rig.tmp_path / "gone").mkdir()
    rig.open("gone/x.tape")
    rig.take(1)
    shutil.rmtree(rig.tmp_path / "gone")
    rig.tick()
    rig.take(5)
    rig.end()
    assert tapes(rig.tmp_path) == []
    told = rig.desk.account()
    assert (told["kept"], told["confessions"]["seen"], told["confessions"]["shed"]) == (0, 6, 6)  # type: ignore[index]  # data


@pytest.mark.parametrize("rotation", [None, FOLDER])
def test_another_policy_is_another_file(rig: Rig, rotation: dict[str, int] | None) -> None:
    rig.open("out" if rotation else "x.tape", rotation=rotation)
    rig.take(3)
    rig.desk.follow(OTHER_POLICY.as_data())
    rig.take(2)
    rig.end()
    assert [told for told in rig.told if told["kind"] == "policy"] == [
        {"kind": "policy", "digest": OTHER_POLICY.digest, "message": ""}
    ]
    assert rig.said("trouble") == rig.said("recovered") == []
    found = []
    for path in tapes(rig.tmp_path):
        with open_capture(path) as capture:
            found.append((len(capture), capture.header.policy_digest, capture.header.number, capture.confessions.seen))
    assert found == [(3, Policy().digest, 1, 3), (2, OTHER_POLICY.digest, 1, 2)]
    assert all_told(rig.tmp_path) == (5, Confessions(seen=5))


def test_a_policy_that_drops_a_labels_header_is_refused_and_the_old_one_stays(rig: Rig) -> None:
    rig.open("x.tape", labels=["tenant=header:x-tenant"])
    rig.desk.follow(OTHER_POLICY.as_data())
    (told,) = rig.told
    assert (told["kind"], told["digest"]) == ("policy", Policy().digest)
    assert "the policy drops x-tenant" in told["message"]
    rig.end()
    assert len(tapes(rig.tmp_path)) == 1


def test_a_policy_that_comes_in_trouble_holds_when_that_is_over(rig: Rig) -> None:
    rig.open("out", min_free=MIB, rotation=FOLDER)
    rig.free = 0
    rig.tick()
    rig.desk.follow(OTHER_POLICY.as_data())
    rig.take(2)
    rig.free = 1 << 40
    rig.tick(desks.RETRY_S)
    rig.take(1)
    rig.end()
    with open_capture(tapes(rig.tmp_path)[-1]) as capture:
        assert (len(capture), capture.header.policy_digest) == (1, OTHER_POLICY.digest)
        assert capture.confessions == Confessions(seen=3, shed=2)


def test_a_policy_without_room_for_its_file_is_trouble_and_nothing_is_kept_under_the_old_one(rig: Rig) -> None:
    rig.open("x.tape")
    rig.tmp_path.chmod(0o500)
    shutil.move(rig.tmp_path, rig.tmp_path.with_suffix(".moved"))
    rig.desk.follow(OTHER_POLICY.as_data())
    rig.take(2)
    assert len(rig.said("trouble")) == 1
    assert rig.row[Count.SPOOL_SHED] == 2
    shutil.move(rig.tmp_path.with_suffix(".moved"), rig.tmp_path)
    rig.tmp_path.chmod(0o700)
    rig.tick(desks.RETRY_S)
    rig.end()
    with open_capture(tapes(rig.tmp_path)[-1]) as capture:
        assert capture.header.policy_digest == OTHER_POLICY.digest


def test_filters_that_need_the_answer_leave_out_and_say_so(rig: Rig) -> None:
    only = {"status": ["2xx"], "model": ["hou*"]}
    rig.open("x.tape", only=only, **{"except": {"status": ["204"], "model": []}})
    rig.take(3)
    rig.end()
    assert rig.row[Count.KEPT] == 3
    rig.open("y.tape", only={"status": ["5xx"], "model": []})
    rig.take(3)
    rig.end()
    with open_capture(rig.tmp_path / "y.tape") as capture:
        assert (len(capture), capture.confessions.filtered) == (0, 3)


def test_how_it_was_sampled_stands_in_the_header(rig: Rig) -> None:
    rig.open("x.tape", sampled_by="session", sampling_rate=0.5)
    rig.end()
    with open_capture(rig.tmp_path / "x.tape") as capture:
        assert capture.header.notes == {"sampled_by": "session"}
        assert capture.confessions.sampling_rate == 0.5
