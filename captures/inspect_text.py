"""The facts of a capture for people: most important first, nothing that says nothing. Pure: facts in, for rich to draw."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from captures.inspection import phrase
from captures.wording import duration, milliseconds, plural, share, size_text, sparkline

type Facts = Mapping[str, Any]

ROWS_SHOWN = 12
VALUES_SHOWN = 8
DAMAGE_SHOWN = 20
NO_ANSWER = "no answer"


def view(name: str, found: Facts, *, everything: bool = False) -> RenderableType:
    """``name``: what the user called it. ``everything``: no list is cut short."""
    most = len(found["routes"]) + len(found["damage"]) + 1 if everything else ROWS_SHOWN
    parts: list[RenderableType] = [
        _title(name, found),
        *map(_damage, found["damage"][: most if everything else DAMAGE_SHOWN]),
    ]
    if len(found["damage"]) > DAMAGE_SHOWN and not everything:
        parts.append(f"  … and {len(found['damage']) - DAMAGE_SHOWN:,} more: shadowtape verify")
    parts += [_lines(_summary(found))]
    if found["exchanges"]:
        parts += [_times(found), *_calls(found, most), *_models(found, most)]
    parts += [_lines(_rest(found))]
    return Group(*(each for part in parts for each in (("", part) if isinstance(part, Table) else (part,))))


def _title(name: str, found: Facts) -> RenderableType:
    header = found["header"]
    what = [header["kind"] if not found["synthetic"] else f"{header['kind']}, synthetic"]
    files = found["files"]
    if len(files) > 1:
        what.append(plural(len(files), "file"))
    what += [size_text(found["size_bytes"]), "sealed" if found["sealed"] else "[yellow]not sealed[/yellow]"]
    if found["encrypted"]:
        what.append("encrypted")
    return Text.from_markup(f"[bold]{escape(name)}[/bold]  {' · '.join(what)}")


def _damage(each: Facts) -> RenderableType:
    return Text.from_markup(damage_line(each))


def damage_line(each: Facts) -> str:
    """One line of markup for an entry of ``damage``."""
    lost = each["exchanges_lost"]
    cost = "an unknown number of exchanges" if lost is None else plural(lost, "exchange")
    file = f"{each['file']}: " if each.get("file") else ""
    where = f"segment {each['segment']}" if each["segment"] >= 0 else "outside the segments"
    if each["offset"] < 0:
        return f"[red]damage[/red] {escape(file + each['reason'])}; lost: {cost}"
    return (
        f"[red]damage[/red] {escape(file)}at byte {each['offset']:,}, {where}: {escape(each['reason'])}; lost: {cost}"
    )


def _lines(pairs: Iterator[tuple[str, str]]) -> Table:
    """Names in a narrow column, values beside them, wrapped between words."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True, min_width=10)
    table.add_column(overflow="fold")
    for name, value in pairs:
        table.add_row(name, value)
    return table


def _summary(found: Facts) -> Iterator[tuple[str, str]]:
    n, rate = found["exchanges"], found["rate"]
    if not n:
        yield "exchanges", "none"
    else:
        yield "exchanges", f"[bold]{n:,}[/bold] in {duration(found['duration_s'])}, from {found['start']}"
        if rate["counts"]:
            yield "rate", f"{rate['mean_rps']:,.1f}/s on average, {rate['peak_rps']:,} in the busiest second"
            bar = (
                "a second"
                if rate["bin_s"] == 1
                else f"{rate['bin_s']} s"
                if rate["bin_s"] < 120
                else duration(rate["bin_s"])
            )
            yield "", f"{sparkline(rate['counts'])}" + (f"  [dim]a bar: {bar}[/dim]" if len(rate["counts"]) > 1 else "")
        yield "answers", _answers(found)
        if found["untimed"]:
            yield "times", f"{_of(found['untimed'], found['responses'])} of the answers without a time: not recorded"
        valid = found["recorded_valid"]
        yield "usable", f"{_of(found['replayable'], n)} replayable; {_of(valid, n)} with an answer valid for comparison"
    yield "left out", "; ".join(map(escape, [*found["lacks"], *_lost(found["damage"])])) or "nothing"


def _lost(damage: Sequence[Facts]) -> Iterator[str]:
    known = sum(each["exchanges_lost"] or 0 for each in damage)
    if known:
        yield f"{plural(known, 'exchange')} lost to damage"
    if any(each["exchanges_lost"] is None for each in damage):
        yield f"an unknown number {'more' if known else 'of exchanges'} lost to damage"


def _of(count: int, whole: int) -> str:
    if count in (0, whole):
        return "all" if count else "none"
    return f"{count:,} ({share(count, whole)})"


def _answers(found: Facts) -> str:
    n = found["exchanges"]
    mix = [(f"{code} {phrase(int(code))}".strip(), count, code[0] in "45") for code, count in found["status"].items()]
    mix += [(kind.replace("_", " "), count, True) for kind, count in found["failures"].items()]
    if found["unanswered"]:
        mix.append((NO_ANSWER, found["unanswered"], False))
    mix.sort(key=lambda row: -row[1])
    shown = [
        f"{escape(what)}: {count:,}" + (f" ({share(count, n)})" if count < n else "")
        for what, count, _ in mix[:VALUES_SHOWN]
    ]
    if len(mix) > VALUES_SHOWN:
        shown.append(f"{len(mix) - VALUES_SHOWN} kinds more")
    return " · ".join(shown) or "none"


_COLUMNS = ("p50", "p90", "p99", "p999", "max")


def _times(found: Facts) -> RenderableType:
    """Service times, and the sizes of what was said, side by side."""
    table = _table("", "n", "p50", "p90", "p99", "p99.9", "max")
    service, sizes, stream = found["service_ms"], found["sizes"], found["stream"]
    rows: list[tuple[str, Facts, Any]] = [
        ("to first byte", service["first_byte"], milliseconds),
        ("to last byte", service["last_byte"], milliseconds),
        ("request body", sizes["request_size"], _size),
        ("response body", sizes["response_size"], _size),
    ]
    if found["streams"]:
        rows += [
            ("streams: to first byte", stream["first_byte_ms"], milliseconds),
            ("streams: chunks", stream["chunks"], lambda value: f"{value:,.0f}"),
        ]
    for title, values, written in rows:
        if values["n"]:
            table.add_row(title, f"{values['n']:,}", *(written(values[name]) for name in _COLUMNS))
    return table


def _size(count: float) -> str:
    return size_text(round(count))


def _calls(found: Facts, most: int) -> Iterator[RenderableType]:
    routes = found["routes"]
    columns = ["model"] if len({row["model"] for row in routes}) > 1 else []
    table = _table("call", *columns, "count", "share", "p50", "p99", "errors")
    for row in routes[:most]:
        call = f"{row['method']} {row['path'] or '-'}".strip()
        named = [escape(row[name] or "-") for name in columns]
        table.add_row(escape(call), *named, *_group(row, found["exchanges"]))
    yield table
    if len(routes) > most:
        yield f"[dim]… and {len(routes) - most:,} more (--json has them all)[/dim]"


def _models(found: Facts, most: int) -> Iterator[RenderableType]:
    models = found["models"]
    calls_of = Counter(row["model"] for row in found["routes"])
    if len(models) < 2 or max(calls_of.values()) < 2:
        return  # the calls say it all
    table = _table("model", "count", "share", "p50", "p99", "errors")
    for row in models[:most]:
        table.add_row(escape(row["model"] or "-"), *_group(row, found["exchanges"]))
    yield table
    if len(models) > most:
        yield f"[dim]… and {len(models) - most:,} more (--json has them all)[/dim]"


def _group(row: Facts, total: int) -> tuple[str, ...]:
    bad, times = row["errors"], row["service_ms"]
    return (
        f"{row['count']:,}",
        share(row["count"], total),
        milliseconds(times["p50"]),
        milliseconds(times["p99"]),
        f"[yellow]{share(bad, row['count'])}[/yellow]" if bad else "-",
    )


def _table(first: str, *others: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    table.add_column(first, overflow="fold")
    for name in others:
        words = name == "model"
        table.add_column(name, justify="left" if words else "right", no_wrap=not words, overflow="fold")
    return table


def _rest(found: Facts) -> Iterator[tuple[str, str]]:
    n, totals, header = found["exchanges"], found["bytes"], found["header"]
    if n:
        kept = totals["request_kept"] + totals["response_kept"]
        wire = totals["request_size"] + totals["response_size"]
        parts = f"{size_text(totals['request_kept'])} of requests, {size_text(totals['response_kept'])} of responses"
        yield "bodies", f"{size_text(wire)} on the wire, {size_text(kept)} kept: {parts}"
        if found["streams"]:
            yield "streams", f"{found['streams']:,} ({share(found['streams'], n)})"
        yield "sessions", _sessions(found)
    for label, values in found["labels"].items():
        shown = [f"{escape(value or 'none')} {share(count, n)}" for value, count in list(values.items())[:VALUES_SHOWN]]
        more = f" · {len(values) - VALUES_SHOWN:,} more" if len(values) > VALUES_SHOWN else ""
        yield f"label {escape(label)}", " · ".join(shown) + more
    codecs: Counter[str] = Counter()
    for row in found["routes"]:
        codecs[row["codec"]] += row["count"]
    if codecs:
        yield (
            "codecs",
            " · ".join(f"{escape(name)} {share(count, n)}" for name, count in codecs.most_common(VALUES_SHOWN)),
        )
    if found["percentile_error"]:
        yield (
            "figures",
            f"percentiles are within {100 * found['percentile_error']:.2f} % (so many exchanges are not sorted)",
        )
    yield from _files(found)
    if header["expires"]:
        yield "expires", header["expires"]
    if found["encrypted"]:
        yield (
            "encrypted",
            f"{header['encryption'].get('cipher', '')}, tape key {header['encryption'].get('key_id', '')}",
        )
    yield "policy", escape(f"{header['policy_digest'] or 'none'}, token key {header['key_id'] or 'none'}")
    yield from _origin(header)
    yield "digest", found["digest"]


def _sessions(found: Facts) -> str:
    per = found["per_session"]
    connections = plural(found["connections"], "connection")
    if not found["sessions"]:
        return f"none named, {connections}"
    each = f"{plural(int(per['p50']), 'exchange')} in the median session, {per['max']:,.0f} in the longest"
    return f"{found['sessions']:,}, {each}; {connections}"


def _files(found: Facts) -> Iterator[tuple[str, str]]:
    files: Sequence[Facts] = found["files"]
    if len(files) < 2 and not found["expired_files"]:
        return
    numbers = [each["number"] for each in files]
    unsealed = sum(not each["sealed"] for each in files)
    recordings = len({each["recording_id"] for each in files})
    said = [plural(len(files), "file")]
    said.append(f"of {recordings} recordings" if recordings > 1 else f"numbers {min(numbers)} to {max(numbers)}")
    said.append(f"{unsealed} not sealed" if unsealed else "all sealed")
    sizes = [each["size_bytes"] for each in files]
    said.append(f"{size_text(min(sizes))} to {size_text(max(sizes))} each")
    if found["expired_files"]:
        said.append(f"{plural(found['expired_files'], 'expired file')} left out")
    yield "files", ", ".join(said)


def _origin(header: Facts) -> Iterator[tuple[str, str]]:
    yield "written by", escape(header["producer"])
    for each in header["inputs"][:VALUES_SHOWN]:
        yield "made from", escape(", ".join(str(each[key]) for key in ("path", "digest") if each.get(key)))
    for name, value in list(header["notes"].items())[:VALUES_SHOWN]:
        yield f"note {escape(str(name))}"[:20], escape(_short(value))


def _short(value: object) -> str:
    if isinstance(value, Mapping):
        text = ", ".join(f"{key} {each}" for key, each in value.items())
    else:
        text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return text if len(text) <= 200 else text[:199] + "…"
