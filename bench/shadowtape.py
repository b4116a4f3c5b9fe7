"""Our own commands, as a user runs them."""

import json
import subprocess
import sys
from typing import Any

from bench import machine, peers


def shadowtape(command: str, *arguments: str, core: int | None = None) -> dict[str, Any]:
    program = [sys.executable, "-m", "shadowtape", command, *arguments, "--json"]
    done = subprocess.run(
        peers.pinned(core, program), capture_output=True, text=True, check=False, cwd=machine.ROOT, timeout=120
    )
    if not done.stdout.strip():
        raise RuntimeError(f"shadowtape {command}: {done.stderr.strip().splitlines()[-1:]}")
    result: dict[str, Any] = json.loads(done.stdout)
    return result
