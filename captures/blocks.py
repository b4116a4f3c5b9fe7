"""Remote files in blocks: what was fetched is kept while there is room, what is read in order is read ahead.

Pure: bytes come from ``fetch``, which answers many requests at once. A block is fetched once as long as the cache holds it; blocks
that are neighbours travel in one request.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

BLOCK_BYTES = 16 << 10
"""One touch of a file costs one block: small enough that skipping from piece to piece stays a small part of the file."""
CACHE_BYTES = 64 << 20
LARGEST_REQUEST = 4 << 20
READ_AHEAD = 8 << 20
ENDS_AT_ONCE = 16
"""Files whose beginning and end are fetched together, when the first of them is touched."""

type Fetch = Callable[[Sequence[tuple[int, int, int]]], list[bytes]]
"""(file, start, stop) for each request; the bytes of each, all of them. Raises CaptureError."""


@dataclass(slots=True)
class Traffic:
    """What reading cost: requests (of listing and looking up as well) and the bytes that came."""

    requests: int = 0
    bytes: int = 0


class BlockCache:
    """The blocks of several files, the least recently used of which go when there are too many.

    ``sizes``: of the files, in bytes; a file is named by its place there.
    """

    def __init__(
        self, sizes: Sequence[int], fetch: Fetch, *, block: int = BLOCK_BYTES, limit: int = CACHE_BYTES
    ) -> None:
        self._sizes, self._fetch, self._block, self._limit = sizes, fetch, block, max(limit // block, 2)
        self._kept: OrderedDict[tuple[int, int], bytes] = OrderedDict()
        self._next = [-1] * len(sizes)  # the block behind the last one that was fetched
        self._ahead = [0] * len(sizes)  # blocks to read ahead
        self._touched = [False] * len(sizes)

    def read_at(self, file: int, offset: int, size: int) -> bytes:
        """Fewer bytes at the end of the file. Raises what ``fetch`` raises."""
        stop = min(offset + size, self._sizes[file])
        if stop <= offset:
            return b""
        if not self._touched[file]:
            self._touch(file)
        first, last = offset // self._block, (stop - 1) // self._block
        missing: list[int] = []
        found: dict[int, bytes] = {}
        for block in range(first, last + 1):
            kept = self._kept.get((file, block))
            if kept is None:
                missing.append(block)
            else:
                self._kept.move_to_end((file, block))
                found[block] = kept
        if missing:
            ahead = self._look_ahead(file, missing[0], last)
            # What is read may be more than the cache holds: it is joined from what came, not from what was kept.
            found |= {
                block: data for (_, block), data in self._get([(file, each) for each in (*missing, *ahead)]).items()
            }
        data = found[first] if first == last else b"".join(found[block] for block in range(first, last + 1))
        base = first * self._block
        return data[offset - base : stop - base]

    def prefetch(self, file: int, ranges: Iterable[tuple[int, int]]) -> None:
        """Fetch (offset, size) ranges that will soon be read, all at once; as many as half the cache holds.

        Raises what ``fetch`` raises.
        """
        blocks = sorted(
            {
                block
                for offset, size in ranges
                if size > 0 and 0 <= offset < self._sizes[file]
                for block in range(
                    offset // self._block, (min(offset + size, self._sizes[file]) - 1) // self._block + 1
                )
            }
        )
        missing = [(file, block) for block in blocks if (file, block) not in self._kept]
        if missing:
            self._get(missing[: self._limit // 2])

    def _touch(self, file: int) -> None:
        """Whoever opens a capture reads its beginning and its end; whoever opens many files opens the next ones soon."""
        near = [other for other in range(file, min(file + ENDS_AT_ONCE, len(self._sizes))) if not self._touched[other]]
        for other in near:
            self._touched[other], self._next[other] = True, 1
        ends = {
            (other, block) for other in near for block in (0, (self._sizes[other] - 1) // self._block) if block >= 0
        }
        self._get(sorted(ends - self._kept.keys()))

    def _look_ahead(self, file: int, first: int, last: int) -> range:
        """Blocks behind ``last`` to fetch as well: twice as many each time that reading went on where it had stopped."""
        in_order = first == self._next[file]
        self._ahead[file] = min(max(self._ahead[file] * 2, 1), READ_AHEAD // self._block) if in_order else 0
        stop = min(last + 1 + self._ahead[file], -(-self._sizes[file] // self._block))
        stop = next((block for block in range(last + 1, stop) if (file, block) in self._kept), stop)
        self._next[file] = stop
        return range(last + 1, stop)

    def _get(self, blocks: Sequence[tuple[int, int]]) -> dict[tuple[int, int], bytes]:
        """Fetch and keep; ``blocks`` are sorted."""
        requests = [(file, first * self._block, self._end(file, last)) for file, first, last in self._runs(blocks)]
        if not requests:
            return {}
        found: dict[tuple[int, int], bytes] = {}
        for (file, start, _), data in zip(requests, self._fetch(requests), strict=True):
            for at in range(0, len(data), self._block):
                found[file, (start + at) // self._block] = data[at : at + self._block]
        self._kept.update(found)
        while len(self._kept) > self._limit:
            self._kept.popitem(last=False)
        return found

    def _runs(self, blocks: Sequence[tuple[int, int]]) -> list[tuple[int, int, int]]:
        """(file, first, last) of neighbours, none larger than a request may be."""
        most = max(LARGEST_REQUEST // self._block, 1)
        runs: list[tuple[int, int, int]] = []
        for file, block in blocks:
            if runs and (file, block - 1) == (runs[-1][0], runs[-1][2]) and block - runs[-1][1] < most:
                runs[-1] = (file, runs[-1][1], block)
            else:
                runs.append((file, block, block))
        return runs

    def _end(self, file: int, block: int) -> int:
        return min((block + 1) * self._block, self._sizes[file])
