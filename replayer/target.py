"""Target: where rows go. Parsing only; whether one may send there is `replayer.rails`."""

import ipaddress
from dataclasses import dataclass
from urllib.parse import urlsplit

from captures.errors import UsageError

PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Target:
    """``role`` is what the run calls it ("target", "baseline", "candidate", …). ``prefix`` goes in front of every recorded path."""

    role: str
    scheme: str
    host: str  # lower case, without brackets
    port: int
    prefix: str = ""

    @property
    def authority(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.authority}{self.prefix}"


def parse_target(text: str, role: str = "target") -> Target:
    """Read ``http(s)://host[:port][/prefix]``. Raises UsageError; the message never repeats a password."""
    try:
        parts = urlsplit(text)
        port = parts.port
        host = (parts.hostname or "").encode("idna").decode("ascii").rstrip(".")
        if ":" in host:
            ipaddress.ip_address(host)
    except (ValueError, UnicodeError) as error:
        raise UsageError(f"--{role}: not a URL: {error}") from error
    if parts.scheme not in PORTS or not host:
        raise UsageError(f"--{role} {_plain(text)!r}: write it as http://HOST[:PORT][/PREFIX]")
    if parts.username is not None or parts.password is not None:
        raise UsageError(
            f"--{role}: no credentials in the URL: they come from the environment, --header 'Authorization: env:NAME'"
        )
    if parts.query or parts.fragment:
        raise UsageError(f"--{role} {_plain(text)!r}: a target has no query and no fragment")
    if port == 0 or any(character.isspace() or character in '\\"<>^`{|}%' for character in host + parts.path):
        raise UsageError(f"--{role} {_plain(text)!r}: the host, port or path cannot be used")
    return Target(role, parts.scheme, host, port or PORTS[parts.scheme], parts.path.rstrip("/"))


def _plain(text: str) -> str:
    """What may be repeated in a message: whatever stands before an ``@`` may be a secret."""
    return text.rpartition("@")[2]
