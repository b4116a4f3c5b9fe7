"""The part of the report about answers: agreement, scores, flips, slices, examples. Pure: data in, HTML out.

Every text of a run is escaped where it is put in; the drawings are plain SVG and need no script.
"""

from collections.abc import Mapping, Sequence

from replayer.report.format import count, escape, interval, mapping, mappings, number, percent, score, sequence, texts

BAR_WIDTH, BAR_HEIGHT = 220, 18
BAR_STARTS = (0.0, 0.5, 0.8, 0.9, 0.95, 0.99)
HISTOGRAM_WIDTH, HISTOGRAM_HEIGHT = 520, 190


def section(shadow: Mapping[str, object], sides: tuple[str, str]) -> str:
    """``sides``: what the reference and the candidate are called."""
    parts = [
        "<h2>Answers compared</h2>",
        _agreement(shadow, sides),
        '<div class="grid">',
        _panel(
            "Score differences", f"{escape(sides[1])} minus {escape(sides[0])}, largest of each pair", _scores(shadow)
        ),
        _panel("Label flips", f"rows: {escape(sides[0])}, columns: {escape(sides[1])}", _confusion(shadow)),
        "</div>",
        _slices(shadow),
        _examples(shadow, sides),
    ]
    return "\n".join(part for part in parts if part)


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], numeric: Sequence[bool], classes: str = "") -> str:
    """``rows`` are HTML already; ``heads`` are text. ``numeric`` columns are set right."""

    def cells(tag: str, row: Sequence[str]) -> str:
        return "".join(
            f"<{tag}{' class=n' if right else ''}>{cell}</{tag}>" for cell, right in zip(row, numeric, strict=True)
        )

    head = cells("th", [escape(name) for name in heads])
    body = "\n".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    return f'<div class="scroll"><table class="{classes}"><thead><tr>{head}</tr></thead><tbody>\n{body}\n</tbody></table></div>'


def _panel(title: str, note: str, inside: str) -> str:
    return f'<div class="panel"><h3>{title} <span class="soft">{note}</span></h3>{inside}</div>' if inside else ""


def _agreement(shadow: Mapping[str, object], sides: tuple[str, str]) -> str:
    agreement, match = mapping(shadow.get("agreement")), mapping(shadow.get("match"))
    errors = mapping(shadow.get("errors"))
    labelled = number(shadow.get("labelled")) or 0
    flips = (
        f"{count(shadow.get('flips'))} of {count(labelled)} labelled pairs" if labelled else "no answer holds a label"
    )
    rows = [
        (
            "Agreement",
            interval(agreement, 2),
            "share of comparable pairs whose decisions agree: labels, or where there are none, scores within tolerance",
        ),
        ("Match", interval(match, 2), "share of comparable pairs without any difference beyond tolerance"),
        ("Flips", flips, "pairs in which a label changed"),
        (
            "Schema changes",
            count(shadow.get("schema_changes")),
            "pairs whose outputs differ in name, shape or datatype",
        ),
        (
            "Errors",
            f"{count(errors.get('candidate'))} {escape(sides[1])}, {count(errors.get('reference'))} {escape(sides[0])}",
            f"{count(errors.get('candidate_only'))} on the {escape(sides[1])} side only",
        ),
        (
            "Pairs",
            f"{count(shadow.get('pairs'))}, {count(shadow.get('comparable'))} comparable",
            "the others are counted below and are never a match",
        ),
    ]
    listed = [
        [f'<b class="tight">{name}</b>', f'<span class="tight">{value}</span>', f'<span class="soft">{meaning}</span>']
        for name, value, meaning in rows
    ]
    confidence = percent(agreement.get("confidence"), 0)
    note = f'<p class="note">Intervals: Wilson, {confidence}. Verdicts rest on exact binomial bounds, see docs/comparing.md.</p>'
    return table(["", "", ""], listed, [False] * 3) + note + _incomparable(shadow)


def _incomparable(shadow: Mapping[str, object]) -> str:
    left_out = {**mapping(shadow.get("incomparable")), **mapping(shadow.get("left_out"))}
    if not left_out:
        return ""
    rows = [[escape(why), count(n)] for why, n in left_out.items()]
    return "<h3>Not compared, and why</h3>" + table(["Reason", "Pairs"], rows, [False, True])


def _scores(shadow: Mapping[str, object]) -> str:
    scores = mapping(shadow.get("scores"))
    if not scores:
        return ""
    would = mapping(scores.get("would_pass_rtol"))
    facts = [
        ("mean Δ", score(scores.get("mean"))),
        ("mean |Δ|", score(scores.get("mean_abs"))),
        ("p50 |Δ|", score(scores.get("p50"))),
        ("p99 |Δ|", score(scores.get("p99"))),
        ("max |Δ|", score(scores.get("max"))),
    ]
    drawn = _histogram(mapping(scores.get("histogram")))
    body = table([name for name, _ in facts], [[value for _, value in facts]], [True] * len(facts))
    passing = (
        f"99 % of the pairs would match with --tolerance {score(would.get('p99'))}, all with {score(would.get('max'))}."
    )
    infinite = number(scores.get("infinite")) or 0
    beyond = f" {count(infinite)} differences are not finite (NaN or infinity on one side)." if infinite else ""
    return f'{drawn}{body}<p class="note">{passing}{beyond}</p>'


def _histogram(histogram: Mapping[str, object]) -> str:
    counts = [number(value) or 0.0 for value in sequence(histogram.get("counts"))]
    edges = [number(value) or 0.0 for value in sequence(histogram.get("edges"))]
    if len(edges) != len(counts) + 1 or not any(counts):
        return ""
    left, bottom, right, top = 52, 26, 8, 12
    wide, high = HISTOGRAM_WIDTH - left - right, HISTOGRAM_HEIGHT - bottom - top
    step, most = wide / len(counts), max(counts)
    bars = [
        f'<rect x="{left + at * step + 0.5:.1f}" y="{top + high * (1 - n / most):.1f}" width="{max(step - 1, 0.5):.1f}" '
        f'height="{high * n / most:.1f}" fill="var(--one)">'
        f"<title>{score(edges[at])} to {score(edges[at + 1])}: {count(n)} pairs</title></rect>"
        for at, n in enumerate(counts)
        if n
    ]
    middle = left + wide / 2
    axis = [
        f'<line x1="{left}" x2="{left + wide}" y1="{top + high:.1f}" y2="{top + high:.1f}" stroke="var(--line)"/>',
        f'<line x1="{middle}" x2="{middle}" y1="{top}" y2="{top + high}" stroke="var(--soft)" stroke-dasharray="2 3"/>',
        *(
            f'<text x="{x}" y="{HISTOGRAM_HEIGHT - 8}" text-anchor="{anchor}">{score(value)}</text>'
            for x, anchor, value in (
                (left, "start", edges[0]),
                (middle, "middle", 0.0),
                (left + wide, "end", edges[-1]),
            )
        ),
        f'<text x="{left - 8}" y="{top + 8}" text-anchor="end">{count(most)}</text>',
        f'<text x="{left - 8}" y="{top + high}" text-anchor="end">0</text>',
    ]
    size = f'viewBox="0 0 {HISTOGRAM_WIDTH} {HISTOGRAM_HEIGHT}" width="100%"'
    return f'<svg {size} role="img" aria-label="Histogram of score differences">{"".join(bars + axis)}</svg>'


def _confusion(shadow: Mapping[str, object]) -> str:
    confusion = mapping(shadow.get("confusion"))
    labels, counts = texts(confusion.get("labels")), [sequence(row) for row in sequence(confusion.get("counts"))]
    if not labels:
        return ""
    most = max((number(value) or 0.0 for row in counts for value in row), default=0.0) or 1.0

    def cell(value: object) -> str:
        found = number(value) or 0.0
        if not found:
            return '<td class="soft">·</td>'
        depth = round(12 + 48 * found / most)
        return f'<td style="background:color-mix(in srgb, var(--two) {depth}%, transparent)">{count(found)}</td>'

    head = "".join(f"<th>{escape(label)}</th>" for label in labels)
    body = "".join(
        f"<tr><th>{escape(label)}</th>{''.join(cell(value) for value in row)}</tr>"
        for label, row in zip(labels, counts, strict=False)
    )
    return f'<div class="scroll"><table class="heat"><thead><tr><th></th>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _slices(shadow: Mapping[str, object]) -> str:
    slices = mappings(shadow.get("slices"))
    if not slices:
        return ""
    overall = number(mapping(shadow.get("agreement")).get("value"))
    floor = min([number(one.get("low")) or 0.0 for one in slices])
    start = max(one for one in BAR_STARTS if one <= floor)
    rows = [
        [
            f"<b>{escape(one.get('dimension', ''))}</b>{' <span title="beyond chance">●</span>' if one.get('notable') else ''}",
            escape(one.get("part", "")),
            _bar(one, overall, start),
            percent(one.get("agreement")),
            f"{percent(one.get('low')).removesuffix(' %')} to {percent(one.get('high')).removesuffix(' %')}",
            count(one.get("n")),
        ]
        for one in slices
    ]
    legend = (
        f"bar: agreement from {percent(start, 0)} to 100 %; whisker: its interval; dashed: all pairs ({percent(overall)}); "
        "● and orange: beyond chance, however many slices were looked at"
    )
    heads = ["Slice", "Part", "", "Agreement", "95 % interval", "Pairs"]
    return f'<h3>Worst slices</h3><p class="note">{legend}</p>' + table(
        heads, rows, [False, False, False, True, True, True], "bars"
    )


def _bar(one: Mapping[str, object], overall: float | None, start: float) -> str:
    def x(share: object) -> float:
        return max(0.0, ((number(share) or 0.0) - start) / (1 - start)) * (BAR_WIDTH - 2) + 1

    middle = BAR_HEIGHT / 2
    colour = "var(--two)" if one.get("notable") else "var(--one)"
    dashed = (
        f'<line x1="{x(overall):.1f}" x2="{x(overall):.1f}" y1="0" y2="{BAR_HEIGHT}" stroke="var(--soft)" stroke-dasharray="2 2"/>'
        if overall is not None
        else ""
    )
    return (
        f'<svg width="{BAR_WIDTH}" height="{BAR_HEIGHT}" role="img" aria-label="agreement {percent(one.get("agreement"))}">'
        f'<rect x="1" y="3" width="{BAR_WIDTH - 2}" height="{BAR_HEIGHT - 6}" rx="2" fill="var(--grid)"/>'
        f'<rect x="1" y="3" width="{x(one.get("agreement")) - 1:.1f}" height="{BAR_HEIGHT - 6}" rx="2" fill="{colour}"/>'
        f'<line x1="{x(one.get("low")):.1f}" x2="{x(one.get("high")):.1f}" y1="{middle}" y2="{middle}" '
        f'stroke="var(--ink)" stroke-width="1.5"/>'
        f"{dashed}</svg>"
    )


def _examples(shadow: Mapping[str, object], sides: tuple[str, str]) -> str:
    examples = mappings(shadow.get("examples"))
    if not examples:
        return ""
    rows = [
        [
            count(example.get("row")),
            count(example.get("source")),
            _features(mapping(example.get("features"))),
            f'<span class="mono">{escape(example.get("left", ""))}</span>',
            f'<span class="mono">{escape(example.get("right", ""))}</span>',
            "<br>".join(_difference(difference) for difference in mappings(example.get("differences"))[:3]),
        ]
        for example in examples
    ]
    heads = ["Row", "Exchange", "Features", sides[0], sides[1], "Difference"]
    note = '<p class="note">At most twenty, as they may be kept under the recording\'s policy.</p>'
    return "<h3>Worst disagreements</h3>" + note + table(heads, rows, [True, True, False, False, False, False])


def _features(features: Mapping[str, object]) -> str:
    shown = [
        f"{escape(name)} <b>{escape(value) if number(value) is None else score(value)}</b>"
        for name, value in features.items()
    ]
    return f'<span class="note">{", ".join(shown)}</span>'


def _difference(difference: Mapping[str, object]) -> str:
    kind, path = str(difference.get("kind", "")), str(difference.get("path", ""))
    delta = number(difference.get("delta"))
    sides = f"{escape(difference.get('left', ''))} → {escape(difference.get('right', ''))}"
    change = f"Δ {delta:+.4g}" if delta is not None else sides
    where = "" if path == kind else f" {escape(path)}"
    return f'<span class="soft">{escape(kind)}</span>{where}: <span class="tight">{change}</span>'
