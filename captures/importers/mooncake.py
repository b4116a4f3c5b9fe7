"""Mooncake traces (JSON Lines: milliseconds, lengths, ids of 512-token blocks) and Bailian's (seconds, 16-token blocks, chats).

Equal block ids are equal text, so prompts share exactly the prefixes they shared in production.
"""

import json
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from captures.exchange import Exchange
from captures.importers.importer import Dropped, ImportOptions, SourceFile
from captures.importers.instants import decimal_ns
from captures.importers.json_heads import first_keys
from captures.importers.lines import BOM, lines
from captures.importers.synthesis import (
    MADE_UP,
    SESSION_HEADER,
    Endpoint,
    endpoint_of,
    session_of,
    text_of,
    why_not,
)

LONGEST_LINE = 4 << 20  # bytes: the block ids of four million tokens are less
REMEMBERED_CHATS = 100_000  # of a Bailian trace; a later turn of a chat beyond these begins a new session
_KEYS = frozenset(("timestamp", "input_length", "output_length"))
_MOONCAKE, _BAILIAN = "hash_ids", "chat_id"


@dataclass(frozen=True, slots=True)
class _Kind:
    unit_ns: int
    block_tokens: int


_KINDS = {_MOONCAKE: _Kind(10**6, 512), _BAILIAN: _Kind(10**9, 16)}


@dataclass(frozen=True, slots=True)
class Mooncake:
    """Uses ``model`` (required), ``path_template`` and ``seed``. The text of a block is that of (seed, its id), whatever file it is
    in; tokens behind the last block are those of (seed, row of the import).
    """

    name: str = "mooncake"
    notes: tuple[str, ...] = (
        *MADE_UP,
        "The trace has no date: its times are counted from 1970.",
        "Block ids of all files are taken for ids of one cache: import traces of different services one by one.",
        f"Chats of a Bailian trace are sessions; a hash of the first turn stands in the header {SESSION_HEADER}.",
    )

    def sniff(self, head: bytes) -> bool:
        keys = first_keys(head)
        return head.removeprefix(BOM).lstrip()[:1] == b"{" and keys >= _KEYS and not keys.isdisjoint(_KINDS)

    def read(self, files: Iterable[SourceFile], options: ImportOptions) -> Iterator[Exchange | Dropped]:
        return _read(files, endpoint_of(self.name, options), options.seed)


def _read(files: Iterable[SourceFile], endpoint: Endpoint, seed: int) -> Iterator[Exchange | Dropped]:
    chats: OrderedDict[str, str] = OrderedDict()
    number = 0
    for file in files:
        for line in lines(file.stream, LONGEST_LINE):
            if not line.data.strip() and not line.too_long:
                continue
            number += 1
            where = f"{file.name}: line {line.number}"
            try:
                row = _row(line.data)
            except ValueError:
                yield Dropped("damaged", where)
                continue
            if reason := why_not(row.prompt, row.output):
                yield Dropped(reason, where)
                continue
            prompt = _prompt(row, seed, number)
            yield endpoint.exchange(row.at_ns, prompt, row.output, _session(row, seed, chats))


@dataclass(frozen=True, slots=True)
class _Row:
    at_ns: int
    prompt: int
    output: int
    blocks: tuple[int | str, ...]
    block_tokens: int
    chat: str = ""
    parent: str = ""


def _row(line: bytes) -> _Row:
    """Raises ValueError."""
    try:
        # Numbers stay text where they may be fractions, so that times are exact.
        record = json.loads(line, parse_float=_Fraction)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(record, dict):
        record = {}  # which has no time
    kind = _KINDS[_BAILIAN if _BAILIAN in record else _MOONCAKE]
    blocks = record.get("hash_ids", [])
    at, chat, parent = record.get("timestamp"), record.get("chat_id", ""), record.get("parent_chat_id", "")
    if not isinstance(blocks, list) or not all(_is_id(block) for block in blocks):
        raise ValueError("hash_ids is no list of ids")
    if isinstance(at, bool) or not isinstance(at, int | _Fraction) or not _is_id(chat) or not _is_id(parent):
        raise ValueError("no time, or a chat that has no id")
    return _Row(
        decimal_ns(str(at), kind.unit_ns),
        _count(record.get("input_length")),
        _count(record.get("output_length")),
        tuple(blocks),
        kind.block_tokens,
        str(chat),
        "" if parent in (-1, "-1") else str(parent),
    )


class _Fraction(str):
    """A number with a fraction, as it stands in the file."""

    __slots__ = ()


def _is_id(value: object) -> bool:
    if isinstance(value, str):
        return not isinstance(value, _Fraction) and len(value) <= 64 and value.isascii() and value.isprintable()
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**64


def _count(value: object) -> int:
    if type(value) is not int:
        raise ValueError("not a number of tokens")
    return value


def _prompt(row: _Row, seed: int, number: int) -> bytes:
    """The blocks, as far as the prompt goes, then text of its own."""
    parts, left = [], row.prompt
    for block in row.blocks:
        if left <= 0:
            break
        parts.append(text_of(f"block/{seed}/{block}", min(left, row.block_tokens)))
        left -= row.block_tokens
    if left > 0:
        parts.append(text_of(f"mooncake/{seed}/{number}", left))
    return b" ".join(parts)


def _session(row: _Row, seed: int, chats: OrderedDict[str, str]) -> int:
    if not row.chat:
        return 0
    root = chats.pop(row.parent, row.parent) if row.parent else row.chat
    if row.parent:
        chats[row.parent] = root  # a chat may go on from the same turn twice
    chats[row.chat] = root
    while len(chats) > REMEMBERED_CHATS:
        chats.popitem(last=False)
    return session_of(seed, root)
