"""The chunks of bodies as differences: what stands in ``chunks`` payloads from version 2 on. Pure.

Most bodies are one chunk, which arrives when the body ends and is all of it: then nothing is left to say. A time is stored as what
is missing to the time of the next chunk of its side, the last one's to the side's end; the bytes of a side's last chunk are stored
as 0, being what is left of the body.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from captures.columns import Columns, Declared
from captures.frame import FrameError
from captures.planes import pack, unpack

CHUNK_ROW = (Declared("time", "<i8"), Declared("bytes", "<u4"))


def pack_chunks(columns: Columns, since_ns: NDArray[np.int64], sizes: NDArray[np.uint32]) -> bytes:
    """The payload of a flush. ``since_ns``: from each exchange's arrival; the chunks of a side add up to what was kept of it."""
    if not len(since_ns):
        return b""
    stops, lasts, ends_ns = _sides(columns)
    upcoming = np.empty_like(since_ns)
    upcoming[:-1] = since_ns[1:]
    upcoming[lasts] = ends_ns[stops]
    left = sizes.copy()
    left[lasts] = 0
    return pack(CHUNK_ROW, {"time": upcoming - since_ns, "bytes": left}, {})


def unpack_chunks(data: bytes, columns: Columns, counts: Sequence[int]) -> tuple[NDArray[np.int64], NDArray[np.uint32]]:
    """Time from its exchange's arrival and bytes of every chunk, over all flushes of a segment. ``counts``: exchanges of each.

    Times wrap around: whether they can be is for the caller to see. Raises FrameError.
    """
    per_side = _per_side(columns)
    ends = np.concatenate(([0], np.cumsum(per_side)))
    flushes = np.concatenate(([0], 2 * np.cumsum(np.array(counts, dtype=np.int64))))
    rows = unpack(CHUNK_ROW, data, np.diff(ends[flushes]).tolist())
    stops, lasts, ends_ns = _sides(columns)
    missing = rows["time"].astype(np.int64, copy=False)
    # A chunk is as far from its side's end as it and the chunks behind it are missing: a sum up to the last, less one up to here.
    since = np.cumsum(missing)
    to_the_end = ends_ns[stops] - since[lasts]
    since -= missing
    since += np.repeat(to_the_end, per_side[stops])
    sizes = rows["bytes"].astype(np.int64)
    kept = _kept(columns)
    total = np.concatenate(([0], np.cumsum(sizes)))
    left = kept - (total[ends[1:]] - total[ends[:-1]])
    if np.any(left[per_side == 0] != 0) or np.any(left < 0) or np.any(sizes[lasts] != 0):
        raise FrameError("the chunks of a body do not add up to it")
    sizes[lasts] = left[stops]
    return since, sizes.astype(np.uint32)


def _sides(columns: Columns) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Which sides have chunks, which chunk is the last of each of them, and when every side ends (from the arrival)."""
    per_side = _per_side(columns)
    stops = np.flatnonzero(per_side)
    lasts = np.cumsum(per_side)[stops] - 1
    ends_ns = np.stack([columns["request_ns"], columns["last_byte_ns"]], axis=1).ravel().astype(np.int64)
    return stops, lasts, ends_ns


def _per_side(columns: Columns) -> NDArray[np.int64]:
    return np.stack([columns["request_chunks"], columns["response_chunks"]], axis=1).ravel().astype(np.int64)


def _kept(columns: Columns) -> NDArray[np.int64]:
    return np.stack([columns["request_kept"], columns["response_kept"]], axis=1).ravel().astype(np.int64)
