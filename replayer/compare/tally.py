"""What a comparison adds up to, pair by pair, in bounded memory: a few numbers per pair, counters, and at most twenty examples.

Only what has passed the recording's policy may come in here as text (``Shown``): labels, answers, features.
"""

import heapq
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from captures.codecs.body import Body, Document, Tensors
from replayer.compare.comparators import SEVERITY, label_of
from replayer.compare.judgement import Difference, DifferenceKind, Incomparable, Judgement, Match, Mismatch, Pairs

MOST_EXAMPLES = 20
MOST_FLIPS = 1_000
"""Distinct (from, to) pairs of labels counted; what is beyond is counted together."""
ANSWER_LENGTH = 120


@dataclass(frozen=True, slots=True)
class Shown:
    """What may be kept of one side's answer, as its label and as text."""

    label: str
    text: str


NOTHING = Shown("", "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    row: int
    differences: tuple[Difference, ...]
    left: str
    right: str
    delta: float


@dataclass(slots=True)
class Tally:
    """Add pairs in any order; `pairs` sorts them by row. Examples are the worst of their kind: by size, then by row."""

    incomparable: Counter[str] = field(default_factory=Counter)
    confusion: Counter[tuple[str, str]] = field(default_factory=Counter)
    labels: dict[int, str] = field(default_factory=dict)
    _judged: list[tuple[int, bool, bool, bool, bool, bool, bool, float, float, bool, bool]] = field(
        default_factory=list
    )
    _worst: dict[DifferenceKind, list[tuple[tuple[float, int], Example]]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self._judged)

    def add(
        self,
        row: int,
        judgement: Judgement,
        shown: tuple[Shown, Shown] = (NOTHING, NOTHING),
        erred: tuple[bool, bool] = (False, False),
        tellable: Sequence[Difference] | None = None,
    ) -> None:
        """``shown`` and ``erred``: (reference, candidate). ``tellable``: the differences in words that may stay, where the
        judgement's own may not; where it is empty only their kinds stay.
        """
        agrees = matches = labelled = flipped = changed = False
        delta = rtol = math.nan
        match judgement:
            case Incomparable(why):
                self.incomparable[why] += 1
            case Match(measured):
                agrees = matches = True
                labelled, delta, rtol = measured.labelled, measured.delta, measured.rtol
            case Mismatch(differences, measured):
                agrees, flipped, changed = judgement.agrees, judgement.flip, judgement.schema
                labelled, delta, rtol = measured.labelled, measured.delta, measured.rtol
                worst = min((difference.kind for difference in differences), key=SEVERITY.index)
                told = differences if tellable is None else tuple(tellable) or _wordless(differences)
                self._keep(
                    worst, Example(row=row, differences=told, left=shown[0].text, right=shown[1].text, delta=delta)
                )
        comparable = not isinstance(judgement, Incomparable)
        if comparable and shown[0].label:
            self.labels[row] = shown[0].label
        if flipped:
            flip = (shown[0].label or "?", shown[1].label or "?")
            self.confusion[flip if flip in self.confusion or len(self.confusion) < MOST_FLIPS else ("…", "…")] += 1
        self._judged.append(
            (row, comparable, agrees, matches, labelled, flipped, changed, delta, rtol, erred[1], erred[0])
        )

    def pairs(self) -> Pairs:
        columns: list[Sequence[object]] = list(zip(*sorted(self._judged), strict=True)) if self._judged else [()] * 11
        flags = [np.asarray(columns[at], dtype=np.bool_) for at in (1, 2, 3, 4, 5, 6, 9, 10)]
        return Pairs(
            row=np.asarray(columns[0], dtype=np.int64),
            comparable=flags[0],
            agrees=flags[1],
            matches=flags[2],
            labelled=flags[3],
            flipped=flags[4],
            schema_changed=flags[5],
            delta=np.asarray(columns[7], dtype=np.float64),
            rtol=np.asarray(columns[8], dtype=np.float64),
            erred=flags[6],
            reference_erred=flags[7],
        )

    def examples(self) -> list[Example]:
        """The worst of every kind in turn, so that a hundred errors do not hide the flips; in the order of `SEVERITY`."""
        left = {kind: sorted(self._worst.get(kind, ()), key=lambda kept: kept[0]) for kind in SEVERITY}
        chosen: list[tuple[int, tuple[float, int], Example]] = []
        while len(chosen) < MOST_EXAMPLES and any(left.values()):
            for at, kind in enumerate(SEVERITY):
                if left[kind] and len(chosen) < MOST_EXAMPLES:
                    badness, example = left[kind].pop()
                    chosen.append((at, badness, example))
        return [example for _, _, example in sorted(chosen, key=lambda one: (one[0], -one[1][0], -one[1][1]))]

    def _keep(self, kind: DifferenceKind, example: Example) -> None:
        worst = self._worst.setdefault(kind, [])
        kept = ((0.0 if math.isnan(example.delta) else abs(example.delta), -example.row), example)
        if len(worst) < MOST_EXAMPLES:
            heapq.heappush(worst, kept)
        else:
            heapq.heappushpop(worst, kept)


def shown(body: Body, threshold: float | None) -> Shown:
    """An answer that may be kept, for people."""
    match body:
        case Tensors(tensors):
            parts = [
                f"{tensor.name} = {_values(tensor.data)}" for tensor in tensors if tensor.role in ("prediction", "text")
            ]
            text = ", ".join(parts)
        case Document(value):
            text = repr(value)
        case _:
            text = ""
    return Shown(label_of(body, threshold), text if len(text) <= ANSWER_LENGTH else text[: ANSWER_LENGTH - 1] + "…")


def _values(data: np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> str:
    values = np.ravel(data)
    texts = [_value(value) for value in values[:5].tolist()]
    return texts[0] if len(values) == 1 else f"[{', '.join(texts)}{', …' if len(values) > 5 else ''}]"


def _value(value: object) -> str:
    match value:
        case float():
            return f"{value:.6g}"
        case bytes():
            return value.decode("utf-8", "replace")
        case _:
            return str(value)


def _wordless(differences: Sequence[Difference]) -> tuple[Difference, ...]:
    return tuple(Difference("", kind) for kind in dict.fromkeys(one.kind for one in differences))


def mapping_of(judgement: Difference) -> Mapping[str, object]:
    """A difference as JSON-able data; what is not finite becomes null."""
    delta = judgement.delta if math.isfinite(judgement.delta) else None
    return {
        "path": judgement.path,
        "kind": judgement.kind,
        "left": judgement.left,
        "right": judgement.right,
        "delta": delta,
    }
