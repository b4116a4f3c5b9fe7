"""The client: sends the rows in their recorded order, at the given times, with secrets in them. Open loop: no row waits.

`request_for` is pure; `send` owns the sockets. By hand: ``python -m shadowtape_demo.traffic http://127.0.0.1:9000``.
"""

import argparse
import asyncio
import json
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import quote

import aiohttp
import numpy as np
import orjson
from numpy.typing import NDArray

from shadowtape_demo.arrivals import arrivals
from shadowtape_demo.housing import FEATURES, load
from shadowtape_demo.planted import Person, people

CONNECTIONS = 16
REMARKS = 0.05  # the share of requests with a free-text tensor beside the numbers; the models ignore it
PARAMETERS = 0.2  # the share with the customer's name and number among the request's parameters


@dataclass(frozen=True, slots=True)
class Outgoing:
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass(slots=True)
class Sent:
    """What the client saw: the truth that the capture is held against."""

    requests: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    worst_lateness_ms: float = 0.0


def requests_for(
    rows: NDArray[np.float64], count: int, everybody: Sequence[Person], rng: np.random.Generator
) -> list[Outgoing]:
    """``count`` requests from rows spread evenly over all of them, in recorded order."""
    chosen = np.linspace(0, len(rows) - 1, count).astype(np.int64)
    whose = rng.integers(0, len(everybody), count)
    draws = rng.random((count, 2))
    return [
        request_for(rows[row], everybody[who], number, remark=r < REMARKS, parameters=p < PARAMETERS)
        for number, (row, who, (r, p)) in enumerate(zip(chosen, whose, draws, strict=True))
    ]


def request_for(row: NDArray[np.float64], person: Person, number: int, *, remark: bool, parameters: bool) -> Outgoing:
    inputs: list[dict[str, object]] = [
        {"name": name, "shape": [1, 1], "datatype": "FP64", "data": [float(value)]}
        for name, value in zip(FEATURES, row, strict=True)
    ]
    if remark:
        inputs.append({"name": "Remark", "shape": [1, 1], "datatype": "BYTES", "data": [person.remark]})
    ids = (person.account, person.email, f"{person.email}/{number}")
    body: dict[str, object] = {"id": ids[number % 3], "inputs": inputs}
    if parameters:
        body["parameters"] = {"customer": person.name, "phone": person.phone, person.email: True}
    path = "/v2/models/housing/infer"
    if number % 4 == 0:
        path += f"?user={quote(person.email, safe='')}&token={quote(person.query_token, safe='')}"
    headers = {
        "Content-Type": "application/json",
        "Authorization": f"Bearer {person.jwt}",
        "Cookie": f"session={person.session}; theme=dark",
        "X-Api-Key": person.api_key,
        "X-User-Email": person.email,
    }
    # Half of the clients write non-ASCII names as \\uXXXX, as the standard library does; the others as UTF-8.
    return Outgoing(path, headers, orjson.dumps(body) if number % 2 else json.dumps(body).encode())


async def send(url: str, requests: Sequence[Outgoing], at_ns: NDArray[np.int64]) -> Sent:
    """Send request i at ``at_ns[i]`` after the start. ``url`` is the base: scheme, host and port."""
    sent = Sent()
    connector = aiohttp.TCPConnector(limit=CONNECTIONS)
    timeout = aiohttp.ClientTimeout(total=20)
    async with aiohttp.ClientSession(
        url, connector=connector, timeout=timeout, cookie_jar=aiohttp.DummyCookieJar()
    ) as session:

        async def one(outgoing: Outgoing) -> None:
            try:
                async with session.post(outgoing.path, data=outgoing.body, headers=outgoing.headers) as response:
                    await response.read()
                    sent.statuses[response.status] += 1
            except (aiohttp.ClientError, TimeoutError) as error:
                sent.failures[type(error).__name__] += 1

        start = time.monotonic_ns()
        async with asyncio.TaskGroup() as tasks:
            for outgoing, due in zip(requests, at_ns.tolist(), strict=True):
                late_ns = time.monotonic_ns() - start - due
                if late_ns < 0:
                    await asyncio.sleep(-late_ns / 1e9)
                sent.worst_lateness_ms = max(sent.worst_lateness_ms, (time.monotonic_ns() - start - due) / 1e6)
                sent.requests += 1
                tasks.create_task(one(outgoing))
        sent.seconds = (time.monotonic_ns() - start) / 1e9
    return sent


async def patient(url: str, seconds: float) -> None:
    """Wait until somebody answers at ``url``. Raises TimeoutError."""
    async with asyncio.timeout(seconds), aiohttp.ClientSession(url) as session:
        while True:
            try:
                async with session.get("/v2/health/ready") as response:
                    if response.status == 200:
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.1)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m shadowtape_demo.traffic", description=__doc__)
    parser.add_argument("url", help="where a housing model, or a recorder in front of it, listens")
    parser.add_argument("--requests", type=int, default=300, help="about how many")
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--seed", type=int, default=7)
    asked = parser.parse_args()
    rng = np.random.default_rng(asked.seed)
    everybody = people(rng)
    at_ns = arrivals(asked.seconds, asked.requests / asked.seconds, rng)
    requests = requests_for(load("analysis").features, len(at_ns), everybody, rng)
    try:
        asyncio.run(patient(asked.url, 60))
    except TimeoutError:
        print(f"nobody answers at {asked.url}", file=sys.stderr)
        return 1
    sent = asyncio.run(send(asked.url, requests, at_ns))
    print(f"sent {sent.requests} requests in {sent.seconds:.1f} s: {dict(sent.statuses)} {dict(sent.failures) or ''}")
    return 0 if not sent.failures else 1


if __name__ == "__main__":
    sys.exit(main())
