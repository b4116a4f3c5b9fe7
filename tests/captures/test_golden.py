"""Files of every format version, read as they always were."""

import json
import runpy
from pathlib import Path

import pytest

from captures.inspection import check_segments
from captures.store import open_capture
from captures.testing import capture_bytes

GOLDEN = Path(__file__).parents[1] / "golden"
SCRIPT = runpy.run_path(str(GOLDEN / "regenerate.py"))


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.tape")), ids=lambda path: path.stem)
def test_a_golden_file_reads_as_its_sidecar_says(path: Path) -> None:
    with open_capture(path) as capture:
        found = SCRIPT["sidecar"](capture)
        for _ in check_segments(capture):
            pass

        assert found == json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        assert capture.damage == ()


@pytest.mark.parametrize("name", SCRIPT["FILES"])
def test_every_example_has_its_file_and_reads_the_same_when_written_today(name: str, tmp_path: Path) -> None:
    """Not byte for byte: another zstd may compress better. The digest covers compressed bytes."""
    flushes, arguments = SCRIPT["FILES"][name]
    (tmp_path / "today.tape").write_bytes(capture_bytes(flushes, **arguments))

    with open_capture(tmp_path / "today.tape") as today, open_capture(GOLDEN / f"{name}.tape") as golden:
        assert SCRIPT["sidecar"](today) | {"digest": ""} == SCRIPT["sidecar"](golden) | {"digest": ""}
