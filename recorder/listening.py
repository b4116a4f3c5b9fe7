"""The sockets of a recorder that its processes share, and how many descriptors they may have."""

import contextlib
import resource
import socket

from captures.errors import UsageError
from recorder.options import Address

BACKLOG = 4096


def bound(listen: Address, name: str = "--listen") -> tuple[socket.socket, Address]:
    """A socket that does not listen yet, and its address, with the port found where 0 was asked. Raises UsageError."""
    family = socket.AF_INET6 if ":" in listen.host else socket.AF_INET
    opened = None
    try:
        (_, _, _, _, where), *_ = socket.getaddrinfo(
            listen.host, listen.port, family, socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        opened = socket.socket(family, socket.SOCK_STREAM)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        opened.bind(where)
        return opened, Address(listen.host, opened.getsockname()[1])
    except OSError as error:
        if opened is not None:
            opened.close()
        raise _cannot(listen, name, error) from None


def open_port(listener: socket.socket, listen: Address, name: str = "--listen") -> None:
    """Raises UsageError."""
    try:
        listener.listen(BACKLOG)
    except OSError as error:
        raise _cannot(listen, name, error) from None


def raise_limits() -> None:
    """As many descriptors as the system allows: a relay needs two for each client."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _cannot(listen: Address, name: str, error: OSError) -> UsageError:
    return UsageError(f"{name} {listen}: {error.strerror or 'cannot be opened'}; name another address or port")
