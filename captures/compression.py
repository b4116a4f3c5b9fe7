"""zstd streams that are cut into pieces, and their bounded reading. Compression is never called a codec.

A stream lives as long as a segment. ``cut`` ends a block, not the frame: everything before the cut can be decompressed,
and what follows still profits from it.
"""

from collections.abc import Sequence

import zstandard

from captures.frame import LIMITS, FrameError, Kind

# Measured on calls that are nearly random (digits, UUIDs: ~450 B of bodies, ~300 B of heads), 50 to a flush. Bytes of heads and
# bodies, of columns and chunks, and the CPU for all of it, per exchange; memory of a segment's five streams:
#   FAST                    89.1   30.3     1.6 us    3 MiB      level 3   94.5   28.8     2.4 us     6 MiB
#   SMALL, SMALL_NUMBERS    86.0   25.8     7.0 us    7 MiB      level 6   90.8   27.0     7.1 us    15 MiB
# Matches of less than six bytes cost more than the digits they replace, so level 3 is worse than level 1; rows of numbers live from
# them. Greater windows and tables gain below 1 % and cost five times the memory.
FAST = zstandard.ZstdCompressionParameters.from_level(1, write_content_size=False)
SMALL = zstandard.ZstdCompressionParameters.from_level(
    6,
    strategy=zstandard.STRATEGY_LAZY2,
    min_match=6,
    window_log=20,
    hash_log=18,
    chain_log=17,
    write_content_size=False,
)
SMALL_NUMBERS = zstandard.ZstdCompressionParameters.from_level(
    9, window_log=20, hash_log=17, chain_log=17, write_content_size=False
)


class Stream:
    """One kind of piece of one segment, being written."""

    def __init__(self, parameters: zstandard.ZstdCompressionParameters) -> None:
        # A compressor serves one stream at a time, so every stream has its own.
        self._stream = zstandard.ZstdCompressor(compression_params=parameters).compressobj()

    def cut(self, data: bytes) -> bytes:
        """The stored bytes of what follows the last cut, which is not empty."""
        return self._stream.compress(data) + self._stream.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)


def stream(kind: Kind, *, small: bool) -> Stream:
    """``small``: bytes matter more than time."""
    if not small:
        return Stream(FAST)
    return Stream(SMALL_NUMBERS if kind in (Kind.COLUMNS, Kind.CHUNKS) else SMALL)


def decompress(pieces: Sequence[bytes], raw: int) -> bytes:
    """The first pieces of a stream, which claim ``raw`` bytes in all. Never produces more than that.

    Raises FrameError.
    """
    if not pieces:
        return b""
    if raw > LIMITS["segment"]:
        raise FrameError(f"a segment claims more bytes than the limit ({raw})")
    decompressor = zstandard.ZstdDecompressor(max_window_size=LIMITS["window"])
    try:
        with decompressor.stream_reader(b"".join(pieces)) as reader:
            data = reader.read(raw + 1)  # one more than claimed, to see that there is no more
    except zstandard.ZstdError as error:
        raise FrameError(f"a stream does not decompress: {error}") from error
    if len(data) != raw:
        raise FrameError("a stream contradicts its length")
    return data
