"""Comparators: two batches of bodies of one route -> one judgement per pair. Pure and total: a comparator never raises.

What decides is the role and datatype the codec gave each output:

* labels (integers, BOOL, BYTES): equal or a *flip*;
* probability vectors (FP [n, k], rows that sum to 1): the argmax is a label, the numbers are scores;
* other floats: scores, equal within the datatype's tolerance; with ``threshold``, one score per item is a label too;
* text: equal or different, never a label.

A codec's ``CONTROL``, ``IDENTITY`` and ``OTHER`` outputs (ids, versions) are expected to differ and are left alone.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from captures.codecs.body import Body, Document, Opaque, Role, Tensor, Tensors, TokenStream
from captures.privacy.surrogate import MARKER
from replayer.compare.judgement import Difference, DifferenceKind, Incomparable, Judgement, Match, Measured, Mismatch

# Per datatype (rtol, atol): what rounding and another batch size may do to the same model, as in torch.testing.assert_close.
TOLERANCES: Mapping[str, tuple[float, float]] = {
    "FP16": (1e-3, 1e-5),
    "BF16": (1.6e-2, 1e-5),
    "FP32": (1.3e-6, 1e-5),
    "FP64": (1e-7, 1e-7),
}
MOST_DIFFERENCES = 10
"""Kept per pair: enough to see what happened; a batch of a thousand flips needs no thousand sentences."""
TEXT_LENGTH = 40
PATH_LENGTH = 120


SEVERITY: tuple[DifferenceKind, ...] = ("status", "schema", "flip", "text", "score")
"""What is kept first where a pair has more differences than are kept."""

type Found = tuple[list[Difference], Measured]
"""What one check of a pair gives; a judgement is the fold of them."""


class Comparator(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def symmetric(self) -> bool:
        """Whether swapping the sides gives the same kind of judgement."""
        ...

    def __call__(self, left: Sequence[Body], right: Sequence[Body]) -> list[Judgement]:
        """One judgement per pair; ``left`` is the reference."""
        ...


@dataclass(frozen=True, slots=True)
class Predictions:
    """Compares inference answers of any codec that decodes to tensors or JSON documents.

    ``rtol`` replaces the relative tolerance of every datatype. ``threshold`` turns a lone float score per item into a label.
    ``tokens_comparable``: both sides were tokenised with the same key, or neither was. ``declared``: the protocol has datatypes
    (V2 does); where it does not (V1), ``3`` and ``3.5`` are both numbers, and comparing them is no change of schema.
    """

    rtol: float | None = None
    threshold: float | None = None
    tokens_comparable: bool = False
    declared: bool = True
    name: ClassVar[str] = "predictions"
    symmetric: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.rtol is not None and not 0 <= self.rtol < math.inf:
            raise ValueError("rtol is a finite number of at least 0")
        if self.threshold is not None and not math.isfinite(self.threshold):
            raise ValueError("threshold is a finite number")

    def __call__(self, left: Sequence[Body], right: Sequence[Body]) -> list[Judgement]:
        return [self._pair(a, b) for a, b in zip(left, right, strict=True)]

    def _pair(self, left: Body, right: Body) -> Judgement:
        for side, body in (("reference", left), ("candidate", right)):
            if isinstance(body, Opaque):
                return Incomparable(f"{side} answer is opaque: {body.why}")
        match left, right:
            case Tensors(), Tensors():
                return self._tensors(left, right)
            case Document(), Document():
                return _fold(_document(left.value, right.value, self._tolerance("FP64")))
            case TokenStream(), TokenStream():
                return _fold([_texts("$", [left.text], [right.text])])
            case _:
                return Mismatch((Difference("$", "schema", type(left).__name__, type(right).__name__),))

    def _tensors(self, left: Tensors, right: Tensors) -> Judgement:
        ours, theirs = _outputs(left), _outputs(right)
        if not self.declared:
            ours, theirs = _as_numbers(ours, theirs), _as_numbers(theirs, ours)
        if changed := list(_schema(ours, theirs)):
            return Mismatch(tuple(changed[:MOST_DIFFERENCES]))
        if not ours:
            return Incomparable("answers hold no prediction")
        if not self.tokens_comparable and any(_tokenised(tensor) for tensor in (*ours.values(), *theirs.values())):
            return Incomparable("answers are tokenised, each side under its own key: record with --key to compare them")
        return _fold([found for name, tensor in ours.items() for found in self._tensor(name, tensor, theirs[name])])

    def _tensor(self, name: str, left: Tensor, right: Tensor) -> Iterator[Found]:
        a, b = np.ravel(left.data), np.ravel(right.data)
        if len(a) != len(b):
            yield [Difference(name, "schema", f"{len(a)} values", f"{len(b)} values")], Measured()
        elif left.role is Role.TEXT:
            yield _texts(name, a.tolist(), b.tolist())
        elif left.datatype not in TOLERANCES or a.dtype.kind not in "fiub" or b.dtype.kind not in "fiub":
            yield _labels(name, a, b)
        else:
            yield _scores(name, a.astype(np.float64), b.astype(np.float64), self._tolerance(left.datatype))
            if _is_distribution(left) and _is_distribution(right):
                width = left.shape[-1]
                yield _labels(name, a.reshape(-1, width).argmax(axis=1), b.reshape(-1, width).argmax(axis=1))
            elif self.threshold is not None and len(a) == left.batch:
                yield _labels(name, a >= self.threshold, b >= self.threshold)

    def _tolerance(self, datatype: str) -> tuple[float, float]:
        rtol, atol = TOLERANCES[datatype]
        # asked for exactly nothing, nothing is forgiven
        return (rtol, atol) if self.rtol is None else (self.rtol, atol if self.rtol else 0.0)


def label_of(body: Body, threshold: float | None = None) -> str:
    """The label an answer decides on: of its first output that has one; "" without one, "mixed" where the items of a
    batch differ.
    """
    if not isinstance(body, Tensors):
        return ""
    for tensor in _outputs(body).values():
        values = np.ravel(tensor.data)
        if tensor.role is Role.TEXT or not len(values):
            continue
        if _is_distribution(tensor):
            values = values.reshape(-1, tensor.shape[-1]).argmax(axis=1)
        elif tensor.datatype in TOLERANCES:
            if threshold is None or len(values) != tensor.batch or values.dtype.kind not in "fiub":
                continue
            values = values >= threshold
        labels = {_text(value) for value in values.tolist()}
        return labels.pop() if len(labels) == 1 else "mixed"
    return ""


def _outputs(body: Tensors) -> dict[str, Tensor]:
    return {tensor.name: tensor for tensor in body.tensors if tensor.role in (Role.PREDICTION, Role.TEXT)}


def _as_numbers(these: Mapping[str, Tensor], those: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Integers become FP64 where the other side wrote the same output with a decimal point."""
    return {
        name: replace(tensor, datatype="FP64")
        if tensor.datatype in ("INT64", "UINT64") and name in those and those[name].datatype == "FP64"
        else tensor
        for name, tensor in these.items()
    }


def _schema(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> Iterator[Difference]:
    for name in sorted({*ours, *theirs}):
        a, b = ours.get(name), theirs.get(name)
        if a is None or b is None:
            yield Difference(name, "schema", "absent" if a is None else "present", "absent" if b is None else "present")
        elif a.datatype != b.datatype:
            yield Difference(name, "schema", a.datatype, b.datatype)
        elif a.shape != b.shape:
            yield Difference(name, "schema", str(list(a.shape)), str(list(b.shape)))


def _labels(name: str, a: NDArray[np.generic], b: NDArray[np.generic]) -> Found:
    return [
        Difference(f"{name}[{index}]" if len(a) > 1 else name, "flip", _text(x), _text(y))
        for index, (x, y) in enumerate(zip(a.tolist(), b.tolist(), strict=True))
        if _differ(x, y)
    ][:MOST_DIFFERENCES], Measured(labelled=True)


def _scores(path: str, a: NDArray[np.float64], b: NDArray[np.float64], tolerance: tuple[float, float]) -> Found:
    """Equal if |a - b| <= max(rtol * max(|a|, |b|), atol), the symmetric form; NaN equals NaN, and nothing else."""
    if not len(a):
        return [], Measured()
    rtol, atol = tolerance
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        delta = np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0.0, b - a)
        size = np.where(np.isnan(delta), np.inf, np.abs(delta))
        scale = np.maximum(np.abs(a), np.abs(b))
        # an infinite difference would otherwise hide behind an infinite scale
        outside = (size > np.maximum(rtol * np.where(np.isfinite(scale), scale, 0.0), atol)) | np.isinf(size)
        needed = np.where(size > atol, size / np.where(scale > 0, scale, 1.0), 0.0)
    worst = int(size.argmax())
    signed = float(np.inf if np.isnan(delta[worst]) else delta[worst])
    measured = Measured(delta=signed, rtol=float(np.where(np.isnan(needed), np.inf, needed).max()))
    if not outside.any():
        return [], measured
    worst = int(np.where(outside, size, -1.0).argmax())
    at = f"{path}[{worst}]" if len(a) > 1 else path
    return [Difference(at, "score", f"{a[worst]:.6g}", f"{b[worst]:.6g}", signed)], measured


def _texts(path: str, a: Sequence[object], b: Sequence[object]) -> Found:
    return [
        Difference(f"{path}[{index}]" if len(a) > 1 else path, "text", _text(x), _text(y))
        for index, (x, y) in enumerate(zip(a, b, strict=True))
        if _differ(x, y)
    ], Measured()


def _document(left: object, right: object, tolerance: tuple[float, float]) -> list[Found]:
    """JSON of no known meaning: numbers are scores, everything else must be equal. Iterative: nesting is the sender's."""
    found: list[Found] = []
    stack: list[tuple[str, object, object]] = [("$", left, right)]
    while stack:
        path, a, b = stack.pop()
        if isinstance(a, dict) and isinstance(b, dict):
            for key in sorted({*a, *b}, key=str, reverse=True):
                if key in a and key in b:
                    stack.append((_step(path, f".{key}"), a[key], b[key]))
                else:
                    sides = ("present", "absent") if key in a else ("absent", "present")
                    found.append(([Difference(_step(path, f".{key}"), "schema", *sides)], Measured()))
        elif isinstance(a, list) and isinstance(b, list):
            if len(a) == len(b):
                stack.extend((_step(path, f"[{i}]"), a[i], b[i]) for i in reversed(range(len(a))))
            else:
                found.append(([Difference(path, "schema", f"{len(a)} items", f"{len(b)} items")], Measured()))
        elif (x := _number(a)) is not None and (y := _number(b)) is not None:
            found.append(_scores(path, np.asarray([x]), np.asarray([y]), tolerance))
        elif type(a) is type(b):
            found.append(_texts(path, [a], [b]))
        else:
            found.append(([Difference(path, "schema", type(a).__name__, type(b).__name__)], Measured()))
    return found


def _step(path: str, part: str) -> str:
    """Deeper; nesting is the sender's, so a path ends somewhere."""
    return path + part if len(path) < PATH_LENGTH else path


def _fold(found: Sequence[Found]) -> Judgement:
    differences = sorted((one for some, _ in found for one in some), key=lambda one: SEVERITY.index(one.kind))
    measured = [one for _, one in found]
    scored = [one for one in measured if not math.isnan(one.delta)]
    whole = Measured(
        labelled=any(one.labelled for one in measured),
        delta=max((one.delta for one in scored), key=abs, default=math.nan),
        rtol=max((one.rtol for one in scored), default=math.nan),
    )
    return Mismatch(tuple(differences[:MOST_DIFFERENCES]), whole) if differences else Match(whole)


def _differ(x: object, y: object) -> bool:
    return bool(x != y and not (x != x and y != y))  # noqa: PLR0124 - NaN is the value that differs from itself


def _is_distribution(tensor: Tensor) -> bool:
    """FP [n, k >= 2] whose rows are probabilities. The sum is loose: FP16 rounds."""
    if tensor.datatype not in TOLERANCES or len(tensor.shape) != 2 or tensor.shape[1] < 2:
        return False
    if tensor.data.dtype.kind not in "fiub" or tensor.data.size != math.prod(tensor.shape) or not tensor.data.size:
        return False
    rows = np.reshape(tensor.data, tensor.shape).astype(np.float64)
    return bool((rows >= 0).all() and (rows <= 1).all() and (np.abs(rows.sum(axis=1) - 1) < 1e-2).all())


def _tokenised(tensor: Tensor) -> bool:
    if tensor.data.dtype.kind not in "OSU":
        return False
    return any(_text(value).startswith(MARKER) for value in np.ravel(tensor.data).tolist())


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _text(value: object) -> str:
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    return text if len(text) <= TEXT_LENGTH else text[: TEXT_LENGTH - 1] + "…"
