"""The real peer: KServe's own Python model server is recorded, replayed and shadowed, with V1 and V2 traffic, on loopback."""

import http.client
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from shadowtape_demo.processes import run, start_recorder, stop

pytestmark = [pytest.mark.peer, pytest.mark.slow, pytest.mark.timeout(240)]
ROWS = [[1.5 + i % 7, 3.0 * (i % 11), 4.0 + i % 5] for i in range(40)]
JSON = {"Content-Type": "application/json", "Authorization": "Bearer tok-9f8e7d6c5b4a"}


@pytest.fixture(scope="module")
def kserve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = int(listener.getsockname()[1])
    script = Path(__file__).with_name("kserve_server.py")
    options = ["--http_port", str(port), "--enable_grpc", "false", "--enable_latency_logging", "false"]
    log = tmp_path_factory.mktemp("kserve") / "server.log"
    with log.open("w") as output:
        process = subprocess.Popen([sys.executable, str(script), *options], stdout=output, stderr=output, text=True)
    deadline = time.monotonic() + 90
    while not ready(port):
        assert process.poll() is None, log.read_text()[-2000:]
        assert time.monotonic() < deadline, log.read_text()[-2000:]
        time.sleep(0.1)  # a real server in a process of its own: there is nothing to wait on but its health
    yield port
    stop(process)


def ready(port: int) -> bool:
    try:
        return call(port, "GET", "/v2/health/ready")[0] == 200
    except OSError:
        return False


def call(port: int, method: str, path: str, body: object = None) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request(method, path, None if body is None else json.dumps(body), JSON)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def requests() -> Iterator[tuple[str, object]]:
    """V1 rows, V2 tensors flat and nested, with and without an id (KServe then makes one up)."""
    for number, row in enumerate(ROWS):
        tensor = {"name": "x", "shape": [1, 3], "datatype": "FP64", "data": [row] if number % 3 else row}
        named = {"id": f"order-{number}"} if number % 2 else {}
        yield "/v2/models/housing/infer", {**named, "inputs": [tensor]}
        yield "/v1/models/housing:predict", {"instances": [row, ROWS[0]]}


@pytest.fixture(scope="module")
def recorded(kserve: int, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recorded")
    recorder, url, _ = start_recorder(f"http://127.0.0.1:{kserve}", folder / "kserve.tape", folder / "record.log")
    port = int(url.rpartition(":")[2])
    try:
        answers = [call(port, "POST", path, body) for path, body in requests()]
        direct = [call(kserve, "POST", path, body) for path, body in requests()]
        health = call(port, "GET", "/v2/health/ready")
    finally:
        code = stop(recorder)

    assert (code, health[0]) == (0, 200)
    assert [status for status, _ in answers] == [200] * len(answers)
    assert [outputs(body) for _, body in answers] == [outputs(body) for _, body in direct]
    return folder / "kserve.tape"


def outputs(body: bytes) -> object:
    answer = json.loads(body)
    return answer.get("outputs") or answer["predictions"]


def test_the_capture_is_sound_and_whole(recorded: Path) -> None:
    verified = run(["verify", str(recorded)])
    inspected = run(["inspect", str(recorded)]).result

    assert verified.code == 0, verified.complaint
    assert verified.result["sound"] is True
    assert verified.result["exchanges"] == 2 * len(ROWS) + 1
    counts = {(route["codec"], route["model"]): route["count"] for route in inspected["routes"]}
    assert counts[("oip-v2", "housing")] == counts[("kserve-v1", "housing")] == len(ROWS)
    assert inspected["replayable"] >= 2 * len(ROWS)
    assert inspected["confessions"]["shed"] == inspected["confessions"]["unparsed"] == 0


def test_neither_token_nor_id_is_in_the_capture(recorded: Path, tmp_path: Path) -> None:
    (tmp_path / "known.txt").write_text("tok-9f8e7d6c5b4a\norder-17\n")

    audited = run(["audit", str(recorded), "--known", str(tmp_path / "known.txt")])

    assert audited.code == 0, audited.complaint
    assert audited.result["clean"] is True


def test_kserve_answers_the_replay_as_it_answered_then(recorded: Path, kserve: int, tmp_path: Path) -> None:
    target = f"http://127.0.0.1:{kserve}"

    done = run(
        # allow-source: a replay against the very server that was recorded has to be meant
        ["replay", str(recorded), "--target", target, "--allow-source", "--speed", "5", "--out", str(tmp_path / "run")]
    )

    # INVALID (3) is about this machine's load, not about KServe; the counts hold either way.
    assert done.code in {0, 3}, done.complaint
    assert done.result["rows"]["completed"] == done.result["rows"]["scheduled"] == 2 * len(ROWS)
    assert done.result["status"] == {"200": 2 * len(ROWS)}
    assert (tmp_path / "run" / "report.html").stat().st_size > 1000


def test_kserve_agrees_with_its_own_recorded_answers(recorded: Path, kserve: int, tmp_path: Path) -> None:
    target = f"http://127.0.0.1:{kserve}"

    done = run(
        [
            *("shadow", str(recorded), "--candidate", target, "--allow-source", "--recorded"),
            *("--require", "agreement >= 90%", "--out", str(tmp_path / "run")),
        ]
    )

    assert done.code == 0, (done.complaint, done.result.get("why"))
    assert done.result["verdict"] == "PASS"
    assert done.result["shadow"]["pairs"] == 2 * len(ROWS)
    assert done.result["shadow"]["agreement"]["value"] == 1.0
    assert done.result["shadow"]["flips"] == 0
