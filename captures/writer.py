"""Writes a capture, front to back, through a function that takes bytes. Pure: whose bytes they become is the caller's business.

Every flush is one call of ``write``: pieces and their commit. Where that call raises, the flush was not written: its exchanges
are gone (`committed` says what is not), the segment is given up, and the next flush starts a new one. The caller makes the
file end at `offset` again; so a full disk costs what did not fit and nothing else.
"""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from captures.batches import take
from captures.columns import LABEL_PREFIX, Batch
from captures.confessions import Confessions
from captures.exchange import Flags
from captures.frame import FORMAT_VERSION, LIMITS, MAGIC, Kind, pack_piece, pack_trailer, seal_of_piece
from captures.header import Header, pack_header
from captures.index import DIGEST_SIZE, Commit, Entry, Index, pack_commit, pack_index, pack_start, start_of
from captures.segment_encoding import SegmentEncoder, check_batch, sizes

SEGMENT_BYTES = 8 << 20
LEVEL = (
    6  # 5 to 7 % smaller than 3 at one flush a second, for a fifth more CPU; 1 takes half of it for 2 to 6 % more bytes
)
EXCHANGE_LIMIT = LIMITS["raw"] - SEGMENT_BYTES - (1 << 20)


class CaptureWriter:
    """``committed``: exchanges that are in the file. ``offset``: bytes written. ``digest``: of what was committed (hex)."""

    def __init__(
        self,
        write: Callable[[bytes], object],
        header: Header,
        *,
        sync_marker: bytes,
        level: int = LEVEL,
        segment_bytes: int = SEGMENT_BYTES,
    ) -> None:
        """Writes the header. Raises ValueError (sync marker, segment_bytes) and what ``write`` raises."""
        if not 0 < segment_bytes <= SEGMENT_BYTES:
            raise ValueError(f"segment_bytes is between 1 and {SEGMENT_BYTES}")
        self._write, self._sync, self._level, self._segment_bytes = write, sync_marker, level, segment_bytes
        self._labels = tuple(LABEL_PREFIX + name for name in header.labels)
        self._hash = hashlib.blake2b(digest_size=DIGEST_SIZE)
        self._last = Commit(sampling_rate=float(header.sampling_rate))
        self._entries: list[Entry] = []
        self._pending = Commit()  # totals of what was appended since the last commit
        self._encoder: SegmentEncoder | None = None
        self._opened = False  # whether the segment's start is in the file
        self.offset = 0
        piece = pack_piece(Kind.HEADER, pack_header(header, sync_marker))
        opening = MAGIC + bytes((FORMAT_VERSION,)) + piece
        write(opening)
        self._hash.update(seal_of_piece(piece))
        self.offset = len(opening)

    @property
    def committed(self) -> int:
        return self._last.total_exchanges

    @property
    def digest(self) -> str:
        return self._hash.hexdigest()

    def append(self, batch: Batch) -> None:
        """Take exchanges for the next flush. A segment that fills up is committed at once, with the confessions of the
        last flush carried forward. Raises ValueError (a batch that contradicts itself, or an exchange above
        EXCHANGE_LIMIT bytes: nothing of it is taken) and what ``write`` raises.
        """
        check_batch(batch)
        for part in self._parts(batch):
            if self._encoder is None:
                self._encoder = SegmentEncoder(self._level, self._labels)
            self._count(part, self._encoder)
            if self._full(self._encoder):
                new = self._pending.exchanges
                carried = replace(self._last.confessions, seen=self._last.seen + new)
                self._commit(carried)

    def flush(self, confessions: Confessions) -> None:
        """Commit what was appended. Writes nothing where there is nothing new to say. Raises what ``write`` raises."""
        if self._pending.exchanges or confessions != self._last.confessions:
            self._commit(confessions)

    def seal(self, confessions: Confessions) -> None:
        """Flush, then append the index and the trailer. Nothing can be appended afterwards. Raises what ``write`` raises."""
        self.flush(confessions)
        index = Index(tuple(self._entries), self._last, self._hash.digest())
        piece = pack_piece(Kind.INDEX, pack_index(index))
        footer = piece + pack_trailer(self.offset)
        self._write(footer)
        self.offset += len(footer)

    def _parts(self, batch: Batch) -> Iterator[Batch]:
        """The batch in parts that never overfill a segment by more than their last exchange."""
        if not len(batch):
            return
        size = sizes(batch)
        if int(size.max()) > EXCHANGE_LIMIT:
            raise ValueError(f"an exchange of {int(size.max())} bytes is above the limit of {EXCHANGE_LIMIT}")
        start = 0
        while start < len(batch):
            # Whoever takes a part has appended it before asking for the next, so the encoder is as full as it says.
            used, taken = (self._encoder.size, self._encoder.exchanges) if self._encoder else (0, 0)
            fits = int(np.searchsorted(np.cumsum(size[start:]), self._segment_bytes - used)) + 1
            stop = min(start + fits, start + LIMITS["exchanges"] - taken, len(batch))
            yield batch if stop - start == len(batch) else take(batch, np.arange(start, stop))
            start = stop

    def _full(self, encoder: SegmentEncoder) -> bool:
        return encoder.size >= self._segment_bytes or encoder.exchanges >= LIMITS["exchanges"]

    def _count(self, batch: Batch, encoder: SegmentEncoder) -> None:
        columns = encoder.add(batch)
        arrivals, flags = columns["arrival_ns"].astype(np.int64), columns["flags"].astype(np.int64)
        pending, first = self._pending, not self._pending.exchanges
        low, high = int(arrivals.min()), int(arrivals.max())
        self._pending = replace(
            pending,
            exchanges=pending.exchanges + len(batch),
            min_arrival_ns=low if first else min(low, pending.min_arrival_ns),
            max_arrival_ns=high if first else max(high, pending.max_arrival_ns),
            total_exchanges=pending.total_exchanges + len(batch),
            total_replayable=pending.total_replayable + int(np.count_nonzero(flags & Flags.REPLAYABLE)),
            total_recorded_valid=pending.total_recorded_valid + int(np.count_nonzero(flags & Flags.RECORDED_VALID)),
        )

    def _commit(self, confessions: Confessions) -> None:
        encoder = self._encoder or SegmentEncoder(self._level, self._labels)
        opening = b""
        if not self._opened:
            start = start_of(len(self._entries), self.committed, self._labels)
            opening = self._sync + pack_piece(Kind.START, pack_start(start))
        pieces = encoder.cut()
        pending, last = self._pending, self._last
        commit = replace(
            pending,
            pieces=len(pieces),
            total_exchanges=last.total_exchanges + pending.total_exchanges,
            total_replayable=last.total_replayable + pending.total_replayable,
            total_recorded_valid=last.total_recorded_valid + pending.total_recorded_valid,
        ).confessing(confessions)
        pieces.append(pack_piece(Kind.COMMIT, pack_commit(commit)))
        flush = opening + b"".join(pieces)
        # Whatever write does, what was pending is no longer: a stream cannot be rewound.
        opened, self._opened, self._encoder, self._pending = self._opened, False, None, Commit()
        self._write(flush)
        for piece in pieces:
            self._hash.update(seal_of_piece(piece))
        self._note(commit, len(flush), continued=opened)
        self._last = commit
        self.offset += len(flush)
        if not self._full(encoder):
            self._encoder, self._opened = encoder, True

    def _note(self, commit: Commit, length: int, *, continued: bool) -> None:
        low, high = commit.min_arrival_ns, commit.max_arrival_ns
        if not continued:
            self._entries.append(Entry(self.offset, length, commit.exchanges, low, high))
            return
        entry = self._entries[-1]
        if commit.exchanges and entry.exchanges:
            low, high = min(low, entry.min_arrival_ns), max(high, entry.max_arrival_ns)
        elif not commit.exchanges:
            low, high = entry.min_arrival_ns, entry.max_arrival_ns
        self._entries[-1] = Entry(entry.offset, entry.length + length, entry.exchanges + commit.exchanges, low, high)
