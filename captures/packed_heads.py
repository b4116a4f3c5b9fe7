"""The heads of a segment as they lie in its bytes: checked as a whole when they are decoded, made one by one when asked for.

Building `Head` objects is most of what a full read would cost, and most readers want few of them.
"""

from collections.abc import Sequence
from typing import overload

import msgpack
import numpy as np
from numpy.typing import NDArray

from captures.columns import Head

_FIELDS, _ARRAY, _ASCII = 6, 0x90, 0x7F
_MOST_TEXTS = 256  # texts of one array that are worth looking at by column


class PackedHeads(Sequence[Head]):
    """``data``: heads, and what stands between them; ``starts`` and ``stops``: where each begins and ends."""

    def __init__(self, data: bytes, starts: NDArray[np.int64], stops: NDArray[np.int64]) -> None:
        self._data, self._starts, self._stops = data, starts, stops

    def __len__(self) -> int:
        return len(self._starts)

    @overload
    def __getitem__(self, at: int) -> Head: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[Head]: ...
    def __getitem__(self, at: int | slice) -> Head | Sequence[Head]:
        if isinstance(at, slice):
            first, stop, step = at.indices(len(self))
            if step != 1:
                return [self[each] for each in range(first, stop, step)]
            return PackedHeads(self._data, self._starts[first:stop], self._stops[first:stop])
        if not -len(self) <= at < len(self):
            raise IndexError(at)
        row = at % len(self)
        target, version, request, reason, response, detail = msgpack.unpackb(
            self._data[self._starts[row] : self._stops[row]]
        )
        return Head(target, version, _pairs(request), reason, _pairs(response), detail)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and len(other) == len(self) and all(map(Head.__eq__, self, other))

    __hash__ = None  # type: ignore[assignment]  # compares by its contents


def plain_heads(data: bytes, n: int) -> PackedHeads | None:
    """``data`` as ``n`` heads of the usual form: six elements, short texts, ASCII. None: something is unusual or wrong, and has to
    be looked at one by one.
    """
    bounds = _starts(data, n)
    return None if bounds is None else heads_within(data, bounds[:-1], bounds[1:])


def heads_within(data: bytes, starts: NDArray[np.int64], stops: NDArray[np.int64]) -> PackedHeads | None:
    """The same, where it is known where each begins and ends. What stands between them is ASCII too, or nothing is plain."""
    try:
        return PackedHeads(data, starts, stops) if _are_plain(data, starts, stops) else None
    except IndexError:  # a text reaches beyond the end
        return None


def _starts(data: bytes, n: int) -> NDArray[np.int64] | None:
    """Where each object begins, and where the last ends; None: these are not ``n`` objects."""
    unpacker = msgpack.Unpacker(None, max_buffer_size=max(len(data), 1))
    unpacker.feed(data)
    skip, tell = unpacker.skip, unpacker.tell
    starts = [0]
    try:
        for _ in range(n):
            skip()
            starts.append(tell())
    except (ValueError, msgpack.UnpackException):
        return None
    return np.array(starts, dtype=np.int64) if starts[-1] == len(data) else None


def _are_plain(data: bytes, starts: NDArray[np.int64], stops: NDArray[np.int64]) -> bool:
    """Whether every head is texts where texts belong, and pairs where pairs do, in ASCII. All heads are looked at together, text by
    text. Raises IndexError.
    """
    cells = np.frombuffer(data, dtype=np.uint8)
    look = _Look(cells, starts.copy())
    if not np.all(cells[look.at] == _ARRAY + _FIELDS):
        return False
    look.signs += len(look.at)
    look.at += 1
    whole = look.text() and look.text() and look.pairs() and look.text() and look.pairs() and look.text()
    # Every byte above 127 is a sign of msgpack's: then no text has one, and every text is what it will be decoded to.
    return whole and np.array_equal(look.at, stops) and look.signs == int(np.count_nonzero(cells > _ASCII))


class _Look:
    """``at``: where we are, in each head. ``signs``: bytes above 127 so far that say what follows and how long it is."""

    def __init__(self, cells: NDArray[np.uint8], at: NDArray[np.int64]) -> None:
        self._cells, self.at, self.signs = cells, at, 0

    def text(self, rows: NDArray[np.int64] | None = None) -> bool:
        """Pass a text, in these heads (None: in all). False: something else stands there."""
        at = self.at if rows is None else self.at[rows]
        found = self._sizes(at, _TEXTS)
        if found is None:
            return False
        ends = at + found[0] + found[1]
        if rows is None:
            self.at = ends
        else:
            self.at[rows] = ends
        return True

    def pairs(self) -> bool:
        """Pass an array of pairs of texts. False: something else stands there."""
        found = self._sizes(self.at, _ARRAYS)
        if found is None:
            return False
        counts, most = found[1], int(found[1].max(initial=0))
        if most > _MOST_TEXTS or np.any(counts & 1):
            return False
        self.at = self.at + found[0]
        for nth in range(most):
            rows = np.flatnonzero(counts > nth)
            if not self.text(None if len(rows) == len(counts) else rows):
                return False
        return True

    def _sizes(self, at: NDArray[np.int64], forms: "_Forms") -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
        """(bytes of the sign, what it says) at each place; None: one of them is no such sign."""
        first = self._cells[at]
        signs, said = forms.sign[first], forms.says[first]
        self.signs += len(at)
        if not said.min(initial=0) < 0:
            return signs, said
        for bytes_, rows in ((1, np.flatnonzero(first == forms.one)), (2, np.flatnonzero(first == forms.two))):
            more = [self._cells[at[rows] + i + 1].astype(np.int64) for i in range(bytes_)]
            self.signs += sum(int(np.count_nonzero(each > _ASCII)) for each in more)
            signs[rows], said[rows] = 1 + bytes_, sum(each << 8 * (bytes_ - 1 - i) for i, each in enumerate(more))
        return None if said.min() < 0 else (signs, said)


class _Forms:
    """How msgpack says a length: in the sign (from ``short`` on, up to ``most``), or in ``one`` or ``two`` bytes behind it."""

    def __init__(self, short: int, most: int, one: int, two: int) -> None:
        self.one, self.two = one, two
        self.sign = np.ones(256, dtype=np.int64)
        self.says = np.full(256, -1, dtype=np.int64)
        self.says[short : short + most + 1] = np.arange(most + 1)


_TEXTS = _Forms(0xA0, 31, 0xD9, 0xDA)
_ARRAYS = _Forms(_ARRAY, 15, 0, 0xDC)


def _pairs(flat: list[str]) -> tuple[tuple[str, str], ...]:
    return tuple(zip(flat[::2], flat[1::2], strict=True))
