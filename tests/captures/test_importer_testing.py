"""The conformance kit finds what it is there to find."""

import io
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

import pytest

from captures.exchange import Exchange
from captures.importers.importer import LINE_LIMIT, Dropped, ImportOptions, Provenance, SourceFile
from captures.importers.lines import lines
from captures.testing import check_importer, example_exchange

SAMPLE = b"".join(b"EXCHANGE %d of the customer Ada Lovelace\n" % number for number in range(5))
type Item = Exchange | Dropped | Provenance


def one_per_line(files: Iterable[SourceFile], _options: ImportOptions) -> Iterator[Item]:
    for file in files:
        for line in lines(file.stream):
            if line.data.startswith(b"EXCHANGE "):
                yield example_exchange(arrival_ns=line.number)
            elif line.data or line.too_long:
                yield Dropped("damaged", f"{file.name} line {line.number}")


@dataclass(frozen=True)
class Lines:
    name: str = "lines"
    notes: tuple[str, ...] = ("made up",)
    sniffs: Callable[[bytes], bool] = lambda head: head.startswith(b"EXCHANGE ")
    reads: Callable[[Iterable[SourceFile], ImportOptions], Iterator[Item]] = one_per_line

    def sniff(self, head: bytes) -> bool:
        return self.sniffs(head)

    def read(self, files: Iterable[SourceFile], options: ImportOptions) -> Iterator[Item]:
        return self.reads(files, options)


def changed(change: Callable[[Item], Item]) -> Lines:
    return Lines(reads=lambda files, options: map(change, one_per_line(files, options)))


def early(item: Item) -> Item:
    if not isinstance(item, Exchange):
        return item
    return replace(item, request=replace(item.request, end_ns=item.arrival_ns - 5))


def quoting(item: Item) -> Item:
    return replace(item, where="EXCHANGE 3 of the customer Ada Lovelace") if isinstance(item, Dropped) else item


def shouting(item: Item) -> Item:
    return replace(item, reason="Damaged!") if isinstance(item, Dropped) else item


def uncounted(item: Item) -> Item:
    return replace(item, count=0) if isinstance(item, Dropped) else item


def huge(item: Item) -> Item:
    return replace(item, connection=1 << 40) if isinstance(item, Exchange) else item


def raising(files: Iterable[SourceFile], _options: ImportOptions) -> Iterator[Item]:
    for file in files:
        for line in lines(file.stream):
            assert line.data.startswith(b"EXCHANGE ")
            yield example_exchange(arrival_ns=int(line.data.split()[1]))


def eager(files: Iterable[SourceFile], options: ImportOptions) -> Iterator[Item]:
    for file in files:
        whole = file.stream.read(LINE_LIMIT)
        yield from one_per_line([SourceFile(file.name, _again(whole))], options)


def _again(data: bytes) -> io.BytesIO:
    return io.BytesIO(data)


def unbounded(files: Iterable[SourceFile], options: ImportOptions) -> Iterator[Item]:
    kept = []
    for item in one_per_line(files, options):
        kept.append(bytes(1 << 18))
        yield item


def forgetful() -> Lines:
    seen: list[int] = []

    def reads(files: Iterable[SourceFile], options: ImportOptions) -> Iterator[Item]:
        seen.append(1)
        for item in one_per_line(files, options):
            yield replace(item, connection=len(seen)) if isinstance(item, Exchange) else item

    return Lines(reads=reads)


@pytest.mark.slow
def test_a_sound_importer_passes() -> None:
    check_importer(Lines(), [SAMPLE])


@pytest.mark.parametrize(
    ("importer", "said"),
    [
        (Lines(name="Not A Name"), "is no name for --format"),
        (Lines(notes=("",)), "notes are lines of text"),
        (Lines(sniffs=lambda _: False), "does not recognise sample 0"),
        (Lines(sniffs=lambda _: True), "claims a file that is not of its format"),
        (Lines(sniffs=lambda head: head.decode("ascii").startswith("EXCHANGE")), "sniff raises UnicodeDecodeError"),
        (changed(early), "a time before the arrival"),
        (changed(huge), "an exchange no capture can hold"),
        (changed(quoting), "damaged quotes the file"),
        (changed(shouting), "is no reason"),
        (changed(uncounted), "drops 0 for damaged"),
        (Lines(reads=raising), "raises AssertionError"),
        (Lines(reads=lambda *_: iter(())), "gives no exchange"),
        (Lines(reads=eager), "before it gave anything"),
        (Lines(reads=unbounded), "exchanges of an endless file took"),
        (forgetful(), "reads differently the second time"),
    ],
    ids=lambda value: value.replace(" ", "-") if isinstance(value, str) else "importer",
)
def test_a_broken_promise_is_named(importer: Lines, said: str) -> None:
    with pytest.raises(AssertionError, match=said):
        check_importer(importer, [SAMPLE])
