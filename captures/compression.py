"""zstd streams that are cut into pieces, and their bounded reading. Compression is never called a codec.

A stream lives as long as a segment. ``cut`` ends a block, not the frame: everything before the cut can be decompressed,
and what follows still profits from it.
"""

from collections.abc import Sequence

import zstandard

from captures.frame import LIMITS, FrameError


class Stream:
    """One kind of piece of one segment, being written."""

    def __init__(self, level: int) -> None:
        # A compressor serves one stream at a time, so every stream has its own.
        compressor = zstandard.ZstdCompressor(level=level, write_checksum=False, write_content_size=False)
        self._stream = compressor.compressobj()
        self._stored: list[bytes] = []
        self._raw = 0

    def add(self, data: bytes) -> None:
        self._raw += len(data)
        self._stored.append(self._stream.compress(data))

    def cut(self) -> tuple[bytes, int]:
        """(stored bytes, raw length) since the last cut; (b"", 0) where nothing was added."""
        if not self._raw:
            return b"", 0
        self._stored.append(self._stream.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK))
        cut = b"".join(self._stored), self._raw
        self._stored, self._raw = [], 0
        return cut


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
