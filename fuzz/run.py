"""Longer hunts than the tests have time for: ``python -m fuzz.run [--seconds 60] [--only NAME] [--seed N --case K]``.

Each hunt states its invariant in prose on line 1. Cases are numbered and made from (seed, number), so what is found can be
repeated by the line that is printed. Exit 1 when something was found.
"""

import argparse
import importlib
import random
import time
import traceback
import warnings
from pathlib import Path

# A hunt is a module here with a function `case`: a new file is a new hunt.
HUNTS = tuple(
    sorted(
        path.stem for path in Path(__file__).parent.glob("*.py") if "\ndef case(" in path.read_text(encoding="utf-8")
    )
)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="fuzz.run", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="for all hunts together")
    parser.add_argument("--seed", type=int, default=None, help="default: a new one, printed")
    parser.add_argument("--only", choices=HUNTS, default=None)
    parser.add_argument("--case", type=int, default=None, help="just this one")
    options = parser.parse_args(argv)
    seed = random.SystemRandom().randrange(10**6) if options.seed is None else options.seed
    hunts = [options.only] if options.only else HUNTS
    warnings.simplefilter("error")  # a warning about a hostile body is a finding, as in the tests
    found = [hunt(name, seed, options.seconds / len(hunts), options.case) for name in hunts]
    return int(not all(found))


def hunt(name: str, seed: int, seconds: float, only: int | None) -> bool:
    """True when nothing was found."""
    module = importlib.import_module(f"fuzz.{name}")
    number, until = only or 0, time.monotonic() + seconds
    while True:
        try:
            module.case(random.Random(f"{seed}/{name}/{number}"))
        except Exception:  # noqa: BLE001 - whatever it is, it is the finding
            traceback.print_exc()
            print(f"found    {name}: repeat with python -m fuzz.run --only {name} --seed {seed} --case {number}")
            return False
        number += 1
        if only is not None or time.monotonic() > until:
            break
    print(f"nothing  {name}: {number - (only or 0):,} cases, seed {seed}. {(module.__doc__ or '').splitlines()[0]}")
    return True


if __name__ == "__main__":
    raise SystemExit(main())
