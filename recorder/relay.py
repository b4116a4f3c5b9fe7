"""The relay of ``shadowtape record``: an embedded mitmproxy in reverse mode, with only the addons a proxy needs.

Proxyserver (the sockets), NextLayer (which protocol), TlsConfig (only towards an https upstream), and our `Recorder`. The
stock tools run some forty addons, each asked about every event.
"""

# mypy: allow-untyped-calls
# (mitmproxy annotates few of its methods)

import asyncio
import contextlib
import logging
import os
import tempfile
import time
from dataclasses import dataclass

from mitmproxy.addons import next_layer, proxyserver, tlsconfig
from mitmproxy.master import Master
from mitmproxy.options import Options

from captures.errors import UsageError
from recorder.addon import RELAY_OPTIONS, Recorder
from recorder.options import Address, Upstream

_POLL_S = 0.02
_CUT_S = 1.0


class Relay:
    """An embedded mitmproxy in reverse mode. One per process: mitmproxy keeps its options in a global."""

    def __init__(self, recorder: Recorder, upstream: Upstream, listen: Address) -> None:
        self._recorder = recorder
        self._upstream = upstream
        self._listen = listen
        self._folder = contextlib.ExitStack()

    @property
    def port(self) -> int:
        """Where it listens, once started."""
        return int(self._servers.listen_addrs()[0][1])

    async def start(self) -> None:
        """Open the port. Raises UsageError where it cannot be opened."""
        # mitmproxy's log lines may quote traffic, and a closed connection is no news.
        logging.getLogger("mitmproxy").setLevel(logging.CRITICAL)
        self._master = Master(Options())
        self._servers = proxyserver.Proxyserver()
        self._master.addons.add(self._servers, self._recorder, next_layer.NextLayer())
        if self._upstream.scheme == "https":
            self._master.options.update(
                # Home of a certificate authority for clients that speak TLS to us; nothing of it is to stay behind.
                confdir=self._folder.enter_context(tempfile.TemporaryDirectory(prefix="shadowtape-")),
                ssl_verify_upstream_trusted_ca=os.environ.get("SSL_CERT_FILE"),  # as curl and Python have it
            )
            self._master.addons.add(tlsconfig.TlsConfig())
        ready = _Ready(asyncio.Event())
        self._master.addons.add(ready)
        self._master.options.update(
            mode=[f"reverse:{self._upstream}"],
            listen_host=self._listen.host,
            listen_port=self._listen.port,
            http2=False,  # towards the upstream: answer an HTTP/1.1 client over the HTTP/1.1 it would have got directly
            **RELAY_OPTIONS,
        )
        self._task = asyncio.create_task(self._master.run())
        running = asyncio.create_task(ready.event.wait())
        await asyncio.wait({self._task, running}, return_when=asyncio.FIRST_COMPLETED)
        running.cancel()
        errors = [server.last_exception for server in self._servers.servers if server.last_exception]
        if errors or self._task.done():
            await self.close()
            first = errors[0] if errors else None
            why = os.strerror(first.errno or 0) if isinstance(first, OSError) else "the relay did not start"
            raise UsageError(f"--listen {self._listen}: {why}; name another port, or 0 for a free one")

    async def drain(self, timeout_s: float) -> None:
        """Stop accepting, let what is in flight finish and reach its client; after ``timeout_s`` leave the rest."""
        self._recorder.draining = True
        await self._servers.servers.update([])
        until = time.monotonic() + timeout_s
        transports: set[asyncio.WriteTransport] = set()
        quiet = 0
        while quiet < 2 and time.monotonic() < until:  # twice: the hook runs before the last bytes are handed over
            for handler in self._servers.connections.values():
                transports |= {
                    io.writer.transport
                    for io in handler.transports.values()
                    if isinstance(io.writer, asyncio.StreamWriter)
                }
            idle = not self._recorder.live and not any(each.get_write_buffer_size() for each in transports)
            quiet = quiet + 1 if idle else 0
            await asyncio.sleep(_POLL_S)

    async def close(self) -> None:
        """Cut what is left and stop."""
        await self._servers.servers.update([])
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
        self._folder.close()


@dataclass(frozen=True, slots=True)
class _Ready:
    """An addon that tells when the servers are set up."""

    event: asyncio.Event

    def running(self) -> None:
        self.event.set()
