"""Request-targets for formats that record none: ``--path-template`` with its holes filled."""

import re
from urllib.parse import quote

from captures.errors import UsageError

_HOLE = re.compile(r"\{([^{}]*)\}")
_TARGET = re.compile(r"/[!-~]*")  # RFC 9112 §3.2.1, origin form: no spaces, no control characters


def check_template(template: str, model: str = "") -> None:
    """Raises UsageError: what ``--path-template`` and ``--model`` were given cannot become a request-target."""
    if not model.isprintable() or any("\ud800" <= character <= "\udfff" for character in model):
        raise UsageError("--model: not a name; write it in printable UTF-8")
    unknown = [f"{{{hole}}}" for hole in _HOLE.findall(template) if hole != "model"]
    if unknown:
        raise UsageError(
            f"--path-template {template!r}: {unknown[0]} is not recorded in this format; write its value itself "
            "(only {model} is filled in)"
        )
    if not _TARGET.fullmatch(template) or re.search(r"[{}]", _HOLE.sub("", template)):
        raise UsageError(f"--path-template {template!r}: not a path; write one like '/v2/models/{{model}}/infer'")


def target_of(template: str, model: str) -> str:
    """The request-target of a checked template. The model's name is percent-encoded: it fills one segment."""
    return template.replace("{model}", quote(model, safe=""))
