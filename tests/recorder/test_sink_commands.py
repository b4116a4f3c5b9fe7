"""``shadowtape sink`` as an operator meets it: a real process, a real nginx that mirrors to it, real captures."""

import contextlib
import http.client
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from captures.exchange import RUN_HEADER, Exchange, Flags, header
from captures.inspection import facts
from captures.opening import open_capture
from captures.reader import Capture

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]
BODY = b'{"inputs":[{"name":"x","datatype":"FP64","shape":[1,2],"data":[1.5,%d]}]}'
PATH = "/v2/models/house/infer"
TYPE = "org.kubeflow.serving.inference."


def free_port() -> int:
    """Below the ports that the system hands out, so that nobody is given it before we open it."""
    for port in random.sample(range(20_000, 32_000), 100):
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise AssertionError("no free port")


class Sink:
    """A running sink and what it says on stderr."""

    def __init__(self, port: int, out: Path, *options: str) -> None:
        self.port, self.out, self.lines = port, out, list[str]()
        command = [
            sys.executable,
            str(ROOT / "shadowtape.py"),
            "sink",
            "--listen",
            f"127.0.0.1:{port}",
            "--out",
            str(out),
        ]
        self.process = subprocess.Popen([*command, *options], stderr=subprocess.PIPE, text=True, start_new_session=True)
        assert self.process.stderr is not None
        first = self.process.stderr.readline()
        assert first == f"recording copies sent to http://127.0.0.1:{port} into {out}\n", first

    def stop(self) -> str:
        """SIGTERM; what it said last."""
        self.process.send_signal(signal.SIGTERM)
        _, said = self.process.communicate(timeout=60)
        assert self.process.returncode == 0, said
        return said

    def kill(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGCONT)
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.communicate()


@contextmanager
def running(out: Path, *options: str, port: int = 0) -> Iterator[Sink]:
    sink = Sink(port or free_port(), out, *options)
    try:
        yield sink
    finally:
        sink.kill()


def send(port: int, n: int, headers: dict[str, str] | None = None, path: str = PATH, data: bytes = BODY) -> list[int]:
    """Over one connection; the statuses."""
    statuses = []
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        for number in range(n):
            body = data % number if b"%d" in data else data
            connection.request("POST", path, body, {"Content-Type": "application/json", **(headers or {})})
            response = connection.getresponse()
            response.read()
            statuses.append(response.status)
    return statuses


def exchanges(capture: Capture) -> list[Exchange]:
    return list(capture.exchanges())


def test_copies_become_a_capture_of_requests_without_answers(tmp_path: Path) -> None:
    with running(tmp_path / "x.tape") as sink:
        assert send(sink.port, 5, {"Host": "model.example-shadow"}) == [200] * 5
        assert send(sink.port, 2, {RUN_HEADER: "r"}) == [200] * 2
        assert "recorded 5 of 7 exchanges" in sink.stop()

    with open_capture(tmp_path / "x.tape") as capture:
        found = facts(capture)
        assert (found["exchanges"], found["responses"], found["replayable"], found["recorded_valid"]) == (5, 0, 5, 0)
        assert found["confessions"]["own"] == 2
        assert found["confessions"]["seen"] == 7
        assert found["sealed"]
        assert {(each.response, each.failure) for each in exchanges(capture)} == {(None, None)}
        assert not any(each.flags & Flags.RECORDED_VALID for each in exchanges(capture))
        assert {each.route for each in exchanges(capture)} == {"POST /v2/models/{model}/infer"}


def test_events_of_a_logger_become_pairs(tmp_path: Path) -> None:
    def event(side: str, identity: str, data: bytes, service: str = "house") -> None:
        headers = {
            "Ce-Id": identity,
            "Ce-Type": TYPE + side,
            "Ce-Specversion": "1.0",
            "Ce-Inferenceservicename": service,
        }
        assert send(sink.port, 1, headers, "/", data) == [200]

    with running(tmp_path / "x.tape") as sink:
        event("request", "1", b'{"instances":[[1.5,2.5]]}')
        event("response", "1", b'{"predictions":[0.5]}')
        event("response", "2", b'{"predictions":[0.5]}')
        event("request", "2", b'{"instances":[[3.5,2.5]]}')
        event("request", "3", b'{"instances":[[3.5,2.5]]}')
        event("response", "9", b'{"predictions":[0.5]}')
        assert "recorded 3 of 4 exchanges" in sink.stop()

    with open_capture(tmp_path / "x.tape") as capture:
        found = facts(capture)
        assert (found["exchanges"], found["responses"], found["status"]) == (3, 2, {"200": 2})
        assert found["confessions"]["seen"] == 4
        assert {each.route for each in exchanges(capture)} == {"POST /v1/models/{model}:predict"}


def test_mistakes_are_one_line(tmp_path: Path) -> None:
    for options, said in (
        (["--pair-within", "soon"], "--pair-within 'soon': write a duration"),
        (["--path-template", "score"], "--path-template 'score': not a path"),
        (["--listen", "nowhere"], "--listen 'nowhere': write HOST:PORT"),
    ):
        command = [sys.executable, str(ROOT / "shadowtape.py"), "sink", "--out", str(tmp_path / "x.tape"), *options]
        run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        assert (run.returncode, run.stderr.count("\n")) == (2, 1)
        assert said in run.stderr


class Model(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def model() -> Iterator[int]:
    class Server(ThreadingHTTPServer):
        daemon_threads = True

    server = Server(("127.0.0.1", 0), Model)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    thread.join()
    server.server_close()


@contextmanager
def nginx(folder: Path, model: int, sink: int) -> Iterator[int]:
    """The configuration of the docs, its three addresses replaced, and one worker."""
    binary = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
    if binary is None:
        pytest.skip("nginx is not installed")
    port = free_port()
    conf = (ROOT / "deploy/nginx/mirror.conf").read_text(encoding="utf-8")
    for said, real in (("127.0.0.1:8000", model), ("127.0.0.1:8080", sink), ("127.0.0.1:80;", port)):
        assert conf.count(said) == 1
        conf = conf.replace(said, f"127.0.0.1:{real}" + (";" if said.endswith(";") else ""))
    (folder / "mirror.conf").write_text(conf)
    temporary = "".join(
        f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    user = "user root;" if os.geteuid() == 0 else ""  # else its workers could not reach the folder
    (folder / "nginx.conf").write_text(
        f"{user} daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log;"
        f"events {{}} http {{ access_log off; {temporary} include {folder}/mirror.conf; }}"
    )
    with subprocess.Popen([binary, "-c", str(folder / "nginx.conf"), "-e", str(folder / "error.log")]) as process:
        try:
            for _ in range(100_000):
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                    break
                assert process.poll() is None, (folder / "error.log").read_text()
            yield port
        finally:
            process.terminate()


def test_nginx_mirrors_whole_requests_as_the_docs_configure_it(tmp_path: Path, model: int) -> None:
    large = b'{"inputs":[{"name":"x","datatype":"BYTES","shape":[1],"data":["' + b"x" * 600_000 + b'"]}]}'
    with running(tmp_path / "x.tape") as sink, nginx(tmp_path, model, sink.port) as port:
        assert send(port, 50, {"Host": "models.example", "X-Request-Id": "7"}, f"{PATH}?a=b") == [200] * 50
        assert send(port, 1, data=large) == [200]
        assert "recorded 51 of 51 exchanges" in sink.stop()

    with open_capture(tmp_path / "x.tape") as capture:
        found = facts(capture)
        assert (found["exchanges"], found["responses"], found["replayable"]) == (51, 0, 51)
        assert found["bytes"]["request_size"] == sum(len(BODY % number) for number in range(50)) + len(large)
        assert {each.request.target.partition("?")[0] for each in exchanges(capture)} == {PATH}
        assert all(header(each.request.headers, "host") for each in exchanges(capture))
        assert found["connections"] < 10


def test_a_sink_that_hangs_or_is_gone_holds_up_a_handful_of_requests(tmp_path: Path, model: int) -> None:
    """The connection that sends its next request is the one that would wait. Three copies may in ten seconds; a slow machine
    takes longer, so what is too much here is far less than all of them.
    """
    with running(tmp_path / "x.tape") as sink, nginx(tmp_path, model, sink.port) as port:
        os.killpg(sink.process.pid, signal.SIGSTOP)
        assert send(port, 300) == [200] * 300
        os.killpg(sink.process.pid, signal.SIGCONT)
        said = sink.stop()
        seen = int(said.partition(" of ")[2].partition(" ")[0])
        assert seen < 30, "nginx went on sending copies to a sink that does not answer"
        assert send(port, 300) == [200] * 300


def test_a_sink_that_comes_back_gets_copies_again(tmp_path: Path, model: int) -> None:
    port = free_port()
    with nginx(tmp_path, model, port) as front:
        assert send(front, 1) == [200]
        with running(tmp_path / "x.tape", port=port) as sink:
            assert send(front, 20) == [200] * 20
            assert "recorded 20 of 20" in sink.stop()


def test_the_sink_can_be_asked_in_json(tmp_path: Path) -> None:
    with running(tmp_path / "x.tape") as sink:
        send(sink.port, 1)
        sink.stop()
    command = [sys.executable, str(ROOT / "shadowtape.py"), "inspect", str(tmp_path / "x.tape"), "--json"]
    told = json.loads(subprocess.run(command, capture_output=True, check=True, timeout=60).stdout)

    assert (told["exchanges"], told["responses"], told["header"]["producer"].split()[-1]) == (1, 0, "sink")
