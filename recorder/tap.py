"""A way past mitmproxy's event machinery for bytes that need none of it.

mitmproxy reads a connection in a loop of its own, and gives every piece to its layers as an event: locks, generators, a look at
every writer. A lane that is open hands bytes on and nothing else; a reader that lets it take them first costs half as much.
"""

import asyncio
from collections.abc import Awaitable, Callable

type Taken = Awaitable[None] | bool
"""Whether bytes were taken: if so, what is to be waited for before more are read, or True."""


class Tap:
    """What mitmproxy needs of a StreamReader. ``take``: None, or who may take bytes before whoever reads sees them."""

    def __init__(self, reader: asyncio.StreamReader, take: Callable[[bytes], Taken] | None = None) -> None:
        self.take = take
        self._reader = reader

    async def read(self, n: int = -1) -> bytes:
        """As `asyncio.StreamReader.read`; bytes that were taken are not returned."""
        while True:
            data = await self._reader.read(n)
            if not data or self.take is None:
                return data
            taken = self.take(data)
            if taken is False:
                return data
            if taken is not True:
                await taken

    def exception(self) -> BaseException | None:
        return self._reader.exception()
