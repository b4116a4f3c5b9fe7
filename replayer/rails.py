"""Safety rails: where a replay may send, and what. Pure: what the machine looks like comes in as `Surroundings`.

Refusing is the default; each rail names the flag that opens it. docs/replaying.md explains every one.
"""

import ipaddress
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import numpy as np
from numpy.typing import NDArray

from captures.errors import RefusedError
from captures.exchange import Flags
from captures.header import Header, source_digest
from replayer.target import Target

# Command names as the kernel keeps them: cut at 15 characters.
FORWARDERS = frozenset(
    """autossh boundary bore chisel cloud-sql-proxy cloud_sql_proxy cloudflared frpc gost inlets k9s kubectl kubefwd kubelet-proxy
    kubectl.real mirrord mitmdump mitmproxy mitmweb nc ncat ngrok oc plink rinetd session-manager shadowtape socat ssh sshd stunnel
    stunnel4 teleport telepresence tsh tunnelto""".split()  # noqa: SIM905 - a list of names reads better unquoted
)
"""They hold a loopback port and send what comes in elsewhere: to production, for all we know. Relays of our own kind too."""
FORWARDING_WORDS = frozenset({"port-forward", "port_forward", "start-iap-tunnel", "portforward"})
"""As arguments of a process: forwarders that are scripts and go by their interpreter's name."""
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1", "0.0.0.0", "::")  # noqa: S104 - names of one place, nothing is bound


@dataclass(frozen=True, slots=True)
class Holder:
    """A process that listens on the target's port of this machine. ``words``: its arguments."""

    command: str
    words: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Surroundings:
    """``addresses``: what the target's host resolves to. ``holders``: who listens there, where it is this
    machine and can be known.
    """

    addresses: tuple[str, ...]
    holders: tuple[Holder, ...] = ()


def is_loopback(addresses: Sequence[str]) -> bool:
    """Whether every address is this machine's own: one that is not makes the whole name remote."""
    return bool(addresses) and all(_own(address) for address in addresses)


def check_target(
    target: Target,
    around: Surroundings,
    headers: Sequence[Header],
    *,
    allow_hosts: Sequence[str] = (),
    allow_source: bool = False,
) -> None:
    """Raises RefusedError where the target is neither loopback nor allowed, is held by a forwarder, or is where the captures
    were recorded.
    """
    allowed = {host.lower().strip("[]") for host in allow_hosts}
    named = bool(allowed & {target.host, f"{target.host}:{target.port}", target.authority})
    if not around.addresses:
        raise RefusedError(f"--{target.role} {target.url} cannot be reached: no address for {target.host}")
    if not named and not is_loopback(around.addresses):
        raise RefusedError(
            f"--{target.role} {target.url} is not on this machine: "
            f"add --allow-host {target.host} if that is where the load should go"
        )
    forwarder = next((holder for holder in around.holders if _forwards(holder)), None)
    if forwarder is not None and not named:
        raise RefusedError(
            f"--{target.role} {target.url} is held by {forwarder.command}, which forwards it elsewhere: "
            f"add --allow-host {target.host} if the load should go where it leads"
        )
    if not allow_source and any(is_source(target, around, header) for header in headers):
        raise RefusedError(
            f"--{target.role} {target.url} is where the capture was recorded: "
            "add --allow-source if the load should go back there"
        )


def is_source(target: Target, around: Surroundings, header: Header) -> bool:
    """Whether the capture was recorded at the target: its upstream, or the relay in front of it."""
    names = {target.host, *around.addresses}
    if is_loopback(around.addresses):
        names |= set(LOOPBACK_NAMES)
    known = set(header.source_digests)
    return any(source_digest(header.recording_id, name, target.port) in known for name in names)


def sendable(
    flags: NDArray[np.uint32], allow_paths: Sequence[str], line_of: Callable[[NDArray[np.int64]], Sequence[str]]
) -> NDArray[np.bool_]:
    """Which exchanges may be sent: those recognised as inference, and those whose ``METHOD /path`` (no query) matches one of
    ``allow_paths``. ``line_of`` gives these lines for ordinals; it is only asked where there is something to match.
    """
    allowed: NDArray[np.bool_] = (flags & Flags.INFERENCE) != 0
    if allow_paths:
        others = np.flatnonzero(~allowed)
        matches = [any(fnmatchcase(line, glob) for glob in allow_paths) for line in line_of(others)]
        allowed[others] = matches
    return allowed


def _own(address: str) -> bool:
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(ip, "ipv4_mapped", None) or ip
    # Connecting to the unspecified address connects to this machine.
    return bool(mapped.is_loopback or mapped.is_unspecified)


def _forwards(holder: Holder) -> bool:
    name = holder.command.rpartition("/")[2]
    return name[:15] in FORWARDERS or bool(FORWARDING_WORDS & set(holder.words))
