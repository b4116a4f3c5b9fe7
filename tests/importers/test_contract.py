"""Every importer of the catalogue keeps the contract, on the sample files of tests/golden/import (FORMAT[.variant].suffix)."""

from collections.abc import Callable, Iterator
from itertools import chain, repeat
from pathlib import Path

import pytest

from captures.importer_testing import check_importer, read_all
from captures.importers.catalogue import importer_named, importer_of, names
from captures.importers.importer import Dropped, ImportOptions

FOLDER = Path(__file__).resolve().parents[1] / "golden/import"
SAMPLES = {path.name: path.read_bytes() for path in sorted(FOLDER.iterdir())}
OPTIONS = {name: ImportOptions(model="llama") for name in ("azure-llm", "burstgpt", "mooncake")} | {
    "kserve": ImportOptions(model="house", path_template="/v2/models/{model}/infer")
}


def format_of(sample: str) -> str:
    return sample.partition(".")[0]


def endless_har() -> Iterator[bytes]:
    """One document whose list of entries never ends."""
    head, entries = SAMPLES["har.har"].split(b'"entries": [', 1)
    entry = entries[: entries.index(b"\n   },\n") + len(b"\n   },\n")]
    return chain((head + b'"entries": [',), repeat(entry))


ENDLESS: dict[str, Callable[[], Iterator[bytes]]] = {"har": endless_har}


def test_every_format_has_a_sample() -> None:
    assert {format_of(sample) for sample in SAMPLES} == set(names())


@pytest.mark.parametrize("sample", SAMPLES)
def test_exactly_one_importer_recognises_a_sample(sample: str) -> None:
    claims = [name for name in names() if importer_named(name).sniff(SAMPLES[sample])]

    assert claims == [format_of(sample)]
    assert importer_of(SAMPLES[sample], sample).name == format_of(sample)


@pytest.mark.parametrize("sample", [name for name in SAMPLES if not name.startswith(("gor", "mitm"))])
def test_a_byte_order_mark_changes_nothing(sample: str) -> None:
    importer, marked = importer_named(format_of(sample)), b"\xef\xbb\xbf" + SAMPLES[sample]
    options = OPTIONS.get(format_of(sample))

    assert importer_of(marked, sample).name == format_of(sample)
    assert read_all(importer, [marked], options) == read_all(importer, [SAMPLES[sample]], options)


@pytest.mark.parametrize("sample", SAMPLES)
def test_a_sample_is_read_without_loss(sample: str) -> None:
    name = format_of(sample)

    found = read_all(importer_named(name), [SAMPLES[sample]], OPTIONS.get(name))

    assert not [item for item in found if isinstance(item, Dropped)]


@pytest.mark.slow
@pytest.mark.parametrize("sample", SAMPLES)
def test_an_importer_keeps_the_contract(sample: str) -> None:
    name = format_of(sample)
    foreign = [content for other, content in SAMPLES.items() if format_of(other) != name]

    check_importer(
        importer_named(name),
        [SAMPLES[sample]],
        options=OPTIONS.get(name),
        foreign=foreign,
        endless=ENDLESS.get(name),
    )
