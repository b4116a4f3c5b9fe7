"""How a recording ended, and the line that says so. Pure."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from captures import recordings
from captures.confessions import Confessions
from captures.wording import size_text

_LEFT_OUT = ("shed", "sampled_out", "own", "filtered", "truncated", "unparsed", "hook_errors")


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """``path``: the file, folder or URL. ``kept``: exchanges written, those included that retention has removed since.
    ``trouble``: "" or why the recording is incomplete.
    """

    path: str
    kept: int
    confessions: Confessions
    trouble: str = ""
    files: int = 1
    removed: int = 0  # files that retention removed
    removed_bytes: int = 0
    other: Mapping[str, int] = field(default_factory=dict)  # by label: values that were not kept
    staged: int = 0  # files that could not be uploaded
    staging: str = ""  # where they are


def summed(reports: Sequence[Report]) -> Report:
    """Of all spools of a recording, one after the other or beside one another; there is at least one."""
    other: Counter[str] = Counter()
    for report in reports:
        other.update(report.other)
    return Report(
        path=reports[0].path,
        kept=sum(report.kept for report in reports),
        confessions=recordings.summed([report.confessions for report in reports]),
        trouble=next((report.trouble for report in reports if report.trouble), ""),
        files=sum(report.files for report in reports),
        removed=sum(report.removed for report in reports),
        removed_bytes=sum(report.removed_bytes for report in reports),
        other=dict(sorted(other.items())),
        staged=sum(report.staged for report in reports),
        staging=next((report.staging for report in reports if report.staging), ""),
    )


def closing_line(report: Report) -> str:
    said = report.confessions
    counts = ", ".join(f"{name.replace('_', ' ')} {getattr(said, name)}" for name in _LEFT_OUT)
    line = f"recorded {report.kept} of {said.seen} exchanges into {report.path} ({counts})"
    more = []
    if report.files > 1:
        more.append(f"{report.files} files")
    if report.removed:
        more.append(f"{_files(report.removed)} removed by retention ({size_text(report.removed_bytes)})")
    if report.other:
        more.append("label values kept as other: " + ", ".join(f"{name} {n}" for name, n in report.other.items()))
    if report.staged:
        more.append(f"{_files(report.staged)} not uploaded, in {report.staging}")
    if report.trouble:
        more.append(f"incomplete: {report.trouble}")
    return "; ".join([line, *more])


def _files(count: int) -> str:
    return "1 file" if count == 1 else f"{count} files"
