"""One connection to an object store or web server, through fsspec: look up, list, read ranges, upload. Every error is one line.

Credentials and endpoints come from where the libraries look for them (environment, their files); nothing here stores or prints
them, and a URL is shown without userinfo and query.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import fsspec
from fsspec.asyn import sync

from captures.blocks import Traffic
from captures.errors import CaptureError, ShadowtapeError, UsageError
from captures.locations import WEB, scheme_of, shown
from captures.remote_errors import CREDENTIALS, SILENCE_S, TRIES, ChangedError, StatusError, may_pass, reason

CONNECT_S = 10
PAUSE_S = 0.1  # before the second try; four times as long before each further one
REQUESTS_AT_ONCE = 16
COMPARED_BYTES = 64 << 10
PART_BYTES, PARTS_AT_ONCE = 16 << 20, 4
"""An upload holds their product in memory; 10,000 parts, the most S3 takes, are 160 GB."""

_PACKAGES = {"s3": ("s3fs", "s3"), "gs": ("gcsfs", "gcs"), "az": ("adlfs", "azure")}  # scheme: package, our extra
_OPTIONS: dict[str, dict[str, Any]] = {
    "s3": {
        "config_kwargs": {
            "connect_timeout": CONNECT_S,
            "read_timeout": SILENCE_S,
            "retries": {"mode": "standard", "total_max_attempts": TRIES},
        }
    },
    "https": {"encoded": True, "client_kwargs": {"trust_env": True}},
}
_UPLOADING: dict[str, dict[str, Any]] = {"s3": {"chunksize": PART_BYTES, "max_concurrency": PARTS_AT_ONCE}}


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """``name``: as shown. ``path``: as its store knows it. ``etag``: names this content, where the store says so, else empty."""

    name: str
    path: str
    size: int
    etag: str = ""


@dataclass(slots=True)
class ObjectStore:
    """Use `connect`. One thread at a time."""

    where: str  # as shown
    scheme: str
    traffic: Traffic
    _fs: Any = field(repr=False)

    def look_up(self, path: str) -> RemoteFile | None:
        """The object of this name; None: there is none, or it is a folder. Raises CaptureError."""
        with self._telling(self.where):
            if self.scheme in WEB:
                return self._run(self._probe, path)
            self.traffic.requests += 1
            try:
                found = self._fs.info(path)
            except FileNotFoundError:
                return None
            return self._file(found) if found["type"] == "file" else None

    def files_in(self, folder: str, *, deep: bool = False) -> list[RemoteFile]:
        """The objects in a folder, sorted by name; empty: none, or no such folder. ``deep``: those in its folders as well.

        Raises UsageError: a web server; CaptureError.
        """
        if self.scheme in WEB:
            raise UsageError(f"{self.where}: a web server does not list its files: name one file")
        with self._telling(self.where):
            self.traffic.requests += 1
            try:
                found = self._fs.find(folder, detail=True).values() if deep else self._fs.ls(folder, detail=True)
            except FileNotFoundError:
                return []
            # A name that ends in a slash is what some tools put in place of a folder.
            files = [self._file(each) for each in found if each["type"] == "file" and not each["name"].endswith("/")]
            return sorted(files, key=lambda each: each.name)

    def read(self, requests: Sequence[tuple[RemoteFile, int, int]]) -> list[bytes]:
        """The bytes of (file, start, stop), several requests at a time.

        Raises CaptureError: missing by now, changed since it was looked up, refused, unreachable, silent.
        """
        self.traffic.requests += len(requests)
        with self._telling(requests[0][0].name if len({file.name for file, *_ in requests}) == 1 else self.where):
            if self._fs.async_impl:
                found: list[bytes] = self._run(self._gather, requests)
            else:
                found = [self._fs.cat_file(file.path, start, stop) for file, start, stop in requests]
            for (file, start, stop), data in zip(requests, found, strict=True):
                if len(data) != stop - start:
                    raise ChangedError(file.name)
        self.traffic.bytes += sum(map(len, found))
        return found

    def upload(self, local: Path, path: str) -> None:
        """The object appears whole or not at all. One that is this very file already (an upload whose answer was lost) is left.

        Raises UsageError: another of this name exists; CaptureError: as `read`, or it came out wrong.
        """
        size = local.stat().st_size
        with self._telling(self.where):
            if self._fs.exists(path):
                if self._is_copy(local, path):
                    return
                raise self._exists()
            try:
                # "create" is a condition of the request: who comes second loses. Not every store knows it, so it was asked before.
                self._fs.put_file(str(local), path, mode="create", **_UPLOADING.get(self.scheme, {}))
            except FileExistsError:
                raise self._exists() from None
            self._fs.invalidate_cache()
            arrived = self._fs.info(path)["size"]
        if arrived != size:
            raise CaptureError(f"{self.where}: {arrived:,} of {size:,} bytes arrived; delete it and upload it again")

    def refuse_existing(self, path: str) -> None:
        """Raises UsageError: there is an object of this name; CaptureError."""
        with self._telling(self.where):
            if self._fs.exists(path):
                raise self._exists()

    def check_bucket(self, path: str) -> None:
        """Raises CaptureError: nothing can be written below ``path``, as far as looking tells."""
        with self._telling(self.where):
            # Looking for an object tells refusals and silence apart from absence, looking for a bucket does not.
            if not self._fs.exists(path) and not self._fs.exists(path.partition("/")[0]):
                raise CaptureError(f"{self.where}: no such bucket, or it may not be looked at")

    def _is_copy(self, local: Path, path: str) -> bool:
        """By size, beginning and end: a capture has a random id in front and a digest at its end."""
        found = self.look_up(path)
        if found is None or found.size != local.stat().st_size or not found.size:
            return False
        part = min(COMPARED_BYTES, found.size)
        with local.open("rb") as file:
            ends = [file.read(part)]
            file.seek(found.size - part)
            ends.append(file.read(part))
        return self.read([(found, 0, part), (found, found.size - part, found.size)]) == ends

    def _exists(self) -> UsageError:
        return UsageError(f"{self.where}: exists already; captures are never overwritten, choose another name")

    def close(self) -> None:
        """Close the connections at once: left to the garbage collector they warn."""
        fs, session = self._fs, getattr(self._fs, "_session", None)
        client = getattr(fs, "_s3creator", None)
        if client is not None:
            sync(fs.loop, client.__aexit__, None, None, None, timeout=CONNECT_S)
        elif isinstance(session, aiohttp.ClientSession):
            sync(fs.loop, session.close, timeout=CONNECT_S)

    def _run[T](self, work: Callable[..., Awaitable[T]], *arguments: object) -> T:
        result: T = sync(self._fs.loop, work, *arguments)
        return result

    def _file(self, found: Mapping[str, Any]) -> RemoteFile:
        path = str(found["name"])
        return RemoteFile(f"{self.scheme}://{path.lstrip('/')}", path, int(found["size"]), str(found.get("ETag") or ""))

    async def _gather(self, requests: Sequence[tuple[RemoteFile, int, int]]) -> list[bytes]:
        gate = asyncio.Semaphore(REQUESTS_AT_ONCE)
        read = _READ_RANGE.get(self.scheme, _read_any)

        async def one(file: RemoteFile, start: int, stop: int) -> bytes:
            async with gate:
                for again in range(TRIES):
                    try:
                        return await read(self._fs, file, start, stop)
                    except Exception as error:
                        if again == TRIES - 1 or not may_pass(error):
                            raise
                        self.traffic.requests += 1
                        await asyncio.sleep(PAUSE_S * 4**again)
            raise AssertionError("unreachable")

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(one(*request)) for request in requests]
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None
        return [task.result() for task in tasks]

    async def _probe(self, path: str) -> RemoteFile | None:
        """Size and tag of a web server's file, by asking for its first byte: not every URL may be asked with HEAD (presigned
        ones), and what a server says about ranges is not always what it does.
        """
        self.traffic.requests += 1
        reply, _ = await _get(self._fs, path, {"Range": "bytes=0-0"})
        if not _may_be_read(str(reply.url)):
            raise StatusError("was redirected to plain http, which is for this machine only")
        if reply.status in (404, 410):
            return None
        total = reply.headers.get("Content-Range", "").rpartition("/")[2]
        if reply.status not in (206, 416) or not total.isdecimal():
            raise StatusError(_unranged(reply.status))
        return RemoteFile(self.where, path, int(total), reply.headers.get("ETag", ""))

    @contextmanager
    def _telling(self, name: str) -> Iterator[None]:
        """Whatever a library raises becomes a CaptureError of one line. Its own words are left out: they may hold URLs."""
        try:
            yield
        except ShadowtapeError:
            raise
        except Exception as error:
            raise CaptureError(f"{name}: {reason(error, self.scheme, self._endpoint())}") from error

    def _endpoint(self) -> str:
        """Where the environment sent us, if it did."""
        if self.scheme != "s3":
            return ""
        variable = "AWS_ENDPOINT_URL_S3" if os.environ.get("AWS_ENDPOINT_URL_S3") else "AWS_ENDPOINT_URL"
        return f"{variable} is {shown(os.environ[variable])}" if os.environ.get(variable) else ""


def connect(where: str, traffic: Traffic) -> tuple[ObjectStore, str]:
    """The store of a URL and the path in it. Nothing is sent yet. Raises UsageError: a scheme we do not know, a package
    that is not installed, http to another machine.
    """
    scheme, name = scheme_of(where), shown(where)
    if scheme not in {*_PACKAGES, *WEB, "memory"}:
        raise UsageError(f"{name}: captures are read from s3://, gs://, az:// and https://, not {scheme}://")
    if scheme not in WEB and "@" in urlsplit(where).netloc:
        raise UsageError(f"{name}: leave credentials out of the URL; they come from the environment")
    if not where.partition("://")[2].strip("/"):
        raise UsageError(f"{name}: names no {'server' if scheme in WEB else 'bucket'}; write {scheme}://NAME/…")
    if not _may_be_read(where):
        raise UsageError(f"{name}: http is not encrypted: use https (http is for this machine only)")
    try:
        # A cached instance would show what the bucket held when it was first listed.
        options = _OPTIONS.get("https" if scheme in WEB else scheme, {})
        fs = fsspec.filesystem(scheme, skip_instance_cache=True, use_listings_cache=False, **options)
    except ImportError:
        package, extra = _PACKAGES.get(scheme, (scheme, scheme))
        raise UsageError(f"{name}: needs the package {package}: pip install 'shadowtape[{extra}]'") from None
    except Exception as error:
        raise UsageError(f"{name}: {CREDENTIALS.get(scheme, 'cannot be opened')} ({type(error).__name__})") from error
    if scheme == "s3":
        fs.retries = TRIES
    path = where if scheme in WEB else where.partition("://")[2]
    return ObjectStore(name, scheme, traffic, fs), path


def _may_be_read(url: str) -> bool:
    """Whether a URL is encrypted on its way, or never leaves this machine."""
    if scheme_of(url) != "http":
        return True
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


async def _read_any(fs: Any, file: RemoteFile, start: int, stop: int) -> bytes:
    data: bytes = await fs._cat_file(file.path, start=start, end=stop)  # noqa: SLF001 - fsspec names its async API so
    return data


async def _read_s3(fs: Any, file: RemoteFile, start: int, stop: int) -> bytes:
    """As the library does it, and only from the content that was looked up."""
    bucket, key, _ = fs.split_path(file.path)
    condition = {"IfMatch": file.etag} if file.etag else {}
    span = f"bytes={start}-{stop - 1}"
    try:
        reply = await fs._call_s3("get_object", Bucket=bucket, Key=key, Range=span, **condition)  # noqa: SLF001 - s3fs has no public call
    except OSError as error:
        answer = getattr(error.__cause__, "response", {})
        if answer.get("Error", {}).get("Code") in ("PreconditionFailed", "InvalidRange", "412", "416"):
            raise ChangedError(file.name) from error
        raise
    async with reply["Body"] as body:
        data: bytes = await body.read()
        return data


async def _read_web(fs: Any, file: RemoteFile, start: int, stop: int) -> bytes:
    condition = {"If-Match": file.etag} if file.etag and not file.etag.startswith("W/") else {}
    reply, data = await _get(fs, file.path, {"Range": f"bytes={start}-{stop - 1}", **condition})
    if reply.status in (404, 410, 412, 416):
        raise ChangedError(file.name)
    if reply.status != 206:
        raise StatusError(_unranged(reply.status))
    total = reply.headers.get("Content-Range", "").rpartition("/")[2]
    if total != str(file.size) or reply.headers.get("ETag", "") != file.etag:
        raise ChangedError(file.name)
    return data


async def _get(fs: Any, url: str, headers: dict[str, str]) -> tuple[aiohttp.ClientResponse, bytes]:
    """The body of an answer that is not 206 is not read: it may be the whole file."""
    session = await fs.set_session()
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S, sock_read=SILENCE_S)
    headers = {"Accept-Encoding": "identity", **headers}
    async with session.get(fs.encode_url(url), headers=headers, timeout=timeout) as reply:
        return reply, await reply.read() if reply.status == 206 else b""


def _unranged(status: int) -> str:
    if status == 200:
        return "its server does not serve parts of a file (no byte ranges); download it first"
    if status in (401, 403):
        return f"access refused (its server answered {status})"
    return f"its server answered {status}"


_READ_RANGE: dict[str, Callable[[Any, RemoteFile, int, int], Awaitable[bytes]]] = {
    "s3": _read_s3,
    "http": _read_web,
    "https": _read_web,
}
