"""`shadowtape audit`: what is found comes from privacy/scan.py, this file prints where and what kind, never the value."""

import json as jsonlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from captures.console import CaptureArgument, JsonOption, TapeKeyOption, complain, console, tracked
from captures.errors import UsageError
from captures.inspection import committed
from captures.opening import open_capture
from captures.privacy.scan import KINDS, scan_exchange, scan_header
from captures.privacy.scan_needles import SHORTEST_SECRET, Needles
from captures.privacy.words import may_be_drawn
from captures.reader import Capture
from captures.tape_key import tape_key
from captures.wording import plural

FINDINGS_SHOWN = 100
FINDINGS_KEPT = 100_000  # a capture of nothing but leaks must not fill the memory


@dataclass(slots=True)
class Found:
    """``findings`` in their order, up to FINDINGS_KEPT; ``kinds`` counts all. ``exchange`` is None where the header holds one."""

    findings: list[dict[str, Any]] = field(default_factory=list)
    kinds: Counter[str] = field(default_factory=Counter)
    scanned: int = 0
    too_short: int = 0
    common: int = 0  # known values that are words prompts are replaced by: they are everywhere

    def add(self, exchange: int | None, where: str, kind: str) -> None:
        self.kinds[kind] += 1
        if len(self.findings) < FINDINGS_KEPT:
            self.findings.append({"exchange": exchange, "where": where, "kind": kind})

    @property
    def unlisted(self) -> int:
        return self.kinds.total() - len(self.findings)


def audit(
    capture: CaptureArgument,
    *,
    known: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Values that must not be inside, one a line.", show_default=False),
    ] = None,
    ignore: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KIND", help="Do not look for this kind: 'IP address'. Repeat for more.", show_default=False
        ),
    ] = None,
    tape_key_file: TapeKeyOption = None,
    json: JsonOption = False,
) -> int:
    """Look for secrets inside a capture: values of your own list, and what looks
    like a credential or a person's.

    Looks into every part and under every encoding: base64, hex, escapes, JSON in
    strings, compressed, multipart and binary bodies, streams put together.
    Says where, never what. Exits 0 if everything was read and nothing found, 1
    otherwise.

    [bold]Examples[/bold]

      shadowtape audit monday.tape

      shadowtape audit monday.tape --known customers.txt --json

      shadowtape audit tapes/ --ignore 'IP address'
    """
    values = _known_values(known) if known else ()
    ignored = _kinds(ignore or [])
    with open_capture(capture, key=tape_key(tape_key_file)) as opened:
        found = _found(opened, values, ignored)
        unread = committed(opened) - found.scanned
        damaged, tail = bool(opened.damage), opened.tail
    clean = not found.findings and not damaged and not tail
    if json:
        said = {"clean": clean, "findings": found.findings, "scanned": found.scanned, "unread": unread}
        print(jsonlib.dumps(said | {"kinds": dict(sorted(found.kinds.items())), "unlisted": found.unlisted}))
    else:
        _show(console(), capture, found, clean=clean)
    if found.too_short:
        complain(f"--known {known}: {found.too_short} values were not sought, being too short to mean anything")
    if found.common:
        complain(f"--known {known}: {found.common} values were not sought, being words that prompts are replaced by")
    if damaged:
        lost = plural(unread, "exchange") if unread else "some bytes"
        complain(f"{capture}: damaged: {lost} not scanned; see `shadowtape verify`")
    if tail:
        complain(f"{capture}: {tail:,} bytes of an unfinished flush at its end were not scanned")
    return 0 if clean else 1


def _found(capture: Capture, known: tuple[bytes, ...], ignored: frozenset[str]) -> Found:
    found = Found(too_short=sum(len(value) < SHORTEST_SECRET for value in known))
    sought = [value for value in known if len(value) >= SHORTEST_SECRET]
    if any(_says_words(header.policy) for header in capture.headers):
        sought = [value for value in sought if not may_be_drawn(value.decode("utf-8", "replace"))]
        found.common = len(known) - found.too_short - len(sought)
    needles = Needles(sought)
    for header in capture.headers:
        for where, kind in scan_header(header, needles):
            if kind not in ignored:
                found.add(None, where, kind)
    for ordinal, exchange in tracked(capture.numbered(), "auditing", capture.size, len(capture)):
        found.scanned += 1
        for where, kind in scan_exchange(exchange, needles):
            if kind not in ignored:
                found.add(ordinal, where, kind)
    return found


def _says_words(policy: Mapping[str, Any]) -> bool:
    """Whether prompts may have been replaced by words: a policy that says nothing about them does so."""
    rules = policy.get("rules")
    listed = rules if isinstance(rules, Sequence) else ()
    ruled = any(isinstance(rule, Mapping) and rule.get("do") == "words" for rule in listed)
    return policy.get("text", "words") == "words" or ruled


def _show(console: Console, name: str, found: Found, *, clean: bool) -> None:
    for each in found.findings[:FINDINGS_SHOWN]:
        whose = "" if each["exchange"] is None else f"exchange {each['exchange']}: "
        console.print(escape(f"{whose}{each['kind']} in {each['where']}"))
    total = found.kinds.total()
    if total > FINDINGS_SHOWN:
        console.print(f"… and {total - FINDINGS_SHOWN:,} more (--json has up to {FINDINGS_KEPT:,})")
        kinds = ", ".join(f"{kind} {count:,}" for kind, count in found.kinds.most_common())
        console.print(escape(f"by kind: {kinds}"))
    state = "[green]clean[/green]" if clean else "[yellow]nothing found, but not everything could be read[/yellow]"
    if total:
        state = f"[red]{plural(total, 'finding')}[/red]"
    console.print(f"{escape(name)}: {state}, {plural(found.scanned, 'exchange')} scanned")


def _kinds(names: list[str]) -> frozenset[str]:
    for name in names:
        if name not in KINDS:
            raise UsageError(f"--ignore {name!r}: no such kind; there are {', '.join(KINDS)}")
    return frozenset(names)


def _known_values(path: Path) -> tuple[bytes, ...]:
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise UsageError(f"--known {path}: cannot be read: {error.strerror}") from None
    return tuple(dict.fromkeys(line.strip() for line in lines if line.strip()))
