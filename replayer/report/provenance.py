"""The part of the report that says where the numbers come from: inputs and what they confess, transforms and their receipt,
configuration, versions, machine. Pure.
"""

import json
from collections.abc import Mapping

from replayer.report.comparison import table
from replayer.report.format import count, escape, mapping, mappings, number, texts

NOT_LACKING = frozenset({"seen", "sampling_rate"})  # of a capture's confessions: these count what is there
PLAIN = ("command", "run_id", "started", "finished", "seed", "schedule_digest", "event_loop")


def section(summary: Mapping[str, object], run: Mapping[str, object]) -> str:
    parts = [
        "<h2>Where this comes from</h2>",
        _inputs(run),
        _transforms(summary, run),
        _facts(run),
        _raw("Configuration", run.get("config")),
    ]
    parts += [
        _raw("Generator", summary.get("generator")),
        _raw("Machine", run.get("machine")),
        _raw("Versions", run.get("versions")),
    ]
    return "\n".join(part for part in parts if part)


def _inputs(run: Mapping[str, object]) -> str:
    inputs = mappings(run.get("inputs"))
    if not inputs:
        return ""
    rows = [
        [
            escape(one.get("path", "")),
            f'<span class="mono">{escape(one.get("digest", ""))}</span>',
            count(one.get("exchanges")),
            _confessed(mapping(one.get("confessions"))),
        ]
        for one in inputs
    ]
    return "<h3>Inputs</h3>" + table(
        ["Capture", "Digest", "Exchanges", "What it lacks"], rows, [False, False, True, False]
    )


def _confessed(confessions: Mapping[str, object]) -> str:
    lacking = [
        f"{count(n)} {escape(name.replace('_', ' '))}"
        for name, n in confessions.items()
        if name not in NOT_LACKING and number(n)
    ]
    rate = number(confessions.get("sampling_rate"))
    if rate is not None and rate < 1:
        lacking.insert(0, f"sampled at {100 * rate:.4g} %")
    return ", ".join(lacking) or '<span class="soft">nothing</span>'


def _transforms(summary: Mapping[str, object], run: Mapping[str, object]) -> str:
    chain = texts(run.get("transforms"))
    receipt = run.get("receipt") or summary.get("receipt")
    if not chain and not receipt:
        return "<h3>Transforms</h3><p>None: sent as recorded.</p>"
    listed = "".join(f"<li><code>{escape(step)}</code></li>" for step in chain)
    return f"<h3>Transforms</h3><ol>{listed}</ol>" + _raw("Receipt: what they measurably did", receipt, opened=True)


def _facts(run: Mapping[str, object]) -> str:
    facts = [(name, run[name]) for name in PLAIN if run.get(name) not in (None, "")]
    facts += list(mapping(run.get("targets")).items())
    listed = "".join(f"<dt>{escape(name.replace('_', ' '))}</dt><dd>{escape(value)}</dd>" for name, value in facts)
    return f"<h3>Run</h3><dl>{listed}</dl>" if listed else ""


def _raw(title: str, value: object, *, opened: bool = False) -> str:
    if not value:
        return ""
    text = json.dumps(value, indent=2, default=str, ensure_ascii=False)
    return f"<details{' open' if opened else ''}><summary>{escape(title)}</summary><pre class=mono>{escape(text)}</pre></details>"
