"""Names, places and national numbers in free text, found by Presidio: the extra ``presidio``, imported when a policy asks for it.

Presidio is slow (milliseconds a sentence) and finds no more than its models know; it runs where exchanges are pseudonymised, never
in a relay.
"""

from functools import cache
from importlib import import_module
from typing import Protocol

from captures.errors import UsageError
from captures.privacy.scrub import Recogniser, Spans

_LEAST_SCORE = 0.35  # Presidio's own patterns without context score 0.4 and more


class _Result(Protocol):
    start: int
    end: int


class _Engine(Protocol):
    def analyze(self, *, text: str, language: str, score_threshold: float) -> list[_Result]: ...


@cache
def recogniser() -> Recogniser:
    """Raises UsageError: not installed, or without its language model."""
    engine = _engine()

    def spans(text: str) -> Spans:
        return [
            (found.start, found.end)
            for found in engine.analyze(text=text, language="en", score_threshold=_LEAST_SCORE)
            if found.end > found.start
        ]

    return spans


def _engine() -> _Engine:
    try:
        analyzer = import_module("presidio_analyzer").AnalyzerEngine
    except ImportError:
        raise UsageError("recognisers: presidio: not installed; run pip install 'shadowtape[presidio]'") from None
    try:
        engine: _Engine = analyzer()
    except (OSError, SystemExit, ValueError) as error:  # its language model cannot be found, or fetched
        hint = "run python -m spacy download en_core_web_lg"
        raise UsageError(f"recognisers: presidio: cannot be started: {error}; {hint}") from None
    return engine
