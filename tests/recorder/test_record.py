"""``shadowtape record`` and ``mitmdump -s`` as an operator meets them: real processes, real signals, real files."""

import base64
import http.client
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from captures.exchange import RUN_HEADER, FailureKind
from captures.header import source_digest
from captures.opening import open_capture
from recorder.record_testing import (
    ROOT,
    ROUTE,
    Model,
    Recorder,
    free_port,
    kept,
    recording,
    refused,
    send,
    serving,
    until,
)

pytestmark = pytest.mark.slow


@pytest.fixture
def upstream() -> Iterator[int]:
    with serving() as port:
        yield port


def test_the_capture_holds_exactly_what_was_sent_and_none_of_the_secrets(upstream: int, tmp_path: Path) -> None:
    secrets = ["s3cr3t-token-9471", "jane.doe@example.com", "4929-1234-5678-9012", "vault-pass-xyzzy"]
    with recording(upstream, tmp_path / "x.tape") as recorder:
        clients = [threading.Thread(target=send, args=(recorder.port, 75)) for _ in range(4)]
        for client in clients:
            client.start()
        for client in clients:
            client.join()
        send(recorder.port, headers={RUN_HEADER: "run-1"})
        planted = {"Authorization": f"Bearer {secrets[0]}", "Cookie": f"sid={secrets[3]}", "X-User": secrets[1]}
        with closing(http.client.HTTPConnection("127.0.0.1", recorder.port, timeout=30)) as connection:
            body = f'{{"inputs":[{{"name":"t","datatype":"BYTES","shape":[1],"data":["{secrets[1]} {secrets[2]}"]}}]}}'
            connection.request("POST", f"{ROUTE}?q={secrets[2]}", body, planted)
            connection.getresponse().read()
            connection.request("POST", f"/users/{secrets[1]}", b"note=" + secrets[3].encode(), planted)
            connection.getresponse().read()
        assert recorder.stop() == 0
        closing_line = recorder.says("^recorded ")
    assert closing_line.startswith(
        f"recorded 302 of 303 exchanges into {tmp_path / 'x.tape'} (shed 0, sampled out 0, own 1"
    )
    with open_capture(tmp_path / "x.tape") as capture:
        assert (len(capture), capture.sealed, len(capture.damage)) == (302, True, 0)
        assert capture.confessions.seen == 303
        exchanges = list(capture.exchanges())
        columns = capture.columns()
    assert sorted({exchange.connection for exchange in exchanges}) == [1, 2, 3, 4, 6]
    assert [int(n) for n in (columns.columns["status"] == 200).nonzero()[0]] == list(range(302))
    shown = repr(exchanges).lower()
    for secret in secrets:
        assert secret not in shown
        assert secret.encode().hex() not in shown
        assert base64.b64encode(secret.encode()).decode().rstrip("=").lower() not in shown


def test_a_killed_relay_leaves_a_sealed_capture_of_all_but_the_last_moment(upstream: int, tmp_path: Path) -> None:
    with recording(upstream, tmp_path / "x.tape") as recorder:
        send(recorder.port, 50)
        until(lambda: kept(tmp_path / "x.tape") == 50)
        send(recorder.port, 10)
        assert recorder.stop(signal.SIGKILL) == -signal.SIGKILL

        def sealed() -> bool:
            with open_capture(tmp_path / "x.tape") as capture:
                return capture.sealed

        until(sealed)
    assert 50 <= kept(tmp_path / "x.tape") <= 60


def test_a_killed_group_leaves_a_readable_capture(upstream: int, tmp_path: Path) -> None:
    with recording(upstream, tmp_path / "x.tape") as recorder:
        send(recorder.port, 20)
        until(lambda: kept(tmp_path / "x.tape") == 20)
        send(recorder.port, 5)
        spool = recorder.spool()
        os.kill(spool, signal.SIGSTOP)
        recorder.process.kill()
        os.kill(spool, signal.SIGKILL)
        recorder.stop()
    with open_capture(tmp_path / "x.tape") as capture:
        assert 20 <= len(capture) <= 25
        assert (capture.sealed, len(capture.damage)) == (False, 0)


def test_a_required_recording_that_fails_stops_the_relay(upstream: int, tmp_path: Path) -> None:
    with recording(upstream, tmp_path / "x.tape", "--require-recording") as recorder:
        assert send(recorder.port) == [200]
        os.kill(recorder.spool(), signal.SIGKILL)
        recorder.says("--require-recording: relaying stops")
        assert recorder.process.wait(60) == 1
        with pytest.raises(ConnectionRefusedError):
            send(recorder.port)


def test_what_is_in_flight_at_sigterm_is_finished_and_kept(upstream: int, tmp_path: Path) -> None:
    with recording(upstream, tmp_path / "x.tape") as recorder:
        got: list[int] = []
        client = threading.Thread(target=lambda: got.extend(send(recorder.port, path="/held")))
        client.start()
        assert Model.reached.wait(30)
        recorder.process.send_signal(signal.SIGTERM)
        until(lambda: refused(recorder.port))
        Model.held.set()
        client.join()
        assert got == [200]
        assert recorder.process.wait(60) == 0
    with open_capture(tmp_path / "x.tape") as capture:
        (exchange,) = capture.exchanges()
        assert capture.sealed
        assert exchange.failure is None


def cut_off(port: int) -> None:
    with suppress(OSError, http.client.HTTPException):
        send(port, path="/held")


def test_a_second_interrupt_leaves_at_once_with_a_readable_capture(upstream: int, tmp_path: Path) -> None:
    with recording(upstream, tmp_path / "x.tape") as recorder:
        send(recorder.port, 3)
        client = threading.Thread(target=cut_off, args=(recorder.port,))
        client.start()
        assert Model.reached.wait(30)
        recorder.process.send_signal(signal.SIGINT)
        until(lambda: refused(recorder.port))
        recorder.insist(signal.SIGINT)
        assert recorder.stop(signal.SIGINT) == 130
        Model.held.set()
        client.join()
        until(lambda: kept(tmp_path / "x.tape") >= 3)


def test_for_ends_the_recording_and_not_the_relay(upstream: int, tmp_path: Path) -> None:
    with recording(upstream, tmp_path / "x.tape", "--for", "1s") as recorder:
        recorder.says("^--for is over, relaying goes on: recorded ")
        assert send(recorder.port, 3) == [200] * 3
        assert recorder.stop() == 0
        assert not [line for line in recorder.lines if line.startswith("recorded ")]
    with open_capture(tmp_path / "x.tape") as capture:
        assert capture.sealed
        assert capture.confessions.seen == len(capture)


def test_an_upstream_that_is_down_is_a_502_for_the_client_and_a_failure_on_the_tape(tmp_path: Path) -> None:
    with recording(free_port(), tmp_path / "x.tape") as recorder:
        assert send(recorder.port) == [502]
        recorder.stop()
    with open_capture(tmp_path / "x.tape") as capture:
        (exchange,) = capture.exchanges()
        assert exchange.response is None
        assert exchange.failure is not None
        assert exchange.failure.kind is FailureKind.CONNECT


def test_an_existing_output_is_left_alone_and_said(upstream: int, tmp_path: Path) -> None:
    (tmp_path / "x.tape").write_bytes(b"mine")
    with recording(upstream, tmp_path / "x.tape", "--sample", "50%") as recorder:
        recorder.says(r"x\.tape exists already: recording into .*x-2\.tape$")
        send(recorder.port, 40)
        recorder.stop()
    assert (tmp_path / "x.tape").read_bytes() == b"mine"
    with open_capture(tmp_path / "x-2.tape") as capture:
        said = capture.confessions
        assert capture.header.sampling_rate == said.sampling_rate == 0.5
        assert 0 < len(capture) < 40
        assert said.sampled_out == 40 - len(capture)


def test_a_folder_takes_one_file_after_another_and_says_what_it_removed(upstream: int, tmp_path: Path) -> None:
    folder = tmp_path / "tapes"
    rotation = ("--rotate-size", "1MiB", "--rotate-every", "1s", "--keep", "1GiB", "--keep-for", "7d")
    labels = ("--label", "op=path:4", "--label", "region=header:x-region")
    secret = "jane.doe@example.com"
    with recording(upstream, folder, *rotation, *labels) as recorder:
        assert send(recorder.port, 5, headers={"X-Region": "eu"}) == [200] * 5
        until(lambda: len(list(folder.iterdir())) >= 2)
        assert send(recorder.port, 3, headers={"X-Region": secret}) == [200] * 3
        assert recorder.stop() == 0
        said = recorder.says("^recorded ")
    paths = sorted(folder.iterdir())
    assert said.startswith(f"recorded 8 of 8 exchanges into {folder} (shed 0,")
    assert said.endswith(f"; {len(paths)} files; label values kept as other: region 3")
    assert [path.name[16:] for path in paths] == [f"-{n:06}.tape" for n in range(1, len(paths) + 1)]
    with open_capture(folder) as capture:
        assert (len(capture), capture.sealed, len(capture.damage)) == (8, True, 0)
        assert capture.confessions.seen == 8
        exchanges = list(capture.exchanges())
    assert [dict(each.labels) for each in exchanges] == [
        {"op": "infer", "region": region} for region in ["eu"] * 5 + ["other"] * 3
    ]
    assert secret not in repr(exchanges)


def test_a_disk_below_the_floor_is_refused_before_the_port_opens(upstream: int, tmp_path: Path) -> None:
    done = subprocess.run(
        [
            *(sys.executable, str(ROOT / "shadowtape.py"), "record", "--upstream", f"http://127.0.0.1:{upstream}"),
            *("--listen", "127.0.0.1:0", "--out", "tapes", "--min-free", "9999TiB"),
        ],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert re.fullmatch(r"shadowtape: tapes: the disk has .* left, less than the .* of --min-free; .*\n", done.stderr)
    assert not list(tmp_path.iterdir())


MISTAKES = {
    "a port in use": ["--listen", "{port}"],
    "no such folder": ["--out", "missing/x.tape"],
    "not a tape": ["--out", "x.tap"],
    "not a URL": ["--upstream", "localhost"],
    "no such policy": ["--policy", "missing.yaml"],
    "a key beside the tape": ["--key", "k"],
    "not a share": ["--sample", "25"],
    "one file that rotates": ["--rotate-size", "1MiB"],
    "a tape key in its folder": ["--out", "tapes", "--encrypt", "tapes/k"],
    "a label of a credential": ["--label", "a=header:cookie"],
    "itself": ["--listen", "127.0.0.1:9", "--upstream", "http://127.0.0.1:9"],
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_and_exit_2_and_leaves_nothing_behind(
    mistake: str, upstream: int, tmp_path: Path
) -> None:
    options = {"--upstream": f"http://127.0.0.1:{upstream}", "--listen": "127.0.0.1:0", "--out": "x.tape"}
    options |= dict(zip(MISTAKES[mistake][::2], MISTAKES[mistake][1::2], strict=True))
    arguments = [text.format(port=f"127.0.0.1:{upstream}") for pair in options.items() for text in pair]
    done = subprocess.run(
        [sys.executable, str(ROOT / "shadowtape.py"), "record", *arguments],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert re.fullmatch(r"shadowtape: --[a-z-]+:? .*\n", done.stderr)
    assert not list(tmp_path.iterdir())


def test_stock_mitmdump_records_with_the_addon_as_a_script(upstream: int, tmp_path: Path) -> None:
    port = free_port()
    command = [
        *(str(Path(sys.executable).with_name("mitmdump")), "-q", "-s", str(ROOT / "recorder" / "addon.py")),
        *("--mode", f"reverse:http://127.0.0.1:{upstream}", "--listen-host", "127.0.0.1", "--listen-port", str(port)),
        *("--set", f"shadowtape_out={tmp_path / 'x.tape'}", "--set", f"confdir={tmp_path}"),
    ]
    recorder = Recorder(command, port)
    try:
        until(lambda: not refused(port))
        assert send(port, 30) == [200] * 30, recorder.lines
        assert recorder.stop() == 0, recorder.lines
    finally:
        recorder.stop(signal.SIGKILL)
    with open_capture(tmp_path / "x.tape") as capture:
        assert (len(capture), capture.sealed) == (30, True)
        assert len(capture.header.source_digests) == 2
        digest = source_digest(capture.header.recording_id, "127.0.0.1", upstream)
        assert digest in capture.header.source_digests
