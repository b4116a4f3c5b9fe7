"""Writes a capture, front to back, through a function that takes bytes. Pure: whose bytes they become is the caller's business.

Every flush is one call of ``write``: pieces and their commit. Where that call raises, the flush was not written: its exchanges
are gone (`committed` says what is not), the segment is given up, and the next flush starts a new one. The caller makes the
file end at `offset` again; so a full disk costs what did not fit and nothing else.
"""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from captures.cipher import CIPHER, OUTSIDE, PieceCipher, fingerprint
from captures.columns import LABEL_PREFIX, Batch
from captures.confessions import Confessions
from captures.exchange import Flags
from captures.frame import (
    FORMAT_VERSION,
    LIMITS,
    MAGIC,
    Kind,
    PieceFlags,
    pack_piece,
    pack_trailer,
    seal_of_piece,
)
from captures.header import Header, pack_header
from captures.index import DIGEST_SIZE, Commit, Entry, Index, pack_commit, pack_index, pack_start, start_of
from captures.segment_encoding import Prepared, SegmentEncoder, prepare

SEGMENT_BYTES = 8 << 20
EXCHANGE_LIMIT = LIMITS["raw"] - SEGMENT_BYTES - (1 << 20)
HEAD_LIMIT = LIMITS["heads"] - SEGMENT_BYTES
MOST_PIECES = 5  # of a flush: columns, names, chunks, messages, commit


def is_little(taken: int) -> bool:
    """Whether so many raw bytes between two flushes are so little that there is time to make a segment small: at one flush a
    second, 128 KiB are some 200 inference calls a second, and a small file costs them 0.2 % of a core.
    """
    return taken < 128 << 10


def always(taken: int) -> bool:  # noqa: ARG001 - a choice like `is_little`
    """For whoever has the time: a segment is small however much comes at once."""
    return True


class CaptureWriter:
    """``committed``: exchanges that are in the file. ``offset``: bytes written. ``digest``: of what was committed (hex).
    ``header``: as it was written.
    """

    def __init__(
        self,
        write: Callable[[bytes], object],
        header: Header,
        *,
        sync_marker: bytes,
        key: bytes | None = None,
        small: Callable[[int], bool] = is_little,
        segment_bytes: int = SEGMENT_BYTES,
    ) -> None:
        """Writes the header. ``key``: encrypt with it (and say so in the header). ``small``: whether a segment that begins when so
        many raw bytes were taken since the last flush is made small, or fast.

        Raises ValueError (sync marker, segment_bytes, too many labels, a key of another length, a header that promises encryption
        without a key) and what ``write`` raises.
        """
        if not 0 < segment_bytes <= SEGMENT_BYTES:
            raise ValueError(f"segment_bytes is between 1 and {SEGMENT_BYTES}")
        declared = len(start_of(0, 0, header.labels).columns)
        if declared > LIMITS["columns"]:
            raise ValueError(
                f"{len(header.labels)} labels are {declared - LIMITS['columns']} more than a file can have"
            )
        if key is None and header.encryption:
            raise ValueError("the header promises encryption, and there is no key")
        if key is not None:
            header = replace(header, encryption={"cipher": CIPHER, "key_id": fingerprint(key)})
        payload = pack_header(header, sync_marker)
        self.header = header
        self._cipher = None if key is None else PieceCipher(key, payload)
        self._write, self._sync, self._small, self._segment_bytes = write, sync_marker, small, segment_bytes
        self._labels = tuple(LABEL_PREFIX + name for name in header.labels)
        self._hash = hashlib.blake2b(digest_size=DIGEST_SIZE)
        self._last = Commit(sampling_rate=float(header.sampling_rate))
        self._entries: list[Entry] = []
        self._pending = Commit()  # totals of what was appended since the last commit
        self._encoder: SegmentEncoder | None = None
        self._sealed = False
        self._taken = 0  # raw bytes since the last flush
        self._pieces = 0  # pieces of the open segment that are in the file; 0: not even its start
        self.offset = 0
        piece = pack_piece(Kind.HEADER, payload)
        opening = MAGIC + bytes((FORMAT_VERSION,)) + piece
        write(opening)
        self._hash.update(seal_of_piece(piece))
        self.offset = len(opening)

    @property
    def committed(self) -> int:
        return self._last.total_exchanges

    @property
    def confessed(self) -> Confessions:
        """What the last commit says."""
        return self._last.confessions

    @property
    def digest(self) -> str:
        return self._hash.hexdigest()

    def append(self, batch: Batch) -> None:
        """Take exchanges for the next flush. A segment that fills up is committed at once, with the confessions of the
        last flush carried forward.

        Raises ValueError (sealed already, a batch that contradicts itself, a label that the header does not declare, an exchange
        above EXCHANGE_LIMIT bytes, a head above HEAD_LIMIT: nothing of it is taken) and what ``write`` raises.
        """
        self._refuse_sealed()
        prepared = prepare(batch, self._labels)
        self._taken += int(prepared.sizes.sum())
        for start, stop in self._cuts(prepared):
            if self._encoder is None:
                self._encoder = SegmentEncoder(self._labels)
            self._encoder.add(prepared, start, stop)
            self._count(prepared, start, stop)
            if self._full(self._encoder):
                new = self._pending.exchanges
                carried = replace(self._last.confessions, seen=self._last.seen + new)
                self._commit(carried)

    def flush(self, confessions: Confessions) -> None:
        """Commit what was appended. Writes nothing where there is nothing new to say. Raises ValueError (sealed already) and what
        ``write`` raises.
        """
        self._refuse_sealed()
        try:
            if self._pending.exchanges or confessions != self._last.confessions:
                self._commit(confessions)
        finally:
            self._taken = 0

    def seal(self, confessions: Confessions) -> None:
        """Flush, then append the index and the trailer. Nothing can be appended afterwards. Raises ValueError (sealed already) and
        what ``write`` raises; it may be tried again then.
        """
        self.flush(confessions)
        index = Index(tuple(self._entries), self._last, self._hash.digest())
        piece = self._pack(Kind.INDEX, pack_index(index), OUTSIDE, 0)
        footer = piece + pack_trailer(self.offset)
        self._write(footer)
        self.offset += len(footer)
        self._sealed = True

    def _refuse_sealed(self) -> None:
        if self._sealed:
            raise ValueError("the capture is sealed")

    def _cuts(self, batch: Prepared) -> Iterator[tuple[int, int]]:
        """The rows of a batch in parts that never overfill a segment by more than their last exchange."""
        if not len(batch):
            return
        if int(batch.sizes.max()) > EXCHANGE_LIMIT:
            raise ValueError(f"an exchange of {int(batch.sizes.max())} bytes is above the limit of {EXCHANGE_LIMIT}")
        head = max(map(len, batch.heads))
        if head > HEAD_LIMIT:
            raise ValueError(f"an exchange with {head} bytes of headers is above the limit of {HEAD_LIMIT}")
        ends, start = np.concatenate(([0], np.cumsum(batch.sizes))), 0
        while start < len(batch):
            # Whoever takes a part has appended it before asking for the next, so the encoder is as full as it says.
            used, taken = (self._encoder.size, self._encoder.exchanges) if self._encoder else (0, 0)
            fits = int(np.searchsorted(ends, ends[start] + self._segment_bytes - used))
            stop = min(max(fits, start + 1), start + LIMITS["exchanges"] - taken, len(batch))
            yield start, stop
            start = stop

    def _full(self, encoder: SegmentEncoder) -> bool:
        return encoder.size >= self._segment_bytes or encoder.exchanges >= LIMITS["exchanges"]

    def _count(self, batch: Prepared, start: int, stop: int) -> None:
        arrivals = batch.columns["arrival_ns"][start:stop].astype(np.int64)
        flags = batch.columns["flags"][start:stop].astype(np.int64)
        pending, first = self._pending, not self._pending.exchanges
        low, high = int(arrivals.min()), int(arrivals.max())
        self._pending = replace(
            pending,
            exchanges=pending.exchanges + stop - start,
            min_arrival_ns=low if first else min(low, pending.min_arrival_ns),
            max_arrival_ns=high if first else max(high, pending.max_arrival_ns),
            total_exchanges=pending.total_exchanges + stop - start,
            total_replayable=pending.total_replayable + int(np.count_nonzero(flags & Flags.REPLAYABLE)),
            total_recorded_valid=pending.total_recorded_valid + int(np.count_nonzero(flags & Flags.RECORDED_VALID)),
        )

    def _commit(self, confessions: Confessions) -> None:
        encoder = self._encoder or SegmentEncoder(self._labels)
        opening, number, before = b"", len(self._entries) - 1, self._pieces
        if not before:
            number += 1
            start = start_of(number, self.committed, self._labels)
            opening, before = self._sync + self._pack(Kind.START, pack_start(start), OUTSIDE, 0), 1
        pieces = [
            self._pack(kind, payload, number, ordinal, raw=raw)
            for ordinal, (kind, payload, raw) in enumerate(encoder.cut(small=self._small(self._taken)), before)
        ]
        pending, last = self._pending, self._last
        commit = replace(
            pending,
            pieces=len(pieces),
            total_exchanges=last.total_exchanges + pending.total_exchanges,
            total_replayable=last.total_replayable + pending.total_replayable,
            total_recorded_valid=last.total_recorded_valid + pending.total_recorded_valid,
        ).confessing(confessions)
        pieces.append(self._pack(Kind.COMMIT, pack_commit(commit), number, before + len(pieces)))
        flush = opening + b"".join(pieces)
        # Whatever write does, what was pending is no longer: a stream cannot be rewound.
        continued, self._pieces, self._encoder, self._pending = self._pieces > 0, 0, None, Commit()
        self._write(flush)
        for piece in pieces:
            self._hash.update(seal_of_piece(piece))
        self._note(commit, len(flush), continued=continued)
        self._last = commit
        self.offset += len(flush)
        if not self._full(encoder) and before + len(pieces) <= LIMITS["pieces"] - MOST_PIECES:
            self._encoder, self._pieces = encoder, before + len(pieces)

    def _pack(self, kind: Kind, payload: bytes, segment: int, ordinal: int, *, raw: int | None = None) -> bytes:
        """A whole piece; ``raw`` as in `pack_piece`, of a payload that is compressed."""
        if self._cipher is None:
            return pack_piece(kind, payload, raw=raw)
        flags = PieceFlags.ENCRYPTED if raw is None else PieceFlags.ENCRYPTED | PieceFlags.ZSTD
        size = len(payload) if raw is None else raw
        return pack_piece(
            kind, self._cipher.seal(kind, size, segment, ordinal, payload, flags=flags), raw=size, flags=flags
        )

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
