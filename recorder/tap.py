"""A way past mitmproxy's event machinery for bytes that need none of it.

mitmproxy reads a connection in a loop of its own, and gives every piece to its layers as an event: locks, generators, a look at
every writer. A lane that is open hands bytes on and nothing else; a reader that lets it take them first costs half as much.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

type Taken = Awaitable[None] | bool
"""Whether bytes were taken: if so, what is to be waited for before more are read, or True."""


_READ = 1 << 18


class Tap:
    """What mitmproxy needs of a StreamReader. ``take``: None, or who may take bytes before whoever reads sees them."""

    def __init__(self, reader: asyncio.StreamReader, take: Callable[[bytes], Taken] | None = None) -> None:
        self.take = take
        self.inner = reader

    async def read(self, n: int = -1) -> bytes:
        """As `asyncio.StreamReader.read`; bytes that were taken are not returned."""
        while True:
            data = await self.inner.read(n)
            if not data or self.take is None:
                return data
            taken = self.take(data)
            if taken is False:
                return data
            if taken is not True:
                await taken

    def exception(self) -> BaseException | None:
        return self.inner.exception()


def hear_out(reader: asyncio.StreamReader | Tap, writer: asyncio.StreamWriter, on_cut: Callable[[], None]) -> None:
    """Where a connection is reset, read what came before it to the end; ``on_cut`` tells that this end was none.

    A StreamReader forgets what was not read yet, and a write that fails keeps asyncio from reading at all. It costs, mostly,
    the refusal of a server that did not want the rest of a body.
    """
    inner = reader.inner if isinstance(reader, Tap) else reader

    def end(exc: Exception) -> None:
        del exc
        on_cut()
        with contextlib.suppress(OSError), writer.get_extra_info("socket").dup() as own:
            own.setblocking(False)
            while data := own.recv(_READ):
                inner.feed_data(data)
        inner.feed_eof()

    inner.set_exception = end  # type: ignore[method-assign]  # asyncio asks nobody else
