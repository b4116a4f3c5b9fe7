"""What a user writes for a recording, parsed from text: addresses, shares, sizes, durations, and where it goes.

Every mistake is a `UsageError`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from urllib.parse import urlsplit

from captures.amounts import duration_ns, share_of, size_bytes
from captures.errors import UsageError
from captures.locations import is_remote, shown
from captures.rotation import DEFAULT_SIZE, Rotation
from captures.wording import size_text
from recorder.filters import EVERYTHING, Filters
from recorder.labels import parse_labels
from recorder.recording import Limits

SUFFIX = ".tape"
DEFAULT_MIN_FREE = "256MiB"
_HOUR_NS = 3_600_000_000_000
_SECOND_NS = 1_000_000_000
_REMOTE = "s3://"
DEFAULT_LISTEN = "127.0.0.1:8080"
DEFAULT_LIMITS = Limits()
DEFAULT_BODY_LIMIT = "32MiB"
DEFAULT_MEMORY = "64MiB"
DEFAULT_QUEUE = "64MiB"
LOGS = ("text", "json")
MOST_WORKERS = 64
_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Address:
    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Upstream:
    scheme: str
    address: Address

    def __str__(self) -> str:
        return f"{self.scheme}://{self.address}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Storage:
    """Where a recording goes. ``out``: as it was written. ``path``: the tape where ``rotation`` is None, else the folder of tapes;
    with a ``url`` they are uploaded from there. ``expire_ns`` 0: never. ``min_free`` bytes, 0: no floor. ``encrypt``: a file,
    still unread. ``labels`` as written, and found to be sound.
    """

    out: str
    path: Path
    url: str = ""
    rotation: Rotation | None = None
    expire_ns: int = 0
    min_free: int = 0
    fsync: bool = False
    encrypt: Path | None = None
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordOptions:
    """What every recorder is told, whatever its source. ``sources``: the servers that the file recognises by digest.
    ``queue``: bytes that wait for the spool, a worker. ``duration_ns`` 0: until stopped. ``policy`` and ``key`` are files, still
    unread.
    """

    listen: Address
    storage: Storage
    sources: tuple[Address, ...] = ()
    workers: int = 1
    policy: Path | None = None
    key: Path | None = None
    sampling_rate: float = 1.0
    filters: Filters = EVERYTHING
    limits: Limits = DEFAULT_LIMITS
    queue: int = 64 << 20
    admin: Address | None = None
    log: str = "text"
    duration_ns: int = 0
    require_recording: bool = False


def parse_upstream(text: str, name: str = "--upstream") -> Upstream:
    """``http://HOST[:PORT]`` or ``https://…``; a path would silently be ignored by the relay, so it is refused."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise UsageError(f"{name} {text!r}: not a URL; write http://HOST:PORT") from None
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname:
        raise UsageError(f"{name} {text!r}: write http://HOST:PORT or https://HOST:PORT")
    if parts.username is not None or parts.password is not None:
        raise UsageError(f"{name}: leave credentials out; clients send their own, the relay passes them on")
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise UsageError(f"{name} {text!r}: leave the path out; requests are forwarded with the path they came with")
    return Upstream(parts.scheme, Address(parts.hostname, port or _DEFAULT_PORTS[parts.scheme]))


def parse_address(text: str, name: str = "--listen") -> Address:
    """``HOST:PORT``, ``[::1]:PORT`` or ``:PORT`` (every interface). Port 0 asks for a free one."""
    host, colon, port = text.rpartition(":")
    bare = host.removeprefix("[").removesuffix("]")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65535 or (":" in bare and bare == host):
        raise UsageError(f"{name} {text!r}: write HOST:PORT, for example {DEFAULT_LISTEN}")
    return Address(bare or "0.0.0.0", int(port))  # noqa: S104 - ":8080" says every interface, as everywhere


def parse_admin(text: str, name: str = "--admin") -> Address:
    """As `parse_address`, but ``:9090`` is loopback: metrics tell who uses a model, and how much."""
    address = parse_address(text, name)
    return Address("127.0.0.1", address.port) if text.startswith(":") else address


def parse_share(text: str, name: str = "--sample") -> float:
    """``25%`` or ``0.25``; a bare 25 is refused because 1 would mean two things. Above 0, at most 1."""
    try:
        share = share_of(text, name)
    except ValueError:
        share = 0.0
    if not share:
        raise UsageError(f"{name} {text!r}: write a share above 0 and up to 100%, for example 25% or 0.25")
    return share


def parse_duration_ns(text: str, name: str = "--for") -> int:
    """``60s``, ``1.5h``, ``500ms``, ``1h30m``; a unit is required, and more than nothing."""
    try:
        found = duration_ns(text, name)
    except ValueError:
        found = 0
    if not found:
        raise UsageError(f"{name} {text!r}: write a duration above 0 with its unit, for example 60s, 15m or 1h")
    return found


def parse_size(text: str, name: str) -> int:
    """``256MiB``, ``1GB``, ``1048576``."""
    try:
        return size_bytes(text, name)
    except ValueError:
        raise UsageError(f"{name} {text!r}: write a size, for example 256MiB or 20GiB") from None


def parse_workers(count: int, storage: Storage, name: str = "--workers") -> int:
    """Each worker writes its own files, so more than one need a folder."""
    if not 1 <= count <= MOST_WORKERS:
        raise UsageError(f"{name} {count}: 1 to {MOST_WORKERS}; more than the machine has cores only costs memory")
    if count > 1 and storage.rotation is None:
        folder = storage.path.with_suffix("")
        raise UsageError(
            f"{name} {count}: {storage.out} is one file, and each worker writes its own; name a folder: --out {folder}/"
        )
    return count


def parse_log(text: str, name: str = "--log") -> str:
    if text not in LOGS:
        raise UsageError(f"{name} {text!r}: write {' or '.join(LOGS)}")
    return text


def parse_limits(body: str, memory: str) -> Limits:
    """A body that could never be held is a mistake."""
    limits = Limits(parse_size(body, "--body-limit"), parse_size(memory, "--memory"))
    if limits.memory < limits.body:
        raise UsageError(f"--memory {memory}: less than one body of --body-limit {body}, so none of that size is kept")
    return limits


def parse_storage(
    out: str,
    *,
    name: str = "--out",
    state: Path,
    rotate_size: str | None = None,
    rotate_every: str | None = None,
    keep: str | None = None,
    keep_for: str | None = None,
    min_free: str = DEFAULT_MIN_FREE,
    expire: str | None = None,
    staging: Path | None = None,
    fsync: bool = False,
    encrypt: Path | None = None,
    labels: tuple[str, ...] = (),
) -> Storage:
    """``state``: the user's folder for what programs keep; files on their way to a bucket wait there."""
    about = {
        "--rotate-size": rotate_size,
        "--rotate-every": rotate_every,
        "--keep": keep,
        "--keep-for": keep_for,
        "--staging": staging,
    }
    expire_ns = 0 if expire is None else parse_duration_ns(expire, "--expire")
    path, url = _place(out, name, staging or state / "shadowtape" / "staging")
    if not url:
        _refuse(about, ("--staging",), f"it is for {name} s3://…; leave it out")
    if path.suffix == SUFFIX and not url:
        _refuse(about, tuple(about), f"{out} is one file; name a folder: {name} {path.with_suffix('')}/")
        rotation = None
    else:
        if url:
            _refuse(about, ("--keep", "--keep-for"), "uploaded files are the bucket's; give it a lifecycle rule")
        rotation = _rotation(rotate_size, rotate_every, keep, keep_for, expire_ns)
    parse_labels(labels)
    return Storage(
        out=out,
        path=path,
        url=url,
        rotation=rotation,
        expire_ns=expire_ns,
        min_free=parse_size(min_free, "--min-free"),
        fsync=fsync,
        encrypt=encrypt,
        labels=labels,
    )


def _place(out: str, name: str, staging: Path) -> tuple[Path, str]:
    """Where files are written, and the URL they are uploaded to ("": nowhere)."""
    if is_remote(out):
        bucket = urlsplit(out).netloc
        if not out.startswith(_REMOTE) or not bucket:
            raise UsageError(f"{name} {shown(out)!r}: recordings go to files, folders and s3://BUCKET/PREFIX")
        if "@" in bucket or "?" in out or "#" in out:
            raise UsageError(
                f"{name}: leave credentials, ? and # out of the URL; credentials come from the environment"
            )
        url = out.rstrip("/")
        # By URL: what an earlier recording could not upload goes where it was meant to.
        return staging / blake2b(url.encode(), digest_size=8).hexdigest(), url
    path = Path(out)
    if path.name in ("", SUFFIX):
        raise UsageError(f"{name} {out!r}: name a capture, such as monday{SUFFIX}, or a folder")
    if path.suffix not in ("", SUFFIX) and not out.endswith("/"):
        raise UsageError(
            f"{name} {out!r}: captures end in {SUFFIX}; write {path.with_suffix(SUFFIX)}, or {out}/ for a folder"
        )
    if path.suffix == SUFFIX and out.endswith("/"):
        raise UsageError(f"{name} {out!r}: {SUFFIX} is one file; name a folder without it, or leave the slash out")
    return path, ""


def _rotation(
    rotate_size: str | None, rotate_every: str | None, keep: str | None, keep_for: str | None, expire_ns: int
) -> Rotation:
    size = DEFAULT_SIZE if rotate_size is None else parse_size(rotate_size, "--rotate-size")
    keep_bytes = 0 if keep is None else parse_size(keep, "--keep")
    keep_ns = 0 if keep_for is None else parse_duration_ns(keep_for, "--keep-for")
    if not size:
        raise UsageError(f"--rotate-size {rotate_size!r}: a file holds something; write for example 256MiB")
    if keep is not None and keep_bytes < size:
        raise UsageError(f"--keep {keep}: less than one file of --rotate-size {rotate_size or size_text(size)}")
    if rotate_every is not None:
        every_ns = parse_duration_ns(rotate_every, "--rotate-every")
        if 0 < expire_ns <= every_ns:
            raise UsageError(f"--rotate-every {rotate_every}: a file would expire while it is written; choose less")
    else:
        # A file that is never followed by another would outlive its time.
        ends = [ns for ns in (keep_ns, expire_ns) if ns]
        every_ns = max(min(_HOUR_NS, min(ends) // 4), _SECOND_NS) if ends else 0
    return Rotation(size_bytes=size, every_ns=every_ns, keep_bytes=keep_bytes, keep_ns=keep_ns)


def _refuse(given: Mapping[str, object], options: tuple[str, ...], why: str) -> None:
    for option in options:
        if given[option] is not None:
            raise UsageError(f"{option}: {why}")


def numbered(path: Path, number: int) -> Path:
    """``x.tape`` for 1, then ``x-2.tape``, ``x-3.tape``, …"""
    return path if number == 1 else path.with_name(f"{path.stem}-{number}{path.suffix}")
