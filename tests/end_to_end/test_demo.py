"""The demo itself, short: everything in it is real, so this is the whole path in one test."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from shadowtape_demo.processes import run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[subprocess.CompletedProcess[str], Path]:
    out = tmp_path_factory.mktemp("demo") / "demo-out"
    command = [sys.executable, "-m", "shadowtape", "demo", "--seconds", "6", "--out", str(out), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=220, env=dict(os.environ))
    return done, out


def test_the_demo_does_what_it_should(told: tuple[subprocess.CompletedProcess[str], Path]) -> None:
    done, out = told
    facts = json.loads(done.stdout)

    # 3 (INVALID): the machine was too busy for the replay's schedule, which the demo has to say rather than hide.
    assert done.returncode in {0, 3}, done.stderr[-3000:]
    assert facts["problems"] == []
    assert facts["verify"]["sound"] is True
    assert facts["verify"]["exchanges"] == facts["traffic"]["requests"] > 200
    assert facts["audit"] == {"clean": True, "findings": 0, "raw_findings": 0, "secrets": facts["traffic"]["secrets"]}
    assert facts["replay"]["rows"]["completed"] == facts["traffic"]["requests"]
    assert 0.85 < facts["shadow"]["shadow"]["agreement"]["value"] < 1
    assert facts["drift"]["shadow"]["pairs"] > 200
    assert facts["refused"]["code"] in {2, 6}
    assert (out / "shadow" / "report.html").exists()


def test_no_secret_is_left_anywhere_in_what_the_demo_wrote(told: tuple[subprocess.CompletedProcess[str], Path]) -> None:
    """Run folders and reports pass the same policy as the capture. The list of what was planted is the exception."""
    done, out = told
    secrets = (out / "planted.txt").read_bytes().splitlines()
    files = [path for path in out.rglob("*") if path.is_file() and path.name != "planted.txt"]
    written = {path.relative_to(out): path.read_bytes() for path in files}
    written[Path("stdout")], written[Path("stderr")] = done.stdout.encode(), done.stderr.encode()

    found = [str(name) for name, data in written.items() if any(secret in data for secret in secrets)]

    assert len(written) > 5
    assert found == []


@pytest.mark.parametrize(
    "tape", ["drifted.tape", "replay/attempts.tape", "shadow/attempts.tape", "shadow-drifted/attempts.tape"]
)
def test_what_was_derived_from_the_capture_is_as_clean(
    told: tuple[subprocess.CompletedProcess[str], Path], tape: str
) -> None:
    _, out = told

    audited = run(["audit", str(out / tape), "--known", str(out / "planted.txt")])

    assert audited.code == 0, audited.complaint
    assert audited.result["clean"] is True
