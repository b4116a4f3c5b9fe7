"""`shadowtape import`: foreign recordings in, under the policy. What importers give is folded in importers/account.py."""

import json as jsonlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress
from rich.table import Table

from captures.amounts import duration_ns
from captures.console import PROGRESS_FROM_BYTES, JsonOption, console
from captures.errors import CaptureError, UsageError
from captures.exchange import Exchange
from captures.header import ID_SIZE, Header
from captures.importers.account import Account, Apply, batches
from captures.importers.catalogue import AUTO, importer_named, importer_of
from captures.importers.importer import Dropped, Importer, ImportOptions, Provenance
from captures.importers.opening import Source
from captures.locations import shown
from captures.outputs import check_output, create_output
from captures.policy_files import read_key, read_policy
from captures.privacy.key import KEY_BYTES, key_id
from captures.privacy.pseudonymise import Pseudonymiser
from captures.version import __version__
from captures.wording import plural


def import_(
    source: Annotated[
        str,
        typer.Argument(metavar="SOURCE", help="A file, a folder, a glob or a URL; - reads stdin.", show_default=False),
    ],
    out: Annotated[
        str,
        typer.Argument(metavar="OUT", help="The capture to write; a new name that ends in .tape.", show_default=False),
    ],
    *,
    format_: Annotated[
        str, typer.Option("--format", metavar="NAME", help="The format of SOURCE. auto: by its content.")
    ] = AUTO,
    policy: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="What may be kept. Default: deny by default.", show_default=False),
    ] = None,
    key: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Key of the tokens, made if missing, never beside OUT. Default: a key that is forgotten.",
            show_default=False,
        ),
    ] = None,
    path_template: Annotated[
        str, typer.Option(metavar="PATH", help="Request path, with {model}, of formats that record none.")
    ] = "",
    model: Annotated[str, typer.Option(metavar="NAME", help="The model, of formats that record none.")] = "",
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="Of what is made up: same seed, same capture.")] = 0,
    encrypt: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Encrypt OUT with the key in FILE, made if missing, never beside OUT.",
            show_default=False,
        ),
    ] = None,
    expire: Annotated[
        str,
        typer.Option(metavar="DURATION", help="Every command refuses OUT after this long: 30d.", show_default=False),
    ] = "",
    json: JsonOption = False,
) -> int:
    """Foreign recordings as a capture, pseudonymised as a recording is.

    Formats: gor, har, mitm, envoy-tap, kserve, sagemaker, azure-llm, mooncake,
    burstgpt, jsonl. Compressed files (gz, zst, bz2) are read as they are. What
    cannot be read is skipped, and counted by reason.

    [bold]Examples[/bold]

      shadowtape import requests_0.gor.gz monday.tape

      shadowtape import logs/ x.tape --path-template '/v2/models/{model}/infer'

      shadowtape import azure_trace.csv load.tape --model llama --seed 7 --json
    """
    check_output(out)
    expires_ns = _expires_ns(expire)
    opened = Source(source)
    importer = _importer(format_, opened)
    options = ImportOptions(path_template=path_template, model=model, seed=seed)
    account = Account()
    provenance, items = _begun(iter(importer.read(opened.files(), options)), account)
    runs = batches(account.exchanges(items))
    first = next(runs, [])
    if not first and provenance is None:
        _count_damage(opened, account)
        raise CaptureError(f"{shown(source)}: nothing that could be imported as {importer.name}{_why_nothing(account)}")
    notes = {"format": importer.name, "notes": list(importer.notes), "seed": seed, "files": len(opened.names)}
    apply: Apply | None = None
    if provenance is not None:
        if policy is not None or key is not None:
            raise UsageError(
                f"{shown(source)}: exported from a capture, pseudonymised under its policy and key; leave --policy and --key out"
            )
        account.told = provenance.confessions
        header = _inherited(provenance.header, expires_ns, source)
    else:
        chosen = read_policy(policy)
        secret = os.urandom(KEY_BYTES) if key is None else read_key(key, out)
        apply = Pseudonymiser(chosen, secret).apply
        header = Header(
            file_id=os.urandom(ID_SIZE),
            recording_id=os.urandom(ID_SIZE),
            wall_ns=min(exchange.arrival_ns for exchange in first),
            producer=f"shadowtape {__version__} import {importer.name}",
            policy=chosen.as_data(),
            policy_digest=chosen.digest,
            key_id=key_id(secret),
            notes={"import": notes},
            expires_ns=expires_ns,
        )
    tape_secret = None if encrypt is None else read_key(encrypt, out, "--encrypt")
    with create_output(out, header, key=tape_secret) as tape, _progress("importing", opened) as advance:
        for run in chain([first], runs):
            account.write(tape, run, header.wall_ns, apply)
            advance()
        _count_damage(opened, account)
        tape.seal(account.confessions())
        account.check(tape.committed)
    result = {
        "read": account.read,
        "written": account.written,
        "dropped": account.dropped,
        "synthetic": account.synthetic,
        "truncated": account.truncated,
        "format": importer.name,
        "files": len(opened.names),
        "notes": list(importer.notes),
        "where": account.where,
        "out": shown(out),
    }
    if json:
        print(jsonlib.dumps(result))
    else:
        _show_import(console(), shown(source), result)
    return 0


def _importer(name: str, opened: Source) -> Importer:
    """By name, or by the first file that has anything in it. Raises UsageError, CaptureError."""
    if name != AUTO:
        return importer_named(name)
    for file, head in opened.heads():
        if head:
            return importer_of(head, file)
    raise CaptureError(f"{shown(opened.where)}: nothing in it")


def _begun(
    items: Iterator[Exchange | Dropped | Provenance], account: Account
) -> tuple[Provenance | None, Iterator[Exchange | Dropped | Provenance]]:
    """What comes before the first exchange."""
    for item in items:
        if isinstance(item, Provenance):
            return item, items
        if isinstance(item, Exchange):
            return None, chain((item,), items)
        account.take_dropped(item)
    return None, items


def _inherited(header: Header, expires_ns: int, source: str) -> Header:
    """Of an export: what is in it stays under the rules of the capture it was made of. Raises CaptureError: it has expired."""
    expiries = [each for each in (header.expires_ns, expires_ns) if each]
    if header.expires_ns and time.time_ns() >= header.expires_ns:
        raise CaptureError(f"{shown(source)}: exported from a capture that has expired; delete it")
    return replace(
        header,
        file_id=os.urandom(ID_SIZE),
        number=1,
        oldest=1,
        oldest_of={},
        encryption={},
        expires_ns=min(expiries, default=0),
    )


def _count_damage(opened: Source, account: Account) -> None:
    for dropped in opened.damage:
        account.take_dropped(dropped)
    opened.damage.clear()


def _why_nothing(account: Account) -> str:
    if not account.dropped:
        return ""
    return "; dropped: " + ", ".join(
        f"{count:,} {reason}{_first_at(account.where[reason])}" for reason, count in account.dropped.items()
    )


def _first_at(where: str) -> str:
    return f" (first: {where})" if where else ""


def _expires_ns(expire: str) -> int:
    """Unix time; 0: never. Raises UsageError."""
    if not expire:
        return 0
    try:
        after_ns = duration_ns(expire, "--expire")
    except ValueError as error:
        raise UsageError(str(error)) from None
    if not after_ns:
        raise UsageError(f"--expire {expire}: write a duration with its unit, for example 30d")
    return time.time_ns() + after_ns


@contextmanager
def _progress(what: str, opened: Source) -> Iterator[Callable[[], object]]:
    """A bar on stderr where somebody watches and waits: over bytes as they are stored."""
    if not sys.stderr.isatty() or 0 < opened.size < PROGRESS_FROM_BYTES:
        yield lambda: None
        return
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=opened.size or None)
        yield lambda: progress.update(task, completed=opened.taken)


def _show_import(screen: Console, source: str, found: dict[str, Any]) -> None:
    screen.print(
        f"{escape(source)} -> {escape(found['out'])}: {plural(found['written'], 'exchange')} of {found['read']:,} read, "
        f"{found['format']}, {plural(found['files'], 'file')}"
    )
    if found["dropped"]:
        table = Table(box=None, padding=(0, 2, 0, 0))
        for title in ("dropped", "count", "first"):
            table.add_column(title, justify="right" if title == "count" else "left", overflow="fold")
        for reason, count in found["dropped"].items():
            table.add_row(reason, f"{count:,}", escape(found["where"].get(reason, "")))
        screen.print(table)
    if found["truncated"]:
        screen.print(f"{found['truncated']:,} with a body that was not recorded whole")
    notes = Table.grid(padding=(0, 1, 0, 0))
    for note in found["notes"]:
        if screen.is_terminal:
            notes.add_row("note:", escape(note))
        else:
            screen.print(f"note: {escape(note)}")
    if notes.rows:
        screen.print(notes)
