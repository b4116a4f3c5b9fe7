"""The rail that keeps a replay off the server it was recorded from holds for what is derived from a recording, too."""

from pathlib import Path

import pytest

import shadowtape
from captures.header import source_digest
from captures.testing import example_exchanges, example_header, write_example

PORT = 40_001


@pytest.mark.parametrize("derive", [False, True])
def test_a_capture_is_not_sent_back_to_its_source(
    derive: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    digest = source_digest(example_header().recording_id, "127.0.0.1", PORT)
    recorded = write_example(tmp_path / "a.tape", example_exchanges(5, 1_000_000), source_digests=(digest,))
    derived = tmp_path / "b.tape"
    if derive:
        assert shadowtape.run(["transform", str(recorded), str(derived), "-t", "time_scale:factor=2"]) == 0
        capsys.readouterr()

    code = shadowtape.run(["replay", str(derived if derive else recorded), "--target", f"http://localhost:{PORT}"])

    assert code == 6
    assert "is where the capture was recorded" in capsys.readouterr().err
