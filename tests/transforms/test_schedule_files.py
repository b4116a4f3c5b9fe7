from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from captures.errors import UsageError
from transforms.fresh_ids import FreshIds
from transforms.plan import schedule_of
from transforms.schedule import Schedule
from transforms.schedule_files import load, save
from transforms.testing import example_captures


def plan() -> Schedule:
    return schedule_of(example_captures(10))[0]


def test_a_schedule_comes_back_memory_mapped_and_the_same(tmp_path: Path) -> None:
    save(plan(), tmp_path / "plan")
    loaded = load(tmp_path / "plan")

    assert loaded.digest == plan().digest
    assert isinstance(loaded.at_ns, np.memmap)
    assert not loaded.at_ns.flags.writeable


def test_rewrites_are_code_and_must_be_the_ones_it_was_saved_with(tmp_path: Path) -> None:
    with_ids = replace(plan(), rewrites=(FreshIds(5),))
    save(with_ids, tmp_path / "plan")

    assert load(tmp_path / "plan", [FreshIds(5)]).digest == with_ids.digest
    with pytest.raises(UsageError, match=r"it needs: FreshIds\(key=5\)"):
        load(tmp_path / "plan")


def test_an_empty_schedule_can_be_kept(tmp_path: Path) -> None:
    save(Schedule.empty(), tmp_path / "plan")

    assert len(load(tmp_path / "plan")) == 0


def test_nothing_is_overwritten_and_nothing_is_left_half_written(tmp_path: Path) -> None:
    save(plan(), tmp_path / "plan")
    with pytest.raises(UsageError, match="never overwritten"):
        save(plan(), tmp_path / "plan")

    assert [path.name for path in tmp_path.iterdir()] == ["plan"]


def test_a_folder_that_is_no_schedule_says_so(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not a saved schedule"):
        load(tmp_path)
