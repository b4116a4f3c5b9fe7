"""The relay of ``shadowtape record``: an embedded mitmproxy on a listener that it inherited, with only the addons a proxy needs.

Proxyserver (the connections), NextLayer (which protocol), TLS of ours, and our `Recorder`. The stock tools run some
forty addons, each asked about every event. mitmproxy opens no port of its own: several relays share one.
"""

# mypy: allow-untyped-calls
# (mitmproxy annotates few of its methods)

import asyncio
import contextlib
import logging
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from mitmproxy import exceptions
from mitmproxy.addons import next_layer, proxyserver
from mitmproxy.master import Master
from mitmproxy.options import Options
from mitmproxy.proxy import mode_specs
from mitmproxy.proxy.mode_servers import ServerInstance
from mitmproxy.proxy.server_hooks import ServerConnectionHookData

from captures.errors import UsageError
from recorder.addon import Recorder
from recorder.board import Count
from recorder.modes import Mode, Tls
from recorder.recording import Recording
from recorder.service import Seat
from recorder.tap import Tap
from recorder.tls import Certificates, options_for

_POLL_S = 0.02
_CUT_S = 1.0
_RETRY_S = 0.1  # no descriptor left for another connection
_BITE = 8  # connections taken at once: the other workers are to have theirs
_READ = 1 << 16


def relaying(mode: Mode, tls: Tls) -> Callable[[Seat, Recording], "Relay"]:
    """What makes the relays of a recording. To be called before they are forked: all show the same certificates. Raises UsageError
    where a file cannot be used.
    """
    options = options_for(mode, tls)
    certificates = Certificates(tls)
    return lambda seat, recording: Relay(seat, recording, options, certificates)


class Relay:
    """A service (`recorder.service.Service`). One per process: mitmproxy keeps its options in a global."""

    def __init__(
        self, seat: Seat, recording: Recording, options: Mapping[str, Any], certificates: Certificates
    ) -> None:
        """``options`` of mitmproxy; the first ``mode`` is that of the listener."""
        self._seat = seat
        self._row = seat.board.rows[seat.worker]
        self._options = options
        self._certificates = certificates
        self.recorder = Recorder(recording, seat.zero_ns, seat.connection)
        self._accepting = False
        self._arriving: set[asyncio.Task[Any]] = set()

    async def start(self) -> None:
        """Take connections. Raises UsageError: mitmproxy does not like its options."""
        # mitmproxy's log lines may quote traffic, and a closed connection is no news.
        logging.getLogger("mitmproxy").setLevel(logging.CRITICAL)
        self._master = Master(Options())
        self._servers = proxyserver.Proxyserver()
        ready = _Ready(asyncio.Event())
        own = _NotToItself(self._seat.listener.getsockname())
        self._master.addons.add(
            *(self._servers, own, self._certificates.addon(), self.recorder, next_layer.NextLayer(), ready)
        )
        try:
            self._master.options.update(**self._options, server=False)
            mode = mode_specs.ProxyMode.parse(self._options["mode"][0])
        except (exceptions.OptionsError, ValueError) as error:
            raise UsageError(f"the relay cannot start: {error}") from None
        self._instance: Any = ServerInstance.make(mode, self._servers)
        self._task = asyncio.create_task(self._master.run())
        await ready.event.wait()
        self._seat.listener.setblocking(False)
        self._accept_on()

    async def drain(self, timeout_s: float) -> None:
        """Stop accepting, let what is in flight finish and reach its client; after ``timeout_s`` leave the rest."""
        self._stop_accepting()
        self.recorder.draining = True
        until = time.monotonic() + timeout_s
        quiet = 0
        while quiet < 2 and time.monotonic() < until:  # twice: the hook runs before the last bytes are handed over
            quiet = quiet + 1 if self._idle() else 0
            await asyncio.sleep(_POLL_S)

    def abandon(self) -> None:
        """The recording ends, the relaying goes on: what is in the making is cut off."""
        self.recorder.abandon()

    async def close(self) -> None:
        """Cut what is left and stop."""
        self._stop_accepting()
        for handler in list(self._servers.connections.values()):
            client = handler.transports.get(handler.client)
            if client is not None and client.handler is not None:
                client.handler.cancel()  # once: a second time would interrupt mitmproxy's own tidying up
        until = time.monotonic() + _CUT_S
        while self._servers.connections and time.monotonic() < until:  # noqa: ASYNC110 - mitmproxy has no event for it
            await asyncio.sleep(0.001)
        self._master.shutdown()
        with contextlib.suppress(Exception):
            await self._task

    def _accept_on(self) -> None:
        self._accepting = True
        asyncio.get_running_loop().add_reader(self._seat.listener, self._accept)

    def _stop_accepting(self) -> None:
        if self._accepting:
            asyncio.get_running_loop().remove_reader(self._seat.listener)
            while self._accept():  # whoever has connected is served; a closed port would reset them
                pass
            self._accepting = False
        self._seat.listener.close()

    def _accept(self) -> bool:
        """False: nobody waits any more. Several relays are woken for one client, and all but one find nobody."""
        loop = asyncio.get_running_loop()
        for _ in range(_BITE):
            try:
                client, _ = self._seat.listener.accept()
            except BlockingIOError:
                return False
            except ConnectionAbortedError:
                continue
            except OSError:  # no descriptor left: look again when there may be one
                if self._accepting:
                    loop.remove_reader(self._seat.listener)
                    loop.call_later(_RETRY_S, self._look_again)
                return False
            client.setblocking(False)
            # asyncio sees to it where it accepts itself; without, the second event of a stream waits 40 ms for the client's receipt
            with contextlib.suppress(OSError):  # it is gone already
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._row[Count.CONNECTIONS] += 1
            arriving = loop.create_task(self._welcome(client))
            self._arriving.add(arriving)
            arriving.add_done_callback(self._arriving.discard)
        return True

    def _look_again(self) -> None:
        if self._accepting:
            self._accept_on()

    async def _welcome(self, client: socket.socket) -> None:
        loop = asyncio.get_running_loop()

        def protocol() -> asyncio.StreamReaderProtocol:
            return asyncio.StreamReaderProtocol(asyncio.StreamReader(_READ, loop), self._talk, loop)

        try:
            await loop.connect_accepted_socket(protocol, client)
        except OSError:  # it is gone already
            client.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._row[Count.OPEN_CONNECTIONS] += 1
        try:
            await self._instance.handle_stream(Tap(reader), writer)
        finally:
            writer.close()  # mitmproxy does, unless it was told to twice: its second cancelling interrupts the first
            self._row[Count.OPEN_CONNECTIONS] -= 1

    def _idle(self) -> bool:
        if not self.recorder.idle or self._arriving:
            return False
        return not any(
            io.writer.transport.get_write_buffer_size()
            for handler in self._servers.connections.values()
            for io in handler.transports.values()
            if isinstance(io.writer, asyncio.StreamWriter)
        )


@dataclass(frozen=True, slots=True)
class _Ready:
    """An addon that tells when mitmproxy is set up."""

    event: asyncio.Event

    def running(self) -> None:
        self.event.set()


@dataclass(frozen=True, slots=True)
class _NotToItself:
    """An addon that refuses to relay to the relay, as mitmproxy does where the port is its own."""

    listening: tuple[Any, ...]

    def server_connect(self, data: ServerConnectionHookData) -> None:
        assert data.server.address
        host, port = data.server.address[:2]
        if port == self.listening[1] and host in {"localhost", "127.0.0.1", "::1", self.listening[0]}:
            data.server.error = "this is the relay itself"
