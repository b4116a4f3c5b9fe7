"""Paths a codec claims, as a table: adding a path is adding a row."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from urllib.parse import unquote

from captures.codecs.codec import Claim

_HOLE = re.compile(r"\{([a-z]+)\}")


@dataclass(frozen=True)
class Route:
    """``template`` is a path with holes: ``/v2/models/{model}/infer``. A hole never crosses a slash. The holes ``model`` and
    ``version`` (or ``label``) name what is called. ``inference`` holds for POST only: anything else asks about the server.
    """

    template: str
    inference: bool = False

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        parts = _HOLE.split(self.template)
        holes = (f"(?P<{part}>[^/]+)" if odd % 2 else re.escape(part) for odd, part in enumerate(parts))
        return re.compile("".join(holes))


def claim_path(codec: str, table: Sequence[Route], method: str, target: str) -> Claim | None:
    """The claim of the first row that fits, or None."""
    path = path_of(target)
    for route in table:
        if match := route.pattern.fullmatch(path):
            holes = match.groupdict()
            return Claim(
                codec=codec,
                route=f"{method} {route.template}",
                model=unquote(holes.get("model", "")),
                model_version=unquote(holes.get("version") or holes.get("label") or ""),
                inference=route.inference and method == "POST",
            )
    return None


def path_of(target: str) -> str:
    """The path of a request-target, without query or fragment; of the absolute form (RFC 9112 §3.2.2) too."""
    if "://" in target and not target.startswith("/"):
        authority_and_path = target.split("://", 1)[1]
        target = "/" + authority_and_path.partition("/")[2]
    return target.partition("#")[0].partition("?")[0]
