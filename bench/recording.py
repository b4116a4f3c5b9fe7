"""How fast does the recorder relay and record, what does it add, and how fast are its parts? Against mitmdump in the same minutes.

The server and wrk share one core. The recorder may use both, as it would: its relay on one, its spool on what the other has left;
mitmdump, which is one process, has a core to itself. Every round measures every contender once; medians of the rounds are compared.
"""

import socket
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bench import peers
from bench.shadowtape import shadowtape
from bench.traffic import exchanges
from captures.batches import batch_of
from captures.confessions import Confessions
from captures.exchange import Exchange
from captures.header import Header
from captures.privacy.policy import Policy
from captures.privacy.pseudonymise import Pseudonymiser
from captures.store import create_capture

SERVER_CORE, SUBJECT_CORE = 0, 1
STEADY_RPS = 500
_BATCH = 256


def throughput(folder: Path, rounds: int, seconds: float) -> dict[str, Any]:
    """wrk through our recorder, through stock mitmdump, and past both."""
    tape = folder / "bench.tape"
    with ExitStack() as stack:
        upstream = stack.enter_context(peers.nginx(folder, SERVER_CORE))
        ports = {"direct": upstream, "record": stack.enter_context(peers.recorder(upstream, folder, None, tape))}
        if peers.missing("mitmdump"):
            print("skipped  mitmdump: not installed")
        else:
            ports["mitmdump"] = stack.enter_context(peers.mitmdump(upstream, folder, SUBJECT_CORE))
            flows = folder / "flows.mitm"
            ports["mitmdump -w"] = stack.enter_context(peers.mitmdump(upstream, folder, SUBJECT_CORE, "-w", str(flows)))
        samples: dict[str, list[float]] = {name: [] for name in ports}
        tails: dict[str, list[float]] = {name: [] for name in ports}
        for _ in range(rounds):
            for name, port in ports.items():
                rate, latency = peers.wrk(port, seconds, folder, SERVER_CORE)
                samples[name].append(rate)
                tails[name].append(latency.get("p99", float("nan")))
    verified, inspected = (shadowtape(command, str(tape)) for command in ("verify", "inspect"))
    middle = {name: statistics.median(values) for name, values in samples.items()}
    ours = middle["record"]
    for name, rate in middle.items():
        beside = f"  record is {ours / rate:6.2f} x" if name != "record" else ""
        print(f"recorder  {name:<12} {rate:9,.0f} req/s  p99 {statistics.median(tails[name]):7.2f} ms{beside}")
    said = inspected["confessions"]
    sound = "sound" if verified.get("sound") else "NOT SOUND"
    print(f"recorder  captured {verified.get('exchanges', 0):,} exchanges, {said['shed']:,} shed, {sound}")
    return {"requests_per_s": samples, "p99_ms": tails, "captured": verified.get("exchanges", 0), "confessions": said}


def added_latency(folder: Path, rounds: int, seconds: float) -> dict[str, Any]:
    """The same calls, one every 2 ms, directly and through the recorder, in turns."""
    found: dict[str, list[dict[str, float]]] = {"direct": [], "record": []}
    with ExitStack() as stack:
        upstream = stack.enter_context(peers.nginx(folder, SERVER_CORE))
        through = stack.enter_context(peers.recorder(upstream, folder, SUBJECT_CORE, folder / "steady.tape"))
        for _ in range(rounds):
            for name, port in (("direct", upstream), ("record", through)):
                found[name].append(_paced(port, STEADY_RPS, seconds))
    added = {
        stat: statistics.median(
            ours[stat] - direct[stat] for ours, direct in zip(found["record"], found["direct"], strict=True)
        )
        for stat in ("p50_ms", "p99_ms")
    }
    print(f"latency   added at {STEADY_RPS} req/s: median {added['p50_ms']:.3f} ms, p99 {added['p99_ms']:.3f} ms")
    return {"added": added, **found}


def _paced(port: int, rps: int, seconds: float) -> dict[str, float]:
    """Calls at absolute times over one connection, each measured from when it was sent; a core of its own would be better."""
    head = f"POST {peers.PATH} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(peers.BODY)}\r\n\r\n"
    call = (head + peers.BODY).encode()
    took = []
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        begin = time.perf_counter()
        for number in range(int(rps * seconds)):
            if (wait := begin + number / rps - time.perf_counter()) > 0:
                time.sleep(wait)
            sent = time.perf_counter()
            sock.sendall(call)
            answer = b""
            while not answer.endswith(b"}]}"):
                answer += sock.recv(65536)
            took.append((time.perf_counter() - sent) * 1e3)
    took.sort()
    return {"p50_ms": took[len(took) // 2], "p99_ms": took[int(len(took) * 0.99)], "max_ms": took[-1], "n": len(took)}


def spool(folder: Path, rounds: int, seconds: float) -> dict[str, Any]:
    """Pseudonymise and compress, on one core, as the spool does: batches, a flush a second of traffic at 8,000 a second."""
    raw = list(exchanges(int(8000 * seconds), 8000))
    rates = []
    for number in range(rounds):
        started = time.perf_counter()
        _written(folder / f"spool-{number}.tape", raw)
        rates.append(len(raw) / (time.perf_counter() - started))
    print(f"spool     pseudonymise and compress: {statistics.median(rates):,.0f} exchanges/s on one core")
    return {"exchanges_per_s": rates}


def _written(path: Path, raw: Sequence[Exchange]) -> None:
    policy = Policy()
    apply = Pseudonymiser(policy, b"k" * 32).apply
    header = Header(
        file_id=b"f" * 16,
        recording_id=b"r" * 16,
        kind="recording",
        wall_ns=0,
        producer="bench",
        policy=policy.as_data(),
        policy_digest=policy.digest,
        key_id="",
    )
    with create_capture(path, header) as tape:
        for start in range(0, len(raw), _BATCH):
            tape.append(batch_of(apply(raw[start : start + _BATCH])))
            if start % 8192 < _BATCH:
                tape.flush(Confessions(seen=start + _BATCH))
        tape.seal(Confessions(seen=len(raw)))


def sink(folder: Path, rounds: int, seconds: float) -> dict[str, Any]:
    """wrk against the sink: the copies a mirror would send. Its worker has one core, its spool the other's rest."""
    tape = folder / "sink.tape"
    with peers.sink(folder, None, tape) as port:
        rates = [peers.wrk(port, seconds, folder, SERVER_CORE)[0] for _ in range(rounds)]
    said = shadowtape("inspect", str(tape))
    print(
        f"sink      {statistics.median(rates):,.0f} copies/s answered; "
        f"{said['exchanges']:,} captured, {said['confessions']['shed']:,} shed"
    )
    return {"requests_per_s": rates, "captured": said["exchanges"], "confessions": said["confessions"]}


MEASURES: dict[str, Callable[[Path, int, float], dict[str, Any]]] = {
    "recorder": throughput,
    "latency": added_latency,
    "spool": spool,
    "sink": sink,
}
