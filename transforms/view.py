"""What a transform may look at: features and predictions of the inputs, decoded once, lazily.

Pure: captures come in opened. Only columns of numbers are kept; bodies stream past, a segment at a time. Ordinals
(`owner`, `source`) count through the ordered inputs laid end to end. What was decoded is kept per capture digest, in a
``cache`` that several views may share.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from captures.batches import absent_value, column_dtype, is_name_column
from captures.codecs.codec import Codec
from captures.columns import Batch
from captures.errors import UsageError
from captures.exchange import Exchange
from captures.header import Header
from transforms.decoding import Codecs, Columns, FeatureColumn, joined, request_features, response_predictions

SIDES: Mapping[str, Callable[[Iterable[tuple[int, Exchange]], Codecs], Columns]] = {
    "request": request_features,
    "response": response_predictions,
}

_USUAL = {"flags", "method", "route", "codec", "model", "status", "request_kept"}
"""What every plan asks for: loaded together, because a pass over a segment decompresses all of its columns."""

type Allocate = Callable[[int, str], NDArray[np.generic]]
"""(length, dtype) -> an array; `transforms.schedule_files.Scratch` has one that keeps long ones on disk."""
type Cache = MutableMapping[tuple[str, str], Columns]


class Input(Protocol):
    """What is needed of a `captures.reader.Capture`."""

    @property
    def path(self) -> str: ...
    @property
    def digest(self) -> str: ...
    @property
    def header(self) -> Header: ...
    def __len__(self) -> int: ...
    def parts(self, within: tuple[int, int] | None = None) -> Iterator[tuple[int, Batch]]: ...
    def read(self, ordinals: NDArray[np.int64], *, bodies: bool = True) -> list[Exchange]: ...
    def numbered(
        self, start: int = 0, stop: int | None = None, *, bodies: bool = True
    ) -> Iterator[tuple[int, Exchange]]: ...


class View:
    """Lends columns over the inputs. Nothing is read before it is asked for."""

    def __init__(
        self,
        captures: Sequence[Input],
        codecs: Codecs | None = None,
        cache: Cache | None = None,
        allocate: Allocate = np.empty,
    ) -> None:
        """``codecs``: a codec by its name; the installed ones by default. ``allocate``: where columns lie."""
        self.captures = tuple(captures)
        self.starts = np.cumsum([0, *(len(capture) for capture in captures)])
        self._codecs = codecs or _installed
        self._cache: Cache = {} if cache is None else cache
        self._joined: dict[str, Columns] = {}
        self._allocate = allocate
        self._names: dict[str, int] = {"": 0}
        self._loaded: dict[str, NDArray[np.generic]] = {}

    def __len__(self) -> int:
        return int(self.starts[-1])

    def column(self, name: str) -> NDArray[np.generic]:
        """Of all exchanges; a name column holds indices into ``names``. Raises KeyError: there is no such column or label."""
        if name not in self._loaded:
            self._load({name} | (_USUAL if name in _USUAL else set()))
        return self._loaded[name]

    @property
    def names(self) -> tuple[str, ...]:
        """Grows while columns are loaded; an index keeps its meaning."""
        return tuple(self._names)

    def codec(self, name: str) -> Codec | None:
        """None: nobody understands its bodies."""
        return self._codecs(name)

    def feature_names(self) -> tuple[str, ...]:
        return tuple(self._decoded("request"))

    def feature(self, name: str) -> FeatureColumn:
        """Over all replayable requests. Raises UsageError that lists the names there are."""
        return _named(self._decoded("request"), name, "feature")

    def features_like(self, pattern: str) -> tuple[str, ...]:
        """The features a name or a glob (* and ?) stands for. Raises UsageError where there is none."""
        names = self.feature_names()
        if pattern in names:
            return (pattern,)
        # Brackets are part of names ("[0]", "x[3]"), so they are never character classes here.
        found = tuple(name for name in names if fnmatchcase(name, pattern.replace("[", "[[]")))
        if not found:
            _named(self._decoded("request"), pattern, "feature")
        return found

    def prediction_names(self) -> tuple[str, ...]:
        return tuple(self._decoded("response"))

    def prediction(self, name: str) -> FeatureColumn:
        """Over all recorded responses whose values are as the server sent them. Raises UsageError."""
        return _named(self._decoded("response"), name, "prediction")

    def read(self, sources: NDArray[np.int64]) -> list[Exchange]:
        """The exchanges at these ordinals, in the order asked; one that is asked for twice is decoded once."""
        wanted, back = np.unique(sources, return_inverse=True)
        read: list[Exchange] = []
        for start, capture in zip(self.starts[:-1], self.captures, strict=True):
            low, high = np.searchsorted(wanted, (start, start + len(capture)))
            if high > low:
                read.extend(capture.read(wanted[low:high] - start))
        return [read[at] for at in back.tolist()]

    def _load(self, names: set[str]) -> None:
        """One pass over the columns of all inputs, a segment at a time."""
        dtypes = {name: column_dtype(name) for name in sorted(names)}
        loaded = {name: self._allocate(len(self), dtype) for name, dtype in dtypes.items()}
        for name, values in loaded.items():
            values[:] = absent_value(name)  # of exchanges whose columns are damaged
        for start, capture in zip(self.starts[:-1].tolist(), self.captures, strict=True):
            for first, batch in capture.parts():
                rows = slice(start + first, start + first + len(batch))
                merged = [self._names.setdefault(name, len(self._names)) for name in batch.names or ("",)]
                mapped = np.array(merged, dtype=np.uint32)
                for name, values in loaded.items():
                    found = batch.columns.get(name, np.zeros(len(batch), dtype=np.uint32))
                    values[rows] = mapped[found] if is_name_column(name) else found
        self._loaded |= loaded

    def _decoded(self, side: str) -> Columns:
        if side not in self._joined:
            parts: list[tuple[int, Columns]] = []
            for start, capture in zip(self.starts[:-1].tolist(), self.captures, strict=True):
                known = (capture.digest, side)
                if known not in self._cache:
                    self._cache[known] = SIDES[side](capture.numbered(), self._codecs)
                parts.append((start, self._cache[known]))
            self._joined[side] = joined(parts)
        return self._joined[side]


def _named(columns: Columns, name: str, what: str) -> FeatureColumn:
    if name in columns:
        return columns[name]
    if not columns:
        raise UsageError(f"no {what} named {name!r}: nothing in the capture was decoded to a numeric {what}")
    close = get_close_matches(name, columns, n=3, cutoff=0.5)
    listed = [*close, *(other for other in columns if other not in close)]
    shown = ", ".join(listed[:20]) + (f" and {len(listed) - 20} more" if len(listed) > 20 else "")
    raise UsageError(f"no {what} named {name!r}; there are: {shown}")


def _installed(name: str) -> Codec | None:
    from captures.codecs.registry import codec_named  # noqa: PLC0415 - a view that decodes nothing loads no codec

    return codec_named(name)
