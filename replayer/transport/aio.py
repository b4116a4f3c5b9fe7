"""The full-featured transport: aiohttp, one session, as many connections as it takes.

Bytes go out as they are given: no redirects, no cookies, no decompression, no proxy from the environment, no retry. A row is an
eager task, so that on a free connection the request is on the wire before ``submit`` returns and ``dispatched`` is the truth.
"""

import asyncio
from collections.abc import Callable
from functools import partial

import aiohttp
from aiohttp.client_proto import ResponseHandler
from yarl import URL

from captures.errors import RefusedError
from captures.exchange import FailureKind, Headers
from replayer.target import Target
from replayer.transport import Event, OnEvent, Wire

PROBE_S = 5.0
KEEP_ALIVE_S = 4.0
"""Below the idle timeouts servers use (uvicorn 5 s): a connection the server is about to close would turn into a failed row."""
LINE_BYTES = 64 << 10  # of one response header; a longer one is a protocol failure
SKIPPED = ("User-Agent", "Accept", "Accept-Encoding", "Content-Type")  # aiohttp adds these; the recording decides

# The first row that fits decides: subclasses stand before their bases.
FAILURES: tuple[tuple[type[BaseException], FailureKind], ...] = (
    (aiohttp.ConnectionTimeoutError, FailureKind.TIMEOUT),
    (TimeoutError, FailureKind.TIMEOUT),
    (asyncio.CancelledError, FailureKind.TIMEOUT),  # the transport was closed
    (aiohttp.ClientConnectorError, FailureKind.CONNECT),
    (aiohttp.ServerFingerprintMismatch, FailureKind.CONNECT),
    (aiohttp.ServerConnectionError, FailureKind.RESET),
    (aiohttp.ClientOSError, FailureKind.RESET),
    (aiohttp.http_exceptions.TransferEncodingError, FailureKind.PROTOCOL),
    (aiohttp.http_exceptions.ContentLengthError, FailureKind.RESET),
    (aiohttp.http_exceptions.PayloadEncodingError, FailureKind.PROTOCOL),
    (aiohttp.http_exceptions.HttpProcessingError, FailureKind.PROTOCOL),
    (aiohttp.ClientPayloadError, FailureKind.RESET),
    (aiohttp.ClientResponseError, FailureKind.PROTOCOL),
    (ConnectionError, FailureKind.RESET),
    (OSError, FailureKind.CONNECT),
)


def failure_of(error: BaseException) -> FailureKind:
    """What an exception means. Anything the table does not know is our own fault."""
    return next((kind for library, kind in FAILURES if isinstance(error, library)), FailureKind.INTERNAL)


class _Handler(ResponseHandler):
    """Tells the reader of a body that turned out to be no HTTP; aiohttp closes the connection and leaves the reader waiting."""

    def connection_lost(self, exc: BaseException | None) -> None:
        payload = self._payload
        super().connection_lost(exc)
        if payload is not None and not payload.is_eof() and payload.exception() is None:
            payload.set_exception(self.exception() or aiohttp.ServerDisconnectedError())


class AiohttpTransport:
    """``timeout_ns``: from dispatch to the last byte. ``now_ns``: the run's clock."""

    def __init__(self, target: Target, *, timeout_ns: int, now_ns: Callable[[], int]) -> None:
        self._target = target
        self._timeout_ns = timeout_ns
        self._now_ns = now_ns
        self._session: aiohttp.ClientSession | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._origin = f"{target.scheme}://{target.authority}{target.prefix}"

    async def open(self) -> None:
        """Raises RefusedError where nobody listens, or TLS fails."""
        await self._probe()
        timings = aiohttp.TraceConfig()
        timings.on_connection_create_start.append(self._connecting)
        timings.on_connection_create_end.append(self._connected)
        # Names are resolved once: a lookup in the middle of a run would be our delay, not the target's.
        connector = aiohttp.TCPConnector(limit=0, ttl_dns_cache=None, keepalive_timeout=KEEP_ALIVE_S)
        made = partial(_Handler, loop=asyncio.get_running_loop())
        connector._factory = made  # type: ignore[assignment]  # noqa: SLF001 - see _Handler
        self._session = aiohttp.ClientSession(
            connector=connector,
            timeout=aiohttp.ClientTimeout(total=self._timeout_ns / 1e9, ceil_threshold=float("inf")),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            skip_auto_headers=SKIPPED,
            trace_configs=[timings],
            max_line_size=LINE_BYTES,
            max_field_size=LINE_BYTES,
        )
        # aiohttp sends idempotent requests again where a kept connection was closed: a retry nobody counts.
        self._session._retry_connection = False  # noqa: SLF001 - there is no public switch

    def submit(self, row: int, wire: Wire, on_event: OnEvent) -> None:
        loop = asyncio.get_running_loop()
        task = asyncio.Task(self._send(row, wire, on_event), loop=loop, eager_start=True)
        if not task.done():
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    async def _probe(self) -> None:
        loop, target = asyncio.get_running_loop(), self._target
        try:
            async with asyncio.timeout(PROBE_S):
                transport, _ = await loop.create_connection(
                    asyncio.Protocol, target.host, target.port, ssl=True if target.scheme == "https" else None
                )
        except OSError as error:  # TimeoutError and ssl.SSLError are among them
            why = error.strerror or str(error) or f"no answer within {PROBE_S:g} s"
            raise RefusedError(f"--{target.role} {target.url} cannot be reached: {why}") from error
        transport.close()

    async def _send(self, row: int, wire: Wire, on_event: OnEvent) -> None:
        now_ns = self._now_ns

        def connected(spent_ns: int) -> None:
            on_event(row, Event.CONNECTED, now_ns(), spent_ns, None)

        response: aiohttp.ClientResponse | None = None
        try:
            assert self._session is not None
            response = await self._session.request(
                wire.method,
                URL(self._origin + wire.target, encoded=True),
                data=wire.body or None,
                headers=wire.headers,
                allow_redirects=False,
                trace_request_ctx=connected,
            )
            headers: Headers = tuple(
                (name.decode("latin-1"), value.decode("latin-1")) for name, value in response.raw_headers
            )
            on_event(row, Event.HEAD, now_ns(), response.status, headers)
            size = 0
            content = response.content
            while chunk := await content.readany():
                size += len(chunk)
                on_event(row, Event.CHUNK, now_ns(), 0, chunk)
            response.release()
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - whatever it is, the row gets its last event
            if response is not None:
                response.close()
            on_event(row, Event.FAILED, now_ns(), failure_of(error), type(error).__name__)
        else:
            on_event(row, Event.DONE, now_ns(), size, None)

    async def _connecting(self, _session: object, context: object, _params: object) -> None:
        context.began_ns = self._now_ns()  # type: ignore[attr-defined]  # a namespace of aiohttp's, ours to fill

    async def _connected(self, _session: object, context: object, _params: object) -> None:
        context.trace_request_ctx(self._now_ns() - context.began_ns)  # type: ignore[attr-defined]  # as above
