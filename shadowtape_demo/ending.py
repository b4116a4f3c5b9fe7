"""The demo's last table: what was measured, from the facts of the steps that were finished. Pure."""

from collections.abc import Callable, Mapping
from typing import Any

from rich.markup import escape
from rich.table import Table

type Facts = Mapping[str, Any]


def table(facts: Facts) -> Table:
    shown = Table(
        title="shadowtape demo: measured in this run", title_justify="left", show_header=False, pad_edge=False
    )
    shown.add_column(style="bold")
    shown.add_column(overflow="fold")
    for name, key, line in LINES:
        if facts.get(key):
            shown.add_row(name, escape(line(facts)))
    return shown


def _models(facts: Facts) -> str:
    return " · ".join(
        f"{name}: {model['features']} features, accuracy {model['accuracy']:.1%}, ready in {model['ready_s']:.1f} s"
        for name, model in facts["models"].items()
    )


def _traffic(facts: Facts) -> str:
    sent = facts["traffic"]
    answered = " and ".join(f"{count:,} answered {status}" for status, count in sent["statuses"].items())
    failed = f", failed: {sent['failures']}" if sent["failures"] else ""
    return (
        f"{sent['requests']:,} requests in {sent['seconds']:.1f} s, mean {sent['mean_rps']:.0f}/s, "
        f"busiest second {sent['peak_rps']}; {answered}{failed}"
    )


def _capture(facts: Facts) -> str:
    verified, inspected = facts["verify"], facts.get("inspect", {})
    size = inspected.get("size_bytes", 0)
    exchanges = verified.get("exchanges", 0)
    each = f" ({size / exchanges:.0f} bytes each)" if size and exchanges else ""
    shed = inspected.get("confessions", {}).get("shed", "?")
    return (
        f"{'sound' if verified.get('sound') else 'NOT SOUND'}: {exchanges:,} exchanges in {size / 1e6:.2f} MB{each}, "
        f"{shed} shed, {inspected.get('recorded_valid', '?')} with answers that may be compared"
    )


def _audit(facts: Facts) -> str:
    audit = facts["audit"]
    return (
        f"{audit['findings']} findings of {audit['secrets']} planted secrets, in any encoding; "
        f"{audit['raw_findings']} in the raw bytes of the file"
    )


def _replay(facts: Facts) -> str:
    result = facts["replay"]
    response, lateness = result.get("response_ms") or {}, result.get("lateness_ms") or {}
    return (
        f"{result.get('verdict')}, {result['rows']['completed']:,} of {result['rows']['scheduled']:,} answered in "
        f"{result['duration_s']:.1f} s, offered {result['offered_rps']:.0f}/s, response p50 {_ms(response, 'p50')} "
        f"p99 {_ms(response, 'p99')}, lateness p99 {_ms(lateness, 'p99')}"
    )


def _shadow(facts: Facts) -> str:
    return _compared(facts["shadow"])


def _drift(facts: Facts) -> str:
    before = f"; {_agreement(facts['shadow'])} before the drift" if "shadow" in facts else ""
    return _compared(facts["drift"]) + before


def _compared(result: Facts) -> str:
    """A verdict of FAIL says that the new model is not ready: what the step is there to find out."""
    why = "; ".join(result.get("why") or [])
    return (
        f"{result.get('verdict')}, agreement {_agreement(result)}, {result['shadow']['flips']:,} labels flipped ({why})"
    )


def _agreement(result: Facts) -> str:
    agreement = result["shadow"]["agreement"]
    return f"{agreement['value']:.1%} ({agreement['low']:.1%} to {agreement['high']:.1%} of {agreement['n']:,})"


def _refused(facts: Facts) -> str:
    return str(facts["refused"]["why"])


def _moved(facts: Facts) -> str:
    moved = facts["receipt"]["receipt"]["features"]["MedInc"]
    asked = ", ".join(f"{name} {value:g}" for name, value in moved["asked"].items())
    return (
        f"MedInc changed by {moved['change_sd']:.3f} sd in {moved['share']:.0%} of the requests (asked: {asked}); "
        f"PSI {moved['psi']:.3f}, KS {moved['ks']:.3f}"
    )


def _report(facts: Facts) -> str:
    return str(facts["report"])


def _took(facts: Facts) -> str:
    return f"{facts['seconds']:.0f} s"


def _ms(numbers: Mapping[str, float | None], stat: str) -> str:
    value = numbers.get(stat)
    return "-" if value is None else f"{value:.1f} ms"


LINES: tuple[tuple[str, str, Callable[[Facts], str]], ...] = (
    ("models", "models", _models),
    ("recorded", "traffic", _traffic),
    ("capture", "verify", _capture),
    ("secrets", "audit", _audit),
    ("replay at 5x", "replay", _replay),
    ("new model", "shadow", _shadow),
    ("drift", "receipt", _moved),
    ("drifted, live", "drift", _drift),
    ("refused", "refused", _refused),
    ("report", "report", _report),
    ("took", "seconds", _took),
)
