"""Every hunt, for some seconds, always with the same seed: what fails here was broken by a change. `make fuzz` takes new seeds.

What is found prints the line that repeats it.
"""

import re
from pathlib import Path

import pytest

from fuzz.run import HUNTS, hunt

SECONDS = 5.0
SEED = 20261124


@pytest.mark.slow
@pytest.mark.parametrize("name", HUNTS)
def test_nothing_is_found_in_a_short_hunt(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert hunt(name, SEED, SECONDS, None), "".join(capsys.readouterr())


@pytest.mark.parametrize("name", HUNTS)
def test_a_hunt_states_its_invariant_on_its_first_line(name: str) -> None:
    first = Path(f"{__file__}/../../fuzz/{name}.py").resolve().read_text(encoding="utf-8").splitlines()[0]

    assert re.match(r'"""[A-Z].{30,}', first)
