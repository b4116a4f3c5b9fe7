"""What the safety rails need to know of this machine: the target's addresses, and who holds a loopback port."""

import re
import socket
from collections.abc import Iterator
from pathlib import Path

from replayer.rails import Holder, Surroundings, is_loopback
from replayer.target import Target

LISTEN = "0A"  # the state column of /proc/net/tcp


def look_around(target: Target, proc: Path = Path("/proc")) -> Surroundings:
    """Resolve the target and, where it is on this machine, see who listens. Blocks; call it before the run."""
    try:
        found = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    except OSError:
        return Surroundings(())
    addresses = tuple(dict.fromkeys(str(entry[4][0]) for entry in found))
    return Surroundings(addresses, tuple(holders(target.port, proc)) if is_loopback(addresses) else ())


def holders(port: int, proc: Path = Path("/proc")) -> Iterator[Holder]:
    """The processes that listen on ``port``. Where another user's descriptors may not be read, a process of the user who owns such
    a socket counts if its arguments name the port: that is how root's tunnel to production looks from here.
    """
    sockets = {inode: uid for table in ("tcp", "tcp6") for inode, uid in _listening(proc / "net" / table, port)}
    links = {f"socket:[{inode}]" for inode in sockets}
    if not links:
        return
    for process in proc.glob("[0-9]*"):
        try:
            words = tuple((process / "cmdline").read_bytes().decode("utf-8", "replace").split("\0"))
            try:
                holds = any(str(link.readlink()) in links for link in (process / "fd").iterdir())
            except PermissionError:
                named = re.search(rf"(?<!\d){port}(?!\d)", " ".join(words))
                holds = named is not None and process.stat().st_uid in sockets.values()
            if holds:
                yield Holder((process / "comm").read_text().strip(), words)
        except OSError:  # it ended while we looked
            continue


def _listening(table: Path, port: int) -> Iterator[tuple[str, int]]:
    try:
        lines = table.read_text().splitlines()[1:]
    except OSError:  # not Linux, or no such family
        return
    for line in lines:
        fields = line.split()
        if fields[3] == LISTEN and int(fields[1].rpartition(":")[2], 16) == port:
            yield fields[9], int(fields[7])
