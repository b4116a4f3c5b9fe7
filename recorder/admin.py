"""Health and metrics over HTTP, in a process of its own: a scraper that is slow or hostile can disturb nothing but this.

It knows nothing but the board of counters. One answer per connection; a client that takes long, sends much or comes in numbers is
cut off.
"""

import asyncio
import contextlib
import json
import os
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable

from captures.version import __version__
from recorder.board import Board, Count
from recorder.metrics import CONTENT_TYPE, exposition

ANSWER_S = 5.0  # for a client to ask, and again to take the answer
HANGS_S = 10.0  # a relay whose event loop has not come round for so long serves nobody
MOST_CLIENTS = 64
_HEAD_BYTES = 8 << 10
_JSON = "application/json"
_REASONS = {200: "OK", 400: "Bad Request", 404: "Not Found", 405: "Method Not Allowed", 503: "Service Unavailable"}

type Answer = tuple[int, str, str]
"""Status, content type, body."""


def serve(listener: socket.socket, board: Board, control: socket.socket) -> int:
    """Until ``control`` is at its end: the supervisor is gone. The body of a forked process; signals are the supervisor's."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    with contextlib.suppress(OSError):
        os.nice(10)  # relaying goes first
    asyncio.run(_serve(listener, board, control))
    return 0


async def _serve(listener: socket.socket, board: Board, control: socket.socket) -> None:
    over = asyncio.Event()
    control.setblocking(False)
    asyncio.get_running_loop().add_reader(control, over.set)  # it never says anything but its end
    async with answering(listener, board):
        await over.wait()
    asyncio.get_running_loop().remove_reader(control)


@contextlib.asynccontextmanager
async def answering(listener: socket.socket, board: Board, answer_s: float = ANSWER_S) -> AsyncIterator[None]:
    """Answers on the listener, which is closed at the end, with everybody who is still connected."""
    clients: set[asyncio.StreamWriter] = set()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(clients) >= MOST_CLIENTS:
            writer.transport.abort()
            return
        clients.add(writer)
        try:
            async with asyncio.timeout(answer_s):
                head = await reader.readuntil(b"\r\n\r\n")
            async with asyncio.timeout(answer_s):
                writer.write(response(head, board))
                await writer.drain()
                writer.close()
                await writer.wait_closed()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            writer.transport.abort()
        finally:
            clients.discard(writer)

    server = await asyncio.start_server(talk, sock=listener, limit=_HEAD_BYTES)
    try:
        yield
    finally:
        server.close()
        server.abort_clients()


def response(head: bytes, board: Board) -> bytes:
    """The whole answer to a request's head."""
    words = head.partition(b"\r\n")[0].decode("latin-1").split(" ")
    if len(words) != 3:
        status, kind, body = 400, _JSON, '{"error": "not a request"}'
    elif words[0] not in ("GET", "HEAD"):
        status, kind, body = 405, _JSON, '{"error": "GET only"}'
    else:
        status, kind, body = PAGES.get(words[1].partition("?")[0], _no_page)(board)
    data = body.encode()
    lines = (
        f"HTTP/1.1 {status} {_REASONS[status]}",
        f"Content-Type: {kind}",
        f"Content-Length: {len(data)}",
        "Cache-Control: no-store",
        "Connection: close",
    )
    return "\r\n".join((*lines, "", "")).encode() + (b"" if words[0] == "HEAD" else data)


def _health(board: Board) -> Answer:
    """Every worker relays, and the port is open."""
    return _state(board, all)


def _readiness(board: Board) -> Answer:
    """Some worker relays, and the port is open: whoever connects is served. Recording is no part of it."""
    return _state(board, any)


def _state(board: Board, enough: Callable[[list[bool]], bool]) -> Answer:
    now_s = time.monotonic()
    alive = [_runs(row[Count.RELAY_PID]) and now_s - row[Count.RELAY_BEAT_S] < HANGS_S for row in board.rows]
    draining = board.total(Count.DRAINING) > 0
    well = enough(alive) and not draining
    told = {
        "status": "ok" if well else "draining" if draining else "relay down",
        "workers": [
            {"worker": worker, "relaying": relays, "recording": board.rows[worker][Count.RECORDING] > 0}
            for worker, relays in enumerate(alive)
        ],
        "version": __version__,
    }
    return 200 if well else 503, _JSON, json.dumps(told)


def _runs(pid: int) -> bool:
    """The supervisor reaps its relays at once, so a process of this number is no zombie."""
    if pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _metrics(board: Board) -> Answer:
    return 200, CONTENT_TYPE, exposition(board.rows, __version__)


def _no_page(board: Board) -> Answer:  # noqa: ARG001 - as its neighbours
    return 404, _JSON, json.dumps({"error": f"there is {', '.join(PAGES)}"})


PAGES: dict[str, Callable[[Board], Answer]] = {"/healthz": _health, "/readyz": _readiness, "/metrics": _metrics}
