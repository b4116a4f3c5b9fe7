"""How a recording ended, and the line that says so. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from captures.confessions import Confessions
from captures.wording import size_text

_LEFT_OUT = ("shed", "sampled_out", "own", "truncated", "unparsed", "hook_errors")


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
