"""`shadowtape policy check`, `explain` and `schema`: facts come from privacy/, this file reads files and prints."""

import json as jsonlib
import os
import sys
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from captures.console import JsonOption, TapeKeyOption, console, show
from captures.errors import UsageError
from captures.exchange import Exchange
from captures.opening import open_capture
from captures.policy_files import read_policy
from captures.privacy.at_hand import exchange_of, exchange_of_curl
from captures.privacy.canaries import self_test
from captures.privacy.explain import Explanation, Line
from captures.privacy.explain import explain as explained
from captures.privacy.key import KEY_BYTES
from captures.privacy.policy import Policy
from captures.privacy.policy_check import Warning as PolicyWarning
from captures.privacy.policy_check import warnings
from captures.privacy.pseudonymise import Pseudonymiser
from captures.tape_key import tape_key
from captures.wording import plural

LONGEST_SHOWN = 60  # characters of a value
STDIN = "-"


def check(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A policy file.", show_default=False)],
    *,
    json: JsonOption = False,
) -> int:
    """Whether a policy file is valid, and what it would let through.

    Warns of rules that never apply, and of what would be kept that looks like
    free text or like somebody's; plants secrets, as the recorder does before it
    starts.

    Exits 0 if the policy is valid, whatever it was warned of; 2 if it is not,
    or if the recorder would refuse it.

    [bold]Examples[/bold]

      shadowtape policy check policy.yaml

      shadowtape policy check policy.yaml --json | jq '.warnings[]'
    """
    policy = read_policy(file, "")
    found = warnings(policy)
    leak = self_test(policy, os.urandom(KEY_BYTES))
    if json:
        print(jsonlib.dumps(_checked(policy, found, leak)))
    else:
        for each in found:
            whose = f"rule {each.rule}: " if each.rule else ""
            console().print(f"[yellow]{each.kind}[/yellow]: {escape(whose + each.message)}")
        if leak:
            console().print(f"[red]refused[/red]: {escape(leak)}")
        state = "[red]leaks[/red]" if leak else "[green]valid[/green]"
        rules = plural(len(policy.rules), "rule")
        console().print(
            f"{escape(str(file))}: {state}, {rules}, {plural(len(found), 'warning')}, digest {policy.digest}"
        )
    return 2 if leak else 0


def _checked(policy: Policy, found: list[PolicyWarning], leak: str) -> dict[str, object]:
    return {
        "valid": not leak,
        "refused": leak,
        "warnings": [{"rule": each.rule, "kind": each.kind, "message": each.message} for each in found],
        "rules": len(policy.rules),
        "digest": policy.digest,
    }


def explain(
    file: Annotated[
        Path | None,
        typer.Argument(metavar="[FILE]", help="A policy file. Without one: the default policy.", show_default=False),
    ] = None,
    *,
    request: Annotated[
        str | None,
        typer.Option("--request", metavar="FILE", help="A request as HTTP/1.1 text; -: stdin.", show_default=False),
    ] = None,
    response: Annotated[
        Path | None,
        typer.Option("--response", metavar="FILE", help="Its answer as HTTP/1.1 text.", show_default=False),
    ] = None,
    curl: Annotated[
        str | None,
        typer.Option("--curl", metavar="LINE", help="A curl command line, in quotes.", show_default=False),
    ] = None,
    capture: Annotated[
        str | None,
        typer.Option("--capture", metavar="CAPTURE", help="An exchange of a capture.", show_default=False),
    ] = None,
    exchange: Annotated[int, typer.Option("--exchange", metavar="N", min=0, help="Which one, from 0.")] = 0,
    tape_key_file: TapeKeyOption = None,
    reveal: Annotated[bool, typer.Option("--show", help="Print the values themselves too.")] = False,
    json: JsonOption = False,
) -> int:
    r"""What a policy does with each field of a real request.

    Runs the very code that records, under a key made for the occasion: the
    place, what decided, the action, the kind of value and its surrogate. Values
    themselves are printed with --show only. Says whether the recorded answer
    would still belong to the request, and where surrogates are so few that two
    values may get the same one.

    [bold]Examples[/bold]

      shadowtape policy explain policy.yaml --request request.http

      shadowtape policy explain --curl "curl http://m/v1/models/m:predict \
        -d '{\"instances\": [{\"user_id\": 12345, \"age\": 41}]}'"

      shadowtape policy explain policy.yaml --capture monday.tape --exchange 7
    """
    if sum(each is not None for each in (request, curl, capture)) != 1:
        raise UsageError("policy explain: name one request: --request FILE, --curl LINE or --capture CAPTURE")
    if response is not None and request is None:
        raise UsageError("--response belongs to --request")
    policy = read_policy(file, "")
    if capture is not None:
        asked = _recorded(capture, exchange, tape_key_file)
    elif curl is not None:
        asked = exchange_of_curl(curl, lambda name: _content(name, "--curl"))
    else:
        answer = None if response is None else _content(str(response), "--response")
        asked = exchange_of(_content(str(request), "--request"), answer, f"--request {request}")
    found = explained(Pseudonymiser(policy, os.urandom(KEY_BYTES), derived=capture is not None), asked)
    if json:
        print(jsonlib.dumps(_as_data(found, reveal=reveal)))
    else:
        _show(found, reveal=reveal)
    return 0


def schema() -> int:
    """The JSON Schema of policy files, for editors that check while you type.

    [bold]Examples[/bold]

      shadowtape policy schema > policy.schema.json
    """
    print(jsonlib.dumps(Policy.model_json_schema(), indent=2))
    return 0


def _content(name: str, option: str) -> bytes:
    if name == STDIN:
        return sys.stdin.buffer.read()
    try:
        return Path(name).read_bytes()
    except OSError as error:
        raise UsageError(f"{option} {name}: cannot be read: {error.strerror}") from None


def _recorded(capture: str, ordinal: int, tape_key_file: Path | None) -> Exchange:
    with open_capture(capture, key=tape_key(tape_key_file)) as opened:
        found = next((each for at, each in islice(opened.numbered(), ordinal + 1) if at == ordinal), None)
    if found is None:
        raise UsageError(f"--exchange {ordinal}: {capture} has no such exchange")
    return found


def _as_data(found: Explanation, *, reveal: bool) -> dict[str, object]:
    return {
        "route": found.route,
        "codec": found.codec,
        "replayable": found.replayable,
        "recorded_valid": found.recorded_valid,
        "why": list(found.why),
        "fields": [_line_as_data(line, reveal=reveal) for line in found.lines],
    }


def _line_as_data(line: Line, *, reveal: bool) -> dict[str, object]:
    return {
        "place": line.place,
        "role": line.role,
        "decided": line.decided,
        "action": line.action,
        "kind": line.kind,
        "changed": line.changed,
        "after": line.after if reveal else line.shown if line.changed else None,
        "possible": line.possible or None,
    } | ({"before": line.before} if reveal else {})


def _show(found: Explanation, *, reveal: bool) -> None:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title in ("place", "kind", "decided", "action", *(("before",) if reveal else ()), "after"):
        table.add_column(title, overflow="fold")
    for line, count in _grouped(found.lines).items():
        place = line.place + (f" (and {count - 1:,} like it)" if count > 1 else "")
        cells = [place, line.kind, line.decided, line.action]
        table.add_row(*map(escape, [*cells, *([_cut(line.before)] if reveal else []), _after(line, reveal=reveal)]))
    show(table)
    few = [line for line in _grouped(found.lines) if line.possible]
    for line in few:
        console().print(
            escape(f"{line.place}: only {line.possible:,} possible surrogates: different values may get the same one")
        )
    console().print(
        escape(f"{found.route}: {'replayable' if found.replayable else 'not replayable'}, {_verdict(found)}")
    )


def _grouped(lines: tuple[Line, ...]) -> dict[Line, int]:
    """Lines that differ in their indexes and values only count as one, the first."""
    first: dict[tuple[str, ...], Line] = {}
    counts: Counter[Line] = Counter()
    for line in lines:
        alike = "".join("" if character.isdigit() else character for character in line.place)
        kind = line.kind.partition(",")[0]
        counts[first.setdefault((alike, line.role, line.decided, line.action, kind), line)] += 1
    return dict(counts)


def _after(line: Line, *, reveal: bool) -> str:
    if line.after is None:
        return "left out"
    if reveal:
        return _cut(line.after)
    return _cut(line.shown or "") if line.changed else "as it is"


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}… ({len(text):,} characters)"


def _verdict(found: Explanation) -> str:
    if found.recorded_valid:
        return "a recorded answer still belongs to it"
    more = f" and {len(found.why) - 3} more" if len(found.why) > 3 else ""
    return "no recorded answer to compare with: " + "; ".join(found.why[:3]) + more
