"""What a user writes for a recording, parsed from text: addresses, shares, durations. Every mistake is a `UsageError`."""

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from captures.amounts import duration_ns, share_of
from captures.errors import UsageError

SUFFIX = ".tape"
DEFAULT_LISTEN = "127.0.0.1:8080"
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
class RecordOptions:
    """``duration_ns`` 0: until stopped. ``policy`` and ``key`` are files, still unread."""

    upstream: Upstream
    listen: Address
    out: Path
    policy: Path | None = None
    key: Path | None = None
    sampling_rate: float = 1.0
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
        raise UsageError(f"{name} {text!r}: write a duration with its unit, for example 60s, 15m or 1h")
    return found


def parse_out(text: str, name: str = "--out") -> Path:
    path = Path(text)
    if path.suffix != SUFFIX or path.name == SUFFIX:
        raise UsageError(
            f"{name} {text!r}: captures end in {SUFFIX}; write {path.with_suffix(SUFFIX) if path.name else SUFFIX}"
        )
    return path


def numbered(path: Path, number: int) -> Path:
    """``x.tape`` for 1, then ``x-2.tape``, ``x-3.tape``, …"""
    return path if number == 1 else path.with_name(f"{path.stem}-{number}{path.suffix}")
