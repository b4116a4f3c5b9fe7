import sys
from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType

import pytest

from captures.errors import UsageError
from captures.privacy import presidio, rules
from captures.privacy.actions import on_text
from captures.privacy.policy import Policy
from captures.privacy.surrogate import Surrogates

KEY = Surrogates(b"k" * 32)
POLICY = Policy(text="scrub", recognisers="presidio")


@dataclass
class Found:
    start: int
    end: int


class Engine:
    """Finds Ada, as a model of names would."""

    def analyze(self, *, text: str, language: str, score_threshold: float) -> list[Found]:
        at = text.find("Ada Lovelace")
        return [Found(at, at + 12)] if at >= 0 else []


class Broken:
    def __init__(self) -> None:
        raise OSError("no model")


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    presidio.recogniser.cache_clear()
    yield
    presidio.recogniser.cache_clear()


def installed(monkeypatch: pytest.MonkeyPatch, engine: type) -> None:
    module = ModuleType("presidio_analyzer")
    module.AnalyzerEngine = engine  # type: ignore[attr-defined]  # a module made here
    monkeypatch.setitem(sys.modules, "presidio_analyzer", module)


def test_without_it_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "presidio_analyzer", None)

    with pytest.raises(UsageError, match=r"not installed; run pip install 'shadowtape\[presidio\]'"):
        rules.compile(POLICY)
    assert rules.compile(Policy(text="scrub"))


def test_without_its_model_one_line_says_what_to_fetch(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, Broken)

    with pytest.raises(UsageError, match="cannot be started: no model; run python -m spacy download"):
        rules.compile(POLICY)


def test_what_it_finds_is_replaced_beside_what_the_patterns_find(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, Engine)
    scrubbed = on_text(rules.compile(POLICY).text, "Dear Ada Lovelace, write to ada@x.org today.", KEY, "text")

    assert scrubbed.startswith("Dear ")
    assert scrubbed.endswith(" today.")
    assert "Ada Lovelace" not in scrubbed
    assert "ada@x.org" not in scrubbed
