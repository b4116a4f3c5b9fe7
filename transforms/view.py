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

from captures.batches import concat
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
    def columns(self) -> Batch: ...
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
    ) -> None:
        """``codecs``: a codec by its name; the installed ones by default."""
        self.captures = tuple(captures)
        self.starts = np.cumsum([0, *(len(capture) for capture in captures)])
        self._codecs = codecs or _installed
        self._cache: Cache = {} if cache is None else cache
        self._joined: dict[str, Columns] = {}
        self._merged: tuple[Mapping[str, NDArray[np.generic]], tuple[str, ...]] | None = None

    def __len__(self) -> int:
        return int(self.starts[-1])

    @property
    def columns(self) -> Mapping[str, NDArray[np.generic]]:
        """The columns of all exchanges; name columns index ``names``."""
        return self._columns_and_names()[0]

    @property
    def names(self) -> tuple[str, ...]:
        return self._columns_and_names()[1]

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

    def _columns_and_names(self) -> tuple[Mapping[str, NDArray[np.generic]], tuple[str, ...]]:
        if self._merged is None:
            merged = concat([capture.columns() for capture in self.captures])
            self._merged = merged.columns, merged.names
        return self._merged

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
