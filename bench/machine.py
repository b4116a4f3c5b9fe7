"""What machine a measurement was made on, and one core of it for what is measured."""

import os
import platform
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def pin(core: int) -> None:
    """This process, and those it starts, on one core; where there is only one, nothing changes."""
    if hasattr(os, "sched_setaffinity") and len(cores()) > core:
        os.sched_setaffinity(0, {cores()[core]})


def cores() -> list[int]:
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [0]


def facts() -> dict[str, object]:
    model = "unknown"
    if (cpus := Path("/proc/cpuinfo")).exists():
        names = [
            line.partition(":")[2].strip() for line in cpus.read_text().splitlines() if line.startswith("model name")
        ]
        model = names[0] if names else model
    return {
        "cpu": model,
        "cores": len(cores()),
        "load": round(os.getloadavg()[0], 2),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "mitmproxy": version("mitmproxy"),
    }
