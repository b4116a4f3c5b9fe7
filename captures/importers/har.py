"""HAR (HTTP Archive 1.2), as browsers, proxies and API clients write it. One entry is one exchange.

A HAR is one JSON object: its entries are cut out of the byte stream one at a time (`json_stream`), so memory is bounded by the
longest. An entry that is broken costs itself.
"""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import orjson

from captures.exchange import Exchange
from captures.importers.connection_numbers import ConnectionNumbers
from captures.importers.har_entry import NotExchangeError, exchange_of
from captures.importers.importer import Dropped, ImportOptions, SourceFile
from captures.importers.json_stream import BrokenJsonError, JsonStream, enter, leave, records

# What an entry begins with, by tool; no object inside one does.
_ENTRY = re.compile(
    rb'\{[ \t\r\n]{0,64}"(?:startedDateTime|pageref|_initiator|_connectionId|_fromCache|_priority|_resourceType)"'
)
_HEAD = re.compile(rb'(?:\xef\xbb\xbf)?[ \t\r\n]*\{[ \t\r\n]*"log"[ \t\r\n]*:[ \t\r\n]*\{')
_KEYS = re.compile(rb'"(?:version|creator|browser|pages|entries)"[ \t\r\n]*:')

NOTES = (
    "har: bodies are as the tool decoded them: content codings, lengths and transfer codings of the wire are not in the file",
    "har: binary request bodies are not in the file; where a size is given without a body, the body counts as dropped",
    "har: arrival is startedDateTime; blocked, dns, connect and ssl are left out, and chunks of a body have one time, its end",
    "har: what came out of a browser's cache, WebSockets and URLs other than http are dropped",
)


@dataclass(frozen=True, slots=True)
class Har:
    """Uses no option."""

    name: str = "har"
    notes: tuple[str, ...] = NOTES

    def sniff(self, head: bytes) -> bool:
        """One object whose first member is ``log``, an object with members of a HAR."""
        found = _HEAD.match(head)
        return found is not None and _KEYS.search(head, found.end()) is not None

    def read(self, files: Iterable[SourceFile], options: ImportOptions) -> Iterator[Exchange | Dropped]:
        del options
        connections = ConnectionNumbers()
        for file in files:
            yield from _read(file, connections)


def _read(file: SourceFile, connections: ConnectionNumbers) -> Iterator[Exchange | Dropped]:
    stream = JsonStream(file.stream, _ENTRY)
    if not stream.peek():
        return
    try:
        found = enter(stream, b"log") and enter(stream, b"entries")
        if found:
            stream.expect(b"[")
    except BrokenJsonError as error:
        found = True
        yield Dropped("damaged", f"{file.name} at byte {error.offset}: {error}")
        if not stream.resume():
            return
    if not found:
        yield Dropped("not_a_har", f"{file.name}: it has no log with entries")
        return
    yield from _entries(stream, file.name, connections)
    while (trouble := _behind(stream)) is not None and stream.resume():  # that was no end: a bracket too many
        yield Dropped("damaged", f"{file.name} at byte {trouble.offset}: {trouble}")
        yield from _entries(stream, file.name, connections)


def _entries(stream: JsonStream, name: str, connections: ConnectionNumbers) -> Iterator[Exchange | Dropped]:
    for record in records(stream, b"]"):
        if record.trouble:
            yield record.dropped(name)
            continue
        try:
            yield exchange_of(_load(record.data), connections)
        except NotExchangeError as error:
            yield Dropped(error.reason, f"{name} at byte {record.offset}")


def _behind(stream: JsonStream) -> BrokenJsonError | None:
    """What is wrong with the file behind its entries; None: nothing."""
    try:
        stream.expect(b"]")
        leave(stream, b"pages")  # log; a page begins as an entry does
        leave(stream, b"")  # the file's one object
        stream.expect(b"")
    except BrokenJsonError as error:
        return error
    return None


def _load(data: bytes) -> object:
    """Raises NotExchangeError."""
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        pass
    try:
        return json.loads(data.decode("utf-8", "surrogateescape"))  # lone surrogates, or a body that is not UTF-8
    except (ValueError, RecursionError):
        raise NotExchangeError("damaged") from None
