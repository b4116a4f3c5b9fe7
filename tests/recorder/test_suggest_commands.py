"""`policy suggest`: live through a relay in a process of its own, and from a recording. Nothing but the proposal is written."""

import asyncio
import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

import shadowtape
from captures.privacy.census import Census
from captures.privacy.policy import Policy
from recorder import suggest_commands
from recorder.admission import head_of
from recorder.suggest_commands import Watcher
from recorder.wire import WireExchange

Output = pytest.CaptureFixture[str]
ROOT = Path(shadowtape.__file__).parent


class _Model(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the standard library
        pass


@contextmanager
def model() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Model) as server:
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.slow
def test_live_traffic_is_relayed_watched_and_forgotten(tmp_path: Path) -> None:
    with model() as port:
        command = [sys.executable, str(ROOT / "shadowtape.py"), "policy", "suggest", "--for", "1h", "--json"]
        command += ["--listen", "127.0.0.1:0", "--upstream", f"http://127.0.0.1:{port}"]
        with subprocess.Popen(
            command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            assert process.stderr is not None
            assert process.stdout is not None
            line = process.stderr.readline()
            match = re.match(r"watching http://127\.0\.0\.1:(\d+) -> .* nothing is written\n", line)
            assert match, line
            client = HTTPConnection("127.0.0.1", int(match[1]))
            for number in range(60):
                body = json.dumps({"instances": [{"city": "rome", "user": f"u{number:05}x"}]})
                client.request("POST", "/v1/models/house:predict", body, {"X-Region": "eu"})
                assert client.getresponse().read() == b"{}"
            client.close()
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=60)

    assert (process.returncode, err) == (0, "")
    said = json.loads(out)
    assert said["exchanges"] == 60
    done = {(each.get("header") or each.get("path")): each["do"] for each in said["places"]}
    assert (done["x-region"], done["$.instances[*].city"], done["$.instances[*].user"]) == ("keep", "keep", "token")
    assert Policy.from_data(said["policy"]).rules
    assert "rome" not in out
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def har(tmp_path: Path) -> Path:
    entry = {
        "startedDateTime": "2026-11-24T10:00:00Z",
        "time": 5,
        "request": {
            "method": "GET",
            "url": "http://model.example/score?tier=gold",
            "httpVersion": "HTTP/1.1",
            "headers": [{"name": "X-Region", "value": "eu"}],
        },
        "response": {"status": 200, "statusText": "OK", "httpVersion": "HTTP/1.1", "headers": [], "content": {}},
    }
    path = tmp_path / "x.har"
    path.write_text(json.dumps({"log": {"version": "1.2", "creator": {"name": "x"}, "entries": [entry] * 60}}))
    return path


def test_a_recording_will_do_instead_of_live_traffic(har: Path, capsys: Output) -> None:
    assert shadowtape.run(["policy", "suggest", "--from", str(har)]) == 0
    text = capsys.readouterr().out
    assert "from 60 exchanges of a recording" in text
    assert {(rule.place, rule.where, rule.do) for rule in Policy.from_yaml(text).rules} == {
        ("header", "x-region", "keep"),
        ("query", "tier", "keep"),
    }
    assert "gold" not in text


def test_the_proposal_goes_into_a_new_file(har: Path, tmp_path: Path, capsys: Output) -> None:
    out = tmp_path / "policy.yaml"
    assert shadowtape.run(["policy", "suggest", "--from", str(har), "--out", str(out)]) == 0
    assert capsys.readouterr().out == f"{out}: 2 rules proposed from 60 exchanges; read it before you use it\n"
    assert len(Policy.from_yaml(out.read_text()).rules) == 2

    assert shadowtape.run(["policy", "suggest", "--from", str(har), "--out", str(out)]) == 2
    assert "it exists; name a new file" in capsys.readouterr().err
    assert shadowtape.run(["policy", "suggest", "--from", str(har), "--out", "/nowhere/x.yaml"]) == 2
    assert "cannot be written" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "name what to look at"),
        (["--from", "x", "--upstream", "http://a"], "name what to look at"),
        (["--upstream", "http://a", "--for", "60"], "with its unit"),
        (["--upstream", "a"], "--upstream"),
        (["--upstream", "http://a", "--listen", "x"], "HOST:PORT"),
    ],
)
def test_mistakes_are_said_in_one_line(arguments: list[str], said: str, capsys: Output) -> None:
    assert shadowtape.run(["policy", "suggest", *arguments]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1


def wire() -> WireExchange:
    return WireExchange(1, 1, head_of("GET", "/", (("x-region", "eu"),), "HTTP/1.1"))


def test_what_comes_too_fast_is_relayed_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suggest_commands, "_WAITING", 3)
    census = Census(b"k" * 32)
    watcher = Watcher(census)
    assert [watcher.offer(wire()) for _ in range(5)] == [True, True, True, False, False]
    assert watcher.unseen == 2
    assert watcher.look(60)
    assert census.exchanges == 3
    assert not watcher.look(60)


def test_what_cannot_be_read_is_passed_over() -> None:
    census = Census(b"k" * 32)
    watcher = Watcher(census)
    for each in (WireExchange(1, 1, b"nonsense"), wire()):
        watcher.offer(each)
    watcher.look(60)
    assert census.exchanges == 1


def test_watching_ends_with_its_time_and_drains() -> None:
    done: list[str] = []

    class FakeRelay:
        async def start(self) -> None:
            done.append("start")

        async def drain(self, timeout_s: float) -> None:
            done.append("drain")

        async def close(self) -> None:
            done.append("close")

    watcher = Watcher(Census(b"k" * 32))
    watcher.offer(wire())
    asyncio.run(suggest_commands._watch(FakeRelay(), watcher, 0.0))
    assert done == ["start", "drain", "close"]
    assert not watcher.look(60)
