"""Against fsspec's own store in memory, and against web servers on loopback, good and bad."""

import gc
import io
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import fsspec
import pytest

from captures.blocks import BLOCK_BYTES, Traffic
from captures.errors import CaptureError, ShadowtapeError, UsageError
from captures.object_store import RemoteFile, connect
from captures.remote import check_bucket, check_new, remote_files, remote_sources, upload

DATA = bytes(range(256)) * 1000


@pytest.fixture
def memory() -> Iterator[Any]:
    store = fsspec.filesystem("memory")
    yield store
    store.store.clear()
    store.pseudo_dirs[:] = [""]


def said(what: Any, *arguments: Any) -> str:
    with pytest.raises(ShadowtapeError) as caught:
        what(*arguments)
    return f"{type(caught.value).__name__}: {caught.value}"


# -- a store of objects


def test_an_object_is_read_in_ranges(memory: Any) -> None:
    memory.pipe("/bucket/a.tape", DATA)
    traffic = Traffic()
    [file] = remote_files("memory://bucket/a.tape", traffic)

    assert (file.name, file.size) == ("memory://bucket/a.tape", len(DATA))
    assert file.read_at(1000, 10) == DATA[1000:1010]
    assert file.read_at(len(DATA) - 3, 100) == DATA[-3:]
    assert traffic.bytes < 3 * BLOCK_BYTES
    file.close()


def test_a_folder_is_its_captures_sorted_by_name(memory: Any) -> None:
    for name in ("b.tape", "a.tape", "notes.txt", "deeper/c.tape"):
        memory.pipe(f"/bucket/run/{name}", b"x")

    for where in ("memory://bucket/run", "memory://bucket/run/"):
        files = remote_files(where)
        assert [file.name for file in files] == ["memory://bucket/run/a.tape", "memory://bucket/run/b.tape"]
        for file in files:
            file.close()


def test_a_glob_picks_objects_of_a_folder(memory: Any) -> None:
    for name in ("20260105-000001.tape", "20260105-000002.tape", "20260106-000001.tape"):
        memory.pipe(f"/bucket/{name}", b"x")

    assert [file.name[-21:] for file in remote_files("memory://bucket/20260105*.tape")] == [
        "/20260105-000001.tape",
        "/20260105-000002.tape",
    ]
    assert said(remote_files, "memory://bucket/x*") == "CaptureError: memory://bucket/x*: no object matches"
    assert "only stand behind the last slash" in said(remote_files, "memory://b*/a.tape")


def test_a_bucket_is_looked_at_before_there_is_anything_to_upload(memory: Any) -> None:
    assert said(check_bucket, "memory://bucket/prod") == (
        "CaptureError: memory://bucket/prod: no such bucket, or it may not be looked at"
    )
    memory.pipe("/bucket/other/a.tape", b"x")
    check_bucket("memory://bucket/prod")


def test_credentials_in_a_url_are_refused_and_not_quoted() -> None:
    for check in (check_bucket, remote_files):
        refused = said(check, "s3://AKIA:word@bucket/a.tape")
        assert refused.startswith("UsageError: s3://bucket/a.tape: leave credentials out of the URL")


def test_a_new_object_is_seen_by_the_next_opening(memory: Any) -> None:
    memory.pipe("/bucket/a.tape", b"x")
    assert len(remote_files("memory://bucket")) == 1
    memory.pipe("/bucket/b.tape", b"x")

    assert len(remote_files("memory://bucket")) == 2


def test_what_is_not_there_is_one_line(memory: Any) -> None:
    expected = "CaptureError: memory://bucket/a.tape: no such object, and no folder with .tape files"

    assert said(remote_files, "memory://bucket/a.tape") == expected
    assert said(remote_sources, "memory://bucket/a.har") == "CaptureError: memory://bucket/a.har: no such object"


def test_an_object_that_became_shorter_was_changed(memory: Any) -> None:
    memory.pipe("/bucket/a.tape", DATA)
    [file] = remote_files("memory://bucket/a.tape")
    file.read_at(0, 1)
    memory.pipe("/bucket/a.tape", DATA[:40_000])

    assert "was changed while it was read" in said(file.read_at, 100_000, 10)


def test_an_object_that_went_away_is_one_line(memory: Any) -> None:
    memory.pipe("/bucket/a.tape", DATA)
    [file] = remote_files("memory://bucket/a.tape")
    memory.rm("/bucket/a.tape")

    assert said(file.read_at, 0, 1) == "CaptureError: memory://bucket/a.tape: no such object, or no such bucket"


def test_sources_are_streams_of_everything_below(memory: Any) -> None:
    memory.pipe("/bucket/day/02/b.jsonl", b"two")
    memory.pipe("/bucket/day/01/a.jsonl", DATA)
    sources = remote_sources("memory://bucket/day")

    assert [name for name, _ in sources] == ["memory://bucket/day/01/a.jsonl", "memory://bucket/day/02/b.jsonl"]
    for _ in range(2):  # once to recognise it, once to read it
        with sources[0][1]() as stream:
            assert stream.read(5) == DATA[:5]
            assert stream.read() == DATA[5:]
    with io.TextIOWrapper(sources[1][1]()) as text:
        assert text.read() == "two"


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("ftp://host/a.tape", "UsageError: ftp://host/a.tape: captures are read from s3://, gs://, az:// and https://"),
        ("http://example.com/a.tape", "UsageError: http://example.com/a.tape: http is not encrypted: use https"),
        ("http://127.evil.com/a.tape", "UsageError: http://127.evil.com/a.tape: http is not encrypted"),
    ],
)
def test_what_cannot_be_opened_is_refused_before_anything_is_sent(where: str, message: str) -> None:
    assert said(remote_files, where).startswith(message)


@pytest.mark.parametrize(("scheme", "extra"), [("s3", "s3"), ("gs", "gcs"), ("az", "azure")])
def test_a_missing_package_names_its_extra(scheme: str, extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object, **__: object) -> None:
        raise ImportError(scheme)

    monkeypatch.setattr(fsspec, "filesystem", missing)

    assert f"pip install 'shadowtape[{extra}]'" in said(remote_files, f"{scheme}://bucket/a.tape")


# -- uploading


def test_a_file_becomes_an_object(memory: Any, tmp_path: Path) -> None:
    local = tmp_path / "a.tape"
    local.write_bytes(DATA)
    check_new("memory://bucket/new/a.tape")
    upload(local, "memory://bucket/new/a.tape")

    assert memory.cat("/bucket/new/a.tape") == DATA


def test_an_object_is_never_replaced(memory: Any, tmp_path: Path) -> None:
    memory.pipe("/bucket/a.tape", b"older")
    local = tmp_path / "a.tape"
    local.write_bytes(DATA)
    expected = "UsageError: memory://bucket/a.tape: exists already; captures are never overwritten, choose another name"

    assert said(check_new, "memory://bucket/a.tape") == expected
    assert said(upload, local, "memory://bucket/a.tape") == expected
    assert memory.cat("/bucket/a.tape") == b"older"


def test_uploading_the_same_file_again_is_no_error(memory: Any, tmp_path: Path) -> None:
    """The answer to an upload may get lost; whoever tries again must not be stuck."""
    local = tmp_path / "a.tape"
    local.write_bytes(DATA)
    upload(local, "memory://bucket/a.tape")
    upload(local, "memory://bucket/a.tape")

    local.write_bytes(DATA[:-1] + b"?")
    assert "exists already" in said(upload, local, "memory://bucket/a.tape")


def test_whoever_comes_second_loses_even_where_both_saw_nothing(
    memory: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory.pipe("/bucket/a.tape", b"older")
    exists = type(memory).exists
    first = iter([True])
    monkeypatch.setattr(type(memory), "exists", lambda *where: not next(first, False) and exists(*where))
    local = tmp_path / "a.tape"
    local.write_bytes(DATA)

    assert "exists already" in said(upload, local, "memory://bucket/a.tape")
    assert memory.cat("/bucket/a.tape") == b"older"


def test_an_upload_that_arrived_in_part_is_told(memory: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(memory), "put_file", lambda fs, local, path, **_: fs.pipe(path, b"half"))
    local = tmp_path / "a.tape"
    local.write_bytes(DATA)

    assert "4 of 256,000 bytes arrived" in said(upload, local, "memory://bucket/a.tape")


def test_nothing_is_written_to_a_web_server(tmp_path: Path) -> None:
    for what in (lambda: check_new("https://host/a.tape?sig=1"), lambda: upload(tmp_path, "https://host/a.tape?sig=1")):
        assert said(what) == (
            "UsageError: https://host/a.tape: cannot be written to; write to s3://, gs://, az:// or a file"
        )


# -- web servers


class Web(BaseHTTPRequestHandler):
    """Serves DATA under any name; the first part of the path says how badly."""

    protocol_version = "HTTP/1.1"
    etag = '"one"'
    asked: list[tuple[str, str]]

    def do_GET(self) -> None:
        self.asked.append((self.path, self.headers.get("Range", "")))
        kind = self.path.split("/")[1]
        start, stop = self.headers["Range"].removeprefix("bytes=").split("-")
        first, last = int(start), min(int(stop), len(DATA) - 1)
        match kind:
            case "whole":
                self.answer(200, DATA)
            case "gone":
                self.answer(404, b"")
            case "secret":
                self.answer(403, b"")
            case "empty":
                self.answer(416, b"", {"Content-Range": "bytes */0"})
            case "away":
                self.answer(302, b"", {"Location": "http://127.0.0.2:1/a.tape"})
            case "breaking" if first:
                self.answer(206, DATA[first : last + 1], {"Content-Range": f"bytes 0-1/{len(DATA)}"}, length=99_999)
            case "changing" if first:
                self.answer(412, b"")
            case "replaced" if first:
                whose = {"ETag": '"two"', "Content-Range": f"bytes {first}-{last}/{len(DATA)}"}
                self.answer(206, DATA[first : last + 1], whose)
            case _:
                self.answer(206, DATA[first : last + 1], {"Content-Range": f"bytes {first}-{last}/{len(DATA)}"})

    def answer(self, status: int, body: bytes, headers: Mapping[str, str] = {}, length: int | None = None) -> None:
        self.send_response(status)
        for name, value in {"ETag": self.etag, **headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = length is not None

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def web() -> Iterator[tuple[str, list[tuple[str, str]]]]:
    asked: list[tuple[str, str]] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Served", (Web,), {"asked": asked}))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_web_server_is_asked_for_ranges_only_and_never_with_head() -> None:
    with web() as (base, asked):
        [file] = remote_files(f"{base}/good/a.tape?X-Amz-Signature=s3cret%2F1")
        data = b"".join(file.read_at(at, 50_000) for at in range(0, file.size, 50_000))
        file.close()

    assert data == DATA
    assert file.name == f"{base}/good/a.tape"
    assert {path for path, _ in asked} == {"/good/a.tape?X-Amz-Signature=s3cret%2F1"}
    assert all(span.startswith("bytes=") for _, span in asked)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("whole/a.tape", "its server does not serve parts of a file (no byte ranges); download it first"),
        ("gone/a.tape", "no such object"),
        ("secret/a.tape", "access refused (its server answered 403)"),
    ],
)
def test_a_web_server_that_does_not_serve_it_is_one_line_without_the_query(path: str, message: str) -> None:
    with web() as (base, _):
        where = base.replace("http://", "http://user:word@")

        assert said(remote_files, f"{where}/{path}?sig=s3cret") == f"CaptureError: {base}/{path}: {message}"


def test_a_server_without_ranges_is_not_asked_for_the_whole_file() -> None:
    """Its body is left on the wire: the connection is closed instead."""
    with web() as (base, asked):
        said(remote_files, f"{base}/whole/a.tape")

    assert len(asked) == 1


@pytest.mark.parametrize("path", ["changing/a.tape", "replaced/a.tape"])
def test_a_file_that_changes_while_it_is_read_is_told(path: str) -> None:
    with web() as (base, _):
        [file] = remote_files(f"{base}/{path}")
        try:
            assert "was changed while it was read" in said(file.read_at, 100_000, 10)
        finally:
            file.close()


def test_a_connection_that_breaks_is_tried_again_and_then_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("captures.object_store.PAUSE_S", 0.0)
    with web() as (base, asked):
        [file] = remote_files(f"{base}/breaking/a.tape")
        try:
            assert "the connection broke 3 times" in said(file.read_at, 100_000, 10)
        finally:
            file.close()

    assert len({span for _, span in asked}) < len(asked)


def test_an_empty_file_on_a_web_server_has_no_bytes() -> None:
    with web() as (base, _):
        [file] = remote_files(f"{base}/empty/a.tape")

        assert (file.size, file.read_at(0, 10)) == (0, b"")
        file.close()


def test_a_web_server_that_is_not_there_is_one_line() -> None:
    with web() as (base, _):
        pass

    assert said(remote_files, f"{base}/a.tape?sig=s3cret") == (
        f"CaptureError: {base}/a.tape: its server cannot be reached; check the network and the name"
    )


def test_connections_are_closed_with_the_last_file(memory: Any) -> None:
    """Unclosed sessions warn when they are collected; warnings are errors here."""
    with web() as (base, _):
        [file] = remote_files(f"{base}/good/a.tape")
        file.read_at(0, 10)
        file.close()
        del file
        sources = remote_sources(f"{base}/good/a.har")
        with sources[0][1]() as stream:
            stream.read(1)
        del sources, stream
        gc.collect()


def test_a_stalled_server_is_told_and_not_waited_for_for_ever(memory: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    store, _ = connect("memory://bucket/a.tape", Traffic())

    def stalled(*_: object, **__: object) -> bytes:
        raise TimeoutError

    monkeypatch.setattr(type(memory), "cat_file", stalled)
    file = RemoteFile("memory://bucket/a.tape", "/bucket/a.tape", 10)

    assert "does not answer (waited 30 s, 3 times)" in said(store.read, [(file, 0, 10)])


def test_credentials_come_from_the_environment_and_are_in_no_message(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing listens at port 1: the error names the endpoint, as the environment gave it."""
    pytest.importorskip("s3fs")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cret")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setattr("captures.object_store.TRIES", 1)
    options = {"s3": {"config_kwargs": {"retries": {"mode": "standard", "total_max_attempts": 1}}}}
    monkeypatch.setattr("captures.object_store._OPTIONS", options)

    message = said(remote_files, "s3://bucket/a.tape")

    assert message == (
        "CaptureError: s3://bucket/a.tape: its server cannot be reached: AWS_ENDPOINT_URL is http://127.0.0.1:1"
    )
    assert os.environ["AWS_SECRET_ACCESS_KEY"] not in message


@pytest.mark.parametrize("where", ["s3://", "s3:///", "https://"])
def test_a_url_without_a_name_says_so(where: str) -> None:
    assert said(remote_files, where).startswith("UsageError: ")
    assert "names no" in said(remote_files, where)


def test_errors_are_the_declared_ones() -> None:
    assert issubclass(CaptureError, ShadowtapeError)
    assert CaptureError.exit_code == 5
    assert UsageError.exit_code == 2
