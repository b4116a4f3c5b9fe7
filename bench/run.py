"""How fast are the recorder and the replayer, against their peers in the same minutes on the same cores?

``python -m bench.run [--quick]``: prints ratios and writes bench-out/*.json. Runs are paired: every round measures every
contender once, and the medians of the rounds are compared, because a shared machine drifts. The server and wrk get one core,
the program under test the other. What is not installed is skipped with a line that says so.
"""

import argparse
import json
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from bench import machine, peers, recording
from bench.shadowtape import shadowtape
from bench.tapes import write_steady

OUT = Path("bench-out")
SERVER_CORE, SUBJECT_CORE = 0, 1
RATES = (250, 500, 1000, 2000, 3000, 4000, 6000, 8000, 12000)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="bench.run", description=__doc__)
    parser.add_argument("--only", help="one of the measures, by name")
    parser.add_argument("--quick", action="store_true", help="one short round of each: does the bench itself work?")
    options = parser.parse_args(argv)
    rounds, seconds = (1, 1.0) if options.quick else (3, 4.0)
    OUT.mkdir(exist_ok=True)
    about = machine.facts()
    print("machine  " + ", ".join(f"{name} {value}" for name, value in about.items()))
    if absent := peers.missing("nginx", "wrk"):
        print(f"skipped  everything: {' and '.join(absent)} not installed")
        return
    for name, measure in {**recording.MEASURES, "replayer": replayer}.items():
        if options.only not in (None, name):
            continue
        with tempfile.TemporaryDirectory(prefix="shadowtape-bench-") as folder:
            try:
                measured = measure(Path(folder), rounds, seconds)
            except (RuntimeError, subprocess.CalledProcessError) as error:
                print(f"skipped  {name}: {error}")
                continue
        (OUT / f"{name}.json").write_text(
            json.dumps({"machine": about, "at": time.time(), **measured}, indent=2) + "\n"
        )
    print(f"written  {OUT}/")


def replayer(folder: Path, rounds: int, seconds: float) -> dict[str, Any]:
    """Ever higher steady rates until the generator says INVALID; then wrk, flat out, from the same core."""
    ladder: list[dict[str, Any]] = []
    best = 0
    with peers.nginx(folder, SERVER_CORE) as port:
        for rate in RATES:
            tape = folder / f"{rate}.tape"
            write_steady(tape, rate, seconds)
            arguments = [str(tape), "--target", f"http://127.0.0.1:{port}", "--require", "latency.p99 < 100ms"]
            result = shadowtape("replay", *arguments, "--out", str(folder / f"run-{rate}"), core=SUBJECT_CORE)
            verdict, done = result.get("verdict"), result.get("achieved_rps") or 0
            lateness = result.get("lateness_ms") or {}
            ladder.append(
                {
                    "asked_rps": rate,
                    "achieved_rps": done,
                    "verdict": verdict,
                    "lateness_ms": lateness,
                    "why": result.get("why"),
                }
            )
            late = "  ".join(
                f"{stat} {lateness[stat]:.2f}" for stat in ("p50", "p99", "max") if lateness.get(stat) is not None
            )
            print(f"replayer  {rate:6,}/s asked  {done:9,.0f}/s done  lateness ms {late}  {verdict}")
            if verdict in ("INVALID", None):
                break
            best = rate
        flat_out = [peers.wrk(port, seconds, folder, SUBJECT_CORE)[0] for _ in range(rounds)]
    top = statistics.median(flat_out)
    print(
        f"replayer  keeps its schedule up to {best:,}/s; wrk flat out from the same core: {top:,.0f} req/s ({best / top:.1%})"
    )
    return {"ladder": ladder, "best_rps": best, "wrk_rps": flat_out}


if __name__ == "__main__":
    main()
