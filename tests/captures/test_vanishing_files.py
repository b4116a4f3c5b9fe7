"""Files that go, come or are replaced while a folder is opened or read."""

import os
from pathlib import Path

import pytest

from captures import opening
from captures.errors import CaptureError
from captures.opening import being_written, open_capture
from captures.reader import Capture
from captures.testing import capture_of, cut, example_exchange, write_example


def rotated(folder: Path, count: int = 3) -> list[Path]:
    return [
        write_example(
            folder / f"{number:06}.tape",
            [example_exchange(connection=number)],
            number=number,
            oldest=max(number - 2, 1),
            file_id=bytes((number,)) * 16,
        )
        for number in range(1, count + 1)
    ]


def connections(capture: Capture) -> list[int]:
    return [exchange.connection for exchange in capture.exchanges()]


def test_a_file_that_retention_removes_while_a_folder_is_opened_is_not_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = rotated(tmp_path, 4)
    before = paths[:3]  # when the folder was listed the first time
    paths[0].unlink()
    found = iter([before, paths[1:]])
    monkeypatch.setattr(opening, "_paths", lambda _: next(found))

    with open_capture(tmp_path) as capture:
        assert connections(capture) == [2, 3, 4]
        assert capture.damage == ()


def test_a_file_that_cannot_be_opened_does_not_take_the_others_with_it(tmp_path: Path) -> None:
    rotated(tmp_path)
    pipe = tmp_path / "pipe.tape"
    paths = [*opening._paths(str(tmp_path)), pipe]
    os.mkfifo(pipe)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(opening, "_paths", lambda _: paths)
        with open_capture(tmp_path) as capture:
            assert connections(capture) == [1, 2, 3]
            (damage,) = capture.damage
    assert (damage.file, damage.reason.partition(";")[0]) == (str(pipe), "not a regular file")


@pytest.mark.parametrize("replaced", [False, True])
def test_a_file_that_is_gone_or_replaced_is_damage_and_never_read_as_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, replaced: bool
) -> None:
    monkeypatch.setattr(opening, "OPEN_FILES", 1)
    paths = rotated(tmp_path)
    with open_capture(tmp_path) as capture:
        keep = paths[0].open("rb")  # so that its inode is not given to another file
        paths[0].unlink()
        if replaced:
            write_example(paths[0], [example_exchange(connection=9)], number=1, file_id=bytes((1,)) * 16)

        assert not capture.refresh()
        assert connections(capture) == [2, 3]
        assert capture.lost().tolist() == [True, False, False]
        reason = "another file has its name now" if replaced else "No such file"
        assert any(each.file == str(paths[0]) and reason in each.reason for each in capture.damage)
        keep.close()


def test_a_growing_file_that_is_gone_has_grown_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "OPEN_FILES", 1)
    rotated(tmp_path, 2)
    last = write_example(
        tmp_path / "000000.tape", [example_exchange()], seal=False, recording_id=b"of another run 1", kind="recording"
    )
    with open_capture(tmp_path) as capture:
        last.unlink()

        assert not capture.refresh()


def test_a_bad_file_that_is_replaced_by_a_good_one_is_taken_in(tmp_path: Path) -> None:
    paths = rotated(tmp_path, 1)
    other = tmp_path / "000002.tape"
    other.write_bytes(b"no capture")
    with open_capture(tmp_path) as capture:
        assert len(capture.damage) == 1
        good = write_example(tmp_path / "good.tape", [example_exchange(connection=2)], number=2, file_id=bytes(16))
        good.rename(other)

        assert capture.refresh()
        assert (connections(capture), capture.damage) == ([1, 2], ())
    assert paths[0].exists()


def test_what_grew_is_taken_in_though_a_refresh_failed(tmp_path: Path) -> None:
    first = write_example(tmp_path / "000001.tape", [example_exchange(connection=1)])
    whole = first.read_bytes()
    first.write_bytes(cut(whole, capture_of(whole).segments[0].offset))
    with open_capture(tmp_path) as capture:
        assert len(capture) == 0
        first.write_bytes(whole)
        run = write_example(tmp_path / "000002.tape", [], kind="run", file_id=bytes(16))

        with pytest.raises(CaptureError, match="they are not read as one"):
            capture.refresh()
        run.unlink()

        assert capture.refresh()
        assert connections(capture) == [1]


def test_nobody_writes_a_file_that_is_not_there(tmp_path: Path) -> None:
    assert not being_written(tmp_path / "none.tape")


def test_a_file_that_ends_while_a_folder_is_looked_at_has_all_it_has_before_the_next_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (path,) = rotated(tmp_path, 1)
    whole = path.read_bytes()
    path.write_bytes(cut(whole, capture_of(whole).segments[0].offset))
    with open_capture(tmp_path) as capture:
        list_files = opening._paths

        def rotating(where: str) -> list[Path]:
            path.write_bytes(whole)
            rotated(tmp_path / "next", 2)
            (tmp_path / "next/000002.tape").rename(tmp_path / "000002.tape")
            return list_files(where)

        (tmp_path / "next").mkdir()
        monkeypatch.setattr(opening, "_paths", rotating)
        assert capture.refresh()

        assert connections(capture) == [1, 2]
