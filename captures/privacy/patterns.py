"""JSON path patterns and templates of request paths: what a rule's place means. Pure; knows no policy.

A JSON path is ``$`` and steps: ``.key``, ``['any key']``, ``[3]``, ``[*]`` (any index), ``.*`` (any key or index), ``..key``
(at any depth). It matches a value and everything inside it.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

type Path = tuple[str | int, ...]

_STEP = re.compile(
    r"(?P<deep>\.\.)(?:(?P<deepstar>\*)|(?P<deepkey>[^.\[\]'\"*\s]+)|(?=\[))"
    r"|\.(?:(?P<star>\*)|(?P<key>[^.\[\]'\"*\s]+))"
    r"|\[(?:(?P<index>\d{1,9})|(?P<any>\*)|'(?P<single>[^']+)'|\"(?P<double>[^\"]+)\")\]"
)
_HOLE = re.compile(r"\{[a-z_]*\}")


@dataclass(frozen=True, slots=True)
class Step:
    """One step: a key, an index, or None for any; ``indexes`` says whether None means indexes only. ``deep``: after any others."""

    what: str | int | None
    deep: bool = False
    indexes: bool = False

    def fits(self, part: str | int) -> bool:
        if self.what is None:
            return not self.indexes or isinstance(part, int)
        return type(part) is type(self.what) and part == self.what


_DOTS = Step("", deep=True)  # ".." in front of a bracket


@dataclass(frozen=True, slots=True)
class Pattern:
    steps: tuple[Step, ...]

    def depth(self, path: Sequence[str | int]) -> int | None:
        """How many parts of ``path`` the pattern takes, as few as it can; None: it does not match."""
        *_, ends = _reached(self.steps, path)
        return min(ends, default=None)

    def may_match_inside(self, path: Sequence[str | int]) -> bool:
        """Whether something deeper than ``path`` may match, by indexes alone, where ``path`` itself does not."""
        *before, ends = _reached(self.steps, path)
        if ends:
            return False
        return any(
            (len(path) in reached or (step.deep and reached))
            and not any(isinstance(each.what, str) for each in self.steps[at:])
            for at, (step, reached) in enumerate(zip(self.steps, before, strict=True))
        )

    @property
    def keys(self) -> frozenset[str]:
        return frozenset(step.what for step in self.steps if isinstance(step.what, str))

    def spells(self, path: Sequence[str | int]) -> bool:
        """Whether the last part of ``path`` is a key that the pattern names at that place."""
        last = path[-1]
        return any(
            step.what == last and isinstance(last, str) and len(path) in reached
            for step, reached in zip(self.steps, _reached(self.steps, path)[1:], strict=True)
        )


def _reached(steps: Sequence[Step], path: Sequence[str | int]) -> list[set[int]]:
    """How many parts of ``path`` may be taken before each step, and after the last."""
    reached = [{0}]
    size = len(path)
    for step in steps:
        starts = reached[-1]
        if step.deep and starts:
            ends = {at + 1 for at in range(min(starts), size) if step.fits(path[at])}
        else:
            ends = {at + 1 for at in starts if at < size and step.fits(path[at])}
        reached.append(ends)
    return reached


@lru_cache(1024)
def pattern_of(text: str) -> Pattern:
    """Raises ValueError: what is wrong, and what a pattern looks like."""
    if not text.startswith("$"):
        raise ValueError(f"path {text!r}: a JSON path begins with $, as in $.inputs[*].data")
    steps: list[Step] = []
    position = 1
    while position < len(text):
        match = _STEP.match(text, position)
        if match is None:
            raise ValueError(
                f"path {text!r}: cannot be read from {text[position:]!r} on; as in $.inputs[*].data or $..user_id"
            )
        position = match.end()
        steps.append(_step(match))
    return Pattern(tuple(_joined(steps)))


def _step(match: re.Match[str]) -> Step:
    if match["index"] is not None:
        return Step(int(match["index"]))
    if match["any"]:
        return Step(None, indexes=True)
    if match["star"] or match["deepstar"]:
        return Step(None, deep=bool(match["deep"]))
    if match["deep"] and not match["deepkey"]:
        return _DOTS
    key = match["key"] or match["deepkey"] or match["single"] or match["double"]
    return Step(key, deep=bool(match["deep"]))


def _joined(steps: Sequence[Step]) -> list[Step]:
    """``..['a key']`` is two matches: the dots, and the step they belong to."""
    joined: list[Step] = []
    for step in steps:
        if joined and joined[-1] == _DOTS:
            joined[-1] = Step(step.what, deep=True, indexes=step.indexes)
        else:
            joined.append(step)
    if joined and joined[-1] == _DOTS:
        raise ValueError("a JSON path does not end in ..")
    return joined


@dataclass(frozen=True, slots=True)
class Template:
    """``segments``: a literal, ``{}`` for a hole, ``*`` for any one; ``rest``: more may follow."""

    segments: tuple[str, ...]
    rest: bool = False

    def fits(self, segments: Sequence[str]) -> bool:
        if len(segments) < len(self.segments) or (len(segments) > len(self.segments) and not self.rest):
            return False
        return all(
            wanted in {"{}", "*"} or wanted == segment for wanted, segment in zip(self.segments, segments, strict=False)
        )


@lru_cache(1024)
def template_of(text: str) -> Template:
    """Of ``/users/{user}/*``; ``/**`` at the end is any rest. Raises ValueError."""
    parts = text.split("/")[1:]
    rest = parts[-1] == "**"
    parts = parts[:-1] if rest else parts
    segments = tuple("{}" if _HOLE.fullmatch(part) else part for part in parts)
    if "{}" not in segments:
        raise ValueError(f"segment {text!r}: no hole, as in /users/{{user}}/*: a rule applies to what stands in holes")
    if any(part not in {"*", "{}"} and re.search(r"[{}*?#\[\]]", part) for part in segments):
        raise ValueError(f"segment {text!r}: a segment is a word, a hole {{name}} or *; /** may end it")
    return Template(segments, rest)
