import pytest

from captures.confessions import Confessions
from captures.errors import UsageError
from captures.exporters.catalogue import EXPORTERS, exporter_named, format_of
from captures.exporters.jsonl import JsonlExporter
from captures.exporters.parquet import ParquetExporter


@pytest.mark.parametrize("name", EXPORTERS)
def test_the_table_says_what_the_exporters_say(name: str) -> None:
    exporter = exporter_named(name)

    assert (exporter.name, exporter.suffixes) == (name, EXPORTERS[name].suffixes)


@pytest.mark.parametrize("name", EXPORTERS)
def test_a_suffix_says_the_format(name: str) -> None:
    assert {format_of(f"monday{suffix}") for suffix in EXPORTERS[name].suffixes} == {name}
    assert format_of(f"MONDAY{EXPORTERS[name].suffixes[0].upper()}") == name


def test_another_suffix_says_none() -> None:
    with pytest.raises(UsageError, match=r"x\.csv: its name does not say a format \(\.gor, \.gor\.gz"):
        format_of("x.csv")


def test_an_unknown_format_lists_those_there_are() -> None:
    with pytest.raises(
        UsageError, match=r"--format jsnl: no such format \(did you mean jsonl\?\); there are: gor, har"
    ):
        exporter_named("jsnl")


def test_exporters_take_what_concerns_them() -> None:
    wanted = {"tensors": True, "confessions": Confessions(seen=3), "exchanges": 3}

    assert exporter_named("jsonl", **wanted) == JsonlExporter(confessions=Confessions(seen=3), exchanges=3)
    assert exporter_named("parquet", **wanted) == ParquetExporter(tensors=True)
