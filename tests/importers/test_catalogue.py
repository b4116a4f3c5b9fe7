from importlib.metadata import entry_points
from pathlib import Path

import pytest

from captures.errors import CaptureError, UsageError
from captures.importers import catalogue
from captures.importers.catalogue import BUILT_IN, GROUP, importer_named, importer_of, names
from captures.samples import sample

PLUGIN = """
class Mine:
    name = "mine"
    notes = ()

    def sniff(self, head):
        return head.startswith(b"MINE")

    def read(self, files, options):
        return iter(())

class Half:
    name = "half"

class Sulking:
    def __init__(self):
        raise RuntimeError("no")
"""


def test_built_ins_enter_through_the_same_door() -> None:
    points = {point.name: point.value for point in entry_points(group=GROUP)}

    assert {name: points.get(name) for name in BUILT_IN} == BUILT_IN


@pytest.mark.parametrize("name", BUILT_IN)
def test_an_importer_has_the_name_it_is_known_by(name: str) -> None:
    assert importer_named(name).name == name


def test_a_class_in_a_file_is_an_importer(tmp_path: Path) -> None:
    path = tmp_path / "plugin.py"
    path.write_text(PLUGIN)

    assert importer_named(f"{path}:Mine").name == "mine"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("goor", r"no such format \(did you mean gor\?\); there are: auto, azure-llm"),
        ("{file}", "which class"),
        ("{file}:Missing", "no class named 'Missing'"),
        ("{file}:Half", "has no name, notes, sniff or read"),
        ("{file}:Sulking", "cannot be made: RuntimeError"),
        ("{folder}/missing.py:Mine", "cannot be loaded: FileNotFoundError"),
    ],
)
def test_what_is_no_importer_is_one_clear_line(name: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "plugin.py"
    path.write_text(PLUGIN)
    with pytest.raises(UsageError, match=said):
        importer_named(name.format(file=path, folder=tmp_path))


def test_a_plugin_that_cannot_be_loaded_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(catalogue.BUILT_IN, "broken", "captures.importers.not_there:Broken")
    with pytest.raises(
        UsageError, match=r"importer 'broken' cannot be loaded from captures.importers.not_there:Broken"
    ):
        importer_named("broken")
    assert "broken" in names()


def test_what_nobody_recognises_lists_the_formats() -> None:
    with pytest.raises(CaptureError, match=r"x.log: its format is not recognised; say --format: azure-llm, burstgpt"):
        importer_of(b"hello", "x.log")
    with pytest.raises(CaptureError, match="nothing in it to recognise"):
        importer_of(b"", "x.log")


def test_a_capture_is_not_imported() -> None:
    with pytest.raises(UsageError, match=r"x\.tape: a capture already"):
        importer_of(sample("housing.tape").read_bytes(), "x.tape")


def test_what_two_recognise_must_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(catalogue.BUILT_IN, "gor2", catalogue.BUILT_IN["gor"])
    head = b"1 d1a21f900a000007000000aa 1700000000000000000\nGET / HTTP/1.1\r\n\r\n"
    with pytest.raises(UsageError, match="could be any of gor, gor; say --format"):
        importer_of(head, "x")
