"""How fast and how small are captures, beside what else such traffic is kept in? One core; medians of rounds.

``python -m bench.formats [--quick]``: prints ratios and writes bench-out/formats.json. Peers in the same rounds, on the same
exchanges: JSON Lines as one zstd -3 stream, a gzipped .gor, mitmproxy's flow file.
"""

import argparse
import gzip
import io
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import zstandard

from bench import machine, traffic
from captures.batches import batch_of
from captures.columns import Batch
from captures.confessions import Confessions
from captures.exchange import Exchange, Headers
from captures.exporters.gor import GorExporter
from captures.exporters.jsonl import JsonlExporter
from captures.header import Header
from captures.opening import open_capture
from captures.store import create_capture

OUT = Path("bench-out")
SPEED_COUNT, BATCH = 100_000, 500
FLOWS = 3_000
SIZE_SECONDS = 600
BIG_BYTES = 10 << 30
BIG_BODY = 16 << 10
GOALS = {"write": 150_000, "scan": 5_000_000, "read": 400_000}


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="bench.formats", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small and once: does the bench itself work?")
    parser.add_argument("--opened", metavar="FILE", help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.opened:
        print(json.dumps(_opened(options.opened)))
        return
    rounds = 1 if options.quick else 3
    scale = 0.02 if options.quick else 1.0
    facts = machine.facts()
    print("machine  " + ", ".join(f"{name} {value}" for name, value in facts.items()))
    machine.pin(1)
    with tempfile.TemporaryDirectory(prefix="shadowtape-bench-") as name:
        folder = Path(name)
        measured = {
            "machine": facts,
            "at": time.time(),
            "speed": speed(folder, rounds, int(SPEED_COUNT * scale)),
            "size": {
                str(rate): size(folder, rate, int(SIZE_SECONDS * (0.1 if options.quick else 1))) for rate in (50, 5)
            },
            "big": big(folder, int(BIG_BYTES * scale)),
        }
    OUT.mkdir(exist_ok=True)
    (OUT / "formats.json").write_text(json.dumps(measured, indent=2) + "\n")
    print(f"written  {OUT}/formats.json")


def speed(folder: Path, rounds: int, count: int) -> dict[str, Any]:
    """Exchanges a second: write (compress and checksum), scan the columns, read in full; and what the peers do."""
    some = list(traffic.exchanges(count, 1000))
    batches = [batch_of(some[start : start + BATCH]) for start in range(0, count, BATCH)]
    sent = statistics.mean(len(one.request.body) for one in some[:1000])
    got = statistics.mean(len(one.response.body) for one in some[:1000] if one.response)
    print(f"speed    {count:,} exchanges of {sent:.0f} B request and {got:.0f} B response")
    tape, lines, flows = folder / "speed.tape", folder / "speed.jsonl.zst", folder / "speed.mitm"
    contenders: dict[str, Callable[[], int]] = {
        "write": lambda: write_tape(tape, batches),
        "scan": lambda: scan_tape(tape),
        "read": lambda: read_tape(tape),
        "write jsonl.zst": lambda: write_lines(lines, some),
        "read jsonl.zst": lambda: read_lines(lines),
        "write mitm": lambda: write_flows(flows, some[:FLOWS]),
        "read mitm": lambda: read_flows(flows),
    }
    samples: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, contender in contenders.items():
            started = time.perf_counter()
            done = contender()
            samples[name].append(done / (time.perf_counter() - started))
    middle = {name: statistics.median(values) for name, values in samples.items()}
    beside = {"write": "write jsonl.zst", "read": "read jsonl.zst", "scan": "read jsonl.zst"}
    for name, rate in middle.items():
        ratio = f"  {rate / middle[beside[name]]:6.2f} x {beside[name]}" if name in beside else ""
        goal = f"  goal {GOALS[name]:,}: {'reached' if rate >= GOALS[name] else 'NOT reached'}" if name in GOALS else ""
        print(f"speed    {name:<16}{rate:12,.0f} exchanges/s{ratio}{goal}")
    return {"exchanges_per_s": samples, "request_bytes": sent, "response_bytes": got}


def size(folder: Path, rate: int, seconds: int) -> dict[str, Any]:
    """Bytes of the same traffic in every format, ours with one flush a second, and ours compacted."""
    some = list(traffic.exchanges(rate * seconds, rate))
    tape, compacted = folder / f"size-{rate}.tape", folder / f"compacted-{rate}.tape"
    with create_capture(tape, header()) as file:
        # Arrivals are Poisson: flush when the second changes, as a recorder does.
        pending: list[Exchange] = []
        second, seen = 0, 0
        for one in some:
            if (now := one.arrival_ns // 10**9) != second and pending:
                file.append(batch_of(pending))
                seen, pending, second = seen + len(pending), [], now
                file.flush(Confessions(seen=seen))
            pending.append(one)
        file.append(batch_of(pending))
        file.seal(Confessions(seen=len(some)))
    subprocess.run(
        [sys.executable, "-m", "shadowtape", "compact", str(tape), str(compacted)],
        check=True, capture_output=True, cwd=machine.ROOT,
    )  # fmt: skip
    lines, gor, flows = folder / f"{rate}.jsonl.zst", folder / f"{rate}.gor.gz", folder / f"{rate}.mitm"
    write_lines(lines, some)
    gor.write_bytes(gzip.compress(b"".join(GorExporter().write(header(), some, {})), mtime=0))
    few = some[:FLOWS]  # at some 250 a second; a flow file does not compress, so its size is linear
    write_flows(flows, few)
    bytes_ = {name: path.stat().st_size for name, path in (("tape", tape), ("compacted", compacted))}
    bytes_ |= {
        "jsonl.zst": lines.stat().st_size,
        # With everything a capture holds, as `shadowtape export` writes it: the same information, in JSON.
        "export.zst": len(zstandard.ZstdCompressor(level=3).compress(b"".join(exported(some)))),
        "gor.gz": gor.stat().st_size,
        "mitm": flows.stat().st_size * len(some) // len(few),
    }
    for mine in ("tape", "compacted"):
        ratios = "  ".join(
            f"{bytes_[mine] / bytes_[peer]:.3f} of {peer}" for peer in ("jsonl.zst", "export.zst", "gor.gz", "mitm")
        )
        print(f"size     {rate:>3}/s {mine:<10}{bytes_[mine] / len(some):7.1f} B an exchange  {ratios}")
    return {"exchanges": len(some), "bytes": bytes_}


def big(folder: Path, total: int) -> dict[str, Any]:
    """Open a big sealed capture and plan its first minute, in a fresh process: seconds and resident memory."""
    path = folder / "big.tape"
    random = np.random.default_rng(1)
    some = list(traffic.exchanges(500, 1000))
    span_ns = some[-1].arrival_ns + 1_000_000
    template = batch_of(some)
    written = 0
    with create_capture(path, header()) as file:
        while file.size < total:
            payload = random.bytes(BIG_BODY * 500)
            file.append(_grown(template, written // 500 * span_ns, payload))
            written += 500
        file.seal(Confessions(seen=written))
    here = path.stat().st_size
    runs = []
    for _ in range(3):
        command = [sys.executable, "-m", "bench.formats", "--opened", str(path)]
        runs.append(json.loads(subprocess.run(command, check=True, capture_output=True, cwd=machine.ROOT).stdout))
    middle = {name: statistics.median(run[name] for run in runs) for name in runs[0]}
    print(
        f"big      {here / 2**30:.1f} GiB, {written:,} exchanges: open and plan the first minute {middle['first_s']:.3f} s, "
        f"{middle['first_mib']:.0f} MiB; plan all of it {middle['whole_s']:.2f} s, {middle['whole_mib']:.0f} MiB"
    )
    path.unlink()
    return {"bytes": here, "exchanges": written, "runs": runs}


def _grown(template: Batch, later_ns: int, payload: bytes) -> Batch:
    """The batch, later, and every request with a body of BIG_BODY random bytes."""
    n = len(template)
    columns = dict(template.columns)
    columns["arrival_ns"] = columns["arrival_ns"] + later_ns
    columns["request_kept"] = columns["request_size"] = np.full(n, BIG_BODY)
    bodies = list(template.bodies)
    bodies[::2] = [payload[row * BIG_BODY : (row + 1) * BIG_BODY] for row in range(n)]
    sizes = np.array([len(body) for body in bodies], dtype=np.uint32)
    return Batch(columns, template.names, template.heads, template.chunk_at_ns + later_ns, sizes, bodies)


def _opened(path: str) -> dict[str, float]:
    from transforms.plan import schedule_of
    from transforms.schedule_files import Scratch

    started, before = time.perf_counter(), _resident_mib()
    with open_capture(path) as capture:
        schedule, _ = schedule_of([capture], within=(0, 60 * 10**9))
        found = {"first_s": time.perf_counter() - started, "first_mib": _peak_mib(), "before_mib": before}
        assert 0 < len(schedule) < len(capture) or len(schedule) == len(capture)
    started = time.perf_counter()
    with open_capture(path) as capture, Scratch() as scratch:
        schedule, _ = schedule_of([capture], allocate=scratch.array)
        assert len(schedule) == len(capture)
        return {**found, "whole_s": time.perf_counter() - started, "whole_mib": _peak_mib()}


def _resident_mib() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20


def _peak_mib() -> float:
    """Of this program: getrusage would tell the greatest of what it was forked from, too."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 2**10


def header() -> Header:
    return Header(
        file_id=os.urandom(16), recording_id=os.urandom(16), wall_ns=time.time_ns(), producer="shadowtape bench"
    )


def write_tape(path: Path, batches: Sequence[Batch]) -> int:
    path.unlink(missing_ok=True)
    count = sum(map(len, batches))
    with create_capture(path, header()) as file:
        for batch in batches:
            file.append(batch)
        file.seal(Confessions(seen=count))
    return count


def scan_tape(path: Path) -> int:
    with open_capture(path) as capture:
        return sum(len(batch) for _, batch in capture.parts())


def read_tape(path: Path) -> int:
    with open_capture(path) as capture:
        return sum(len(batch.bodies) // 2 for _, batch in capture.batches())


def write_lines(path: Path, some: Sequence[Exchange]) -> int:
    """What an engineer writes without a format: one JSON object an exchange, one zstd -3 stream."""
    with path.open("wb") as file, zstandard.ZstdCompressor(level=3).stream_writer(file) as out:
        for one in some:
            response = one.response
            assert response is not None
            out.write(
                orjson.dumps(
                    {
                        "arrival_ns": one.arrival_ns,
                        "request_ns": one.request.end_ns - one.arrival_ns,
                        "first_byte_ns": response.first_ns - one.arrival_ns,
                        "last_byte_ns": response.end_ns - one.arrival_ns,
                        "connection": one.connection,
                        "method": one.request.method,
                        "target": one.request.target,
                        "request_headers": dict(one.request.headers),
                        "request": one.request.body.decode(),
                        "status": response.status,
                        "response_headers": dict(response.headers),
                        "response": response.body.decode(),
                    }
                )
                + b"\n"
            )
    return len(some)


def read_lines(path: Path) -> int:
    with path.open("rb") as file, zstandard.ZstdDecompressor().stream_reader(file) as stream:
        return sum(1 for line in io.BufferedReader(stream) if orjson.loads(line))


def exported(some: Sequence[Exchange]) -> Iterator[bytes]:
    return JsonlExporter(exchanges=len(some)).write(header(), some, {})


def write_flows(path: Path, some: Sequence[Exchange]) -> int:
    from mitmproxy import http
    from mitmproxy.io import FlowWriter
    from mitmproxy.test import tflow

    with path.open("wb") as file:
        writer = FlowWriter(file)  # type: ignore[no-untyped-call]  # mitmproxy leaves it untyped
        for one in some:
            response = one.response
            assert response is not None
            flow = tflow.tflow(
                req=http.Request.make(
                    "POST", f"http://models.example{one.request.target}", one.request.body, _fields(one.request.headers)
                ),
                resp=http.Response.make(response.status, response.body, _fields(response.headers)),
            )
            writer.add(flow)
    return len(some)


def _fields(headers: Headers) -> list[tuple[bytes, bytes]]:
    return [(name.encode(), value.encode()) for name, value in headers]


def read_flows(path: Path) -> int:
    from mitmproxy.io import FlowReader

    with path.open("rb") as file:
        return sum(1 for _ in FlowReader(file).stream())


if __name__ == "__main__":
    main()
