"""One rule of a policy as people write it: one place, one action, the action's parameters.

This file knows what may be written. What a rule matches is rules.py, what an action does is actions.py.
"""

import re
from fnmatch import fnmatchcase
from fractions import Fraction
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from captures.amounts import duration_ns, exact, share_of
from captures.privacy.patterns import pattern_of, template_of

type Action = Literal[
    "keep",
    "token",
    "surrogate",
    "redact",
    "drop",
    "mask",
    "generalise",
    "truncate-ip",
    "shift-time",
    "blur",
    "scrub-text",
    "words",
]
type RuleRole = Literal["feature", "prediction", "text", "identity", "name", "other"]
type Unit = Literal["year", "month", "day", "hour"]
PLACES = ("path", "header", "query", "segment", "role")
ACTIONS: tuple[Action, ...] = get_args(Action.__value__)

CREDENTIALS = (
    "api-key",
    "apikey",
    "authorization",
    "cookie",
    "ocp-apim-subscription-key",
    "proxy-authorization",
    "set-cookie",
    "x-amz-security-token",
    "x-api-key",
    "x-auth-token",
    "x-csrf-token",
    "x-goog-api-key",
)
FOR_CREDENTIALS = frozenset(("token", "redact", "drop"))
"""All that a rule may do with a credential."""

# action: the parameters it takes. What is not listed takes none.
PARAMETERS: dict[str, tuple[str, ...]] = {
    "token": ("domain",),
    "surrogate": ("domain",),
    "mask": ("keep_first", "keep_last"),
    "generalise": ("step", "unit"),
    "truncate-ip": ("v4", "v6"),
    "shift-time": ("up_to",),
    "blur": ("by",),
    "scrub-text": ("domain",),
    "words": ("domain",),
}
_OWNERS = {name: tuple(a for a in ACTIONS if name in PARAMETERS.get(a, ())) for p in PARAMETERS.values() for name in p}
_PLAIN_GLOB = re.compile(r"[^*?\[\]]+")


def _written(value: object) -> object:
    """A number is as good as its text."""
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


type _Glob = Annotated[str, Field(min_length=1, max_length=256)]
type _Amount = Annotated[str, BeforeValidator(_written), Field(max_length=64)]


class PolicyRule(BaseModel):
    """Frozen, unknown fields forbidden. The first rule that matches a value decides."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: _Glob | None = Field(
        default=None, description="a JSON path: $.inputs[*].data, $..user_id, $.messages[*].content"
    )
    header: Annotated[_Glob, BeforeValidator(_lower)] | None = Field(default=None, description="a glob of header names")
    query: _Glob | None = Field(default=None, description="a glob of query parameter names")
    segment: _Glob | None = Field(
        default=None,
        description="path segments: the holes of a template such as /users/{user}/*, or a glob of one segment",
    )
    role: RuleRole | None = Field(default=None, description="what a codec says a value is")
    side: Literal["request", "response"] | None = Field(default=None, description="of which side; without it both")
    do: Action = Field(description="what is done with the value")
    domain: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]{0,63}$")] | None = Field(
        default=None, description="token, surrogate, scrub-text, words: equal values of one domain get equal surrogates"
    )
    keep_first: Annotated[int, Field(ge=0, le=64)] = Field(default=0, description="mask: characters kept in front")
    keep_last: Annotated[int, Field(ge=0, le=64)] = Field(default=0, description="mask: characters kept at the end")
    step: _Amount | None = Field(default=None, description="generalise: numbers are rounded down to a multiple of it")
    unit: Unit | None = Field(default=None, description="generalise: dates are cut to it")
    v4: Annotated[int, Field(ge=0, le=32)] = Field(default=24, description="truncate-ip: bits kept of an IPv4 address")
    v6: Annotated[int, Field(ge=0, le=128)] = Field(default=48, description="truncate-ip: bits kept of an IPv6 address")
    up_to: _Amount = Field(default="365d", description="shift-time: the largest offset")
    by: _Amount = Field(default="5%", description="blur: the largest relative change")

    @model_validator(mode="after")
    def _says_one_thing(self) -> Self:
        places = [name for name in PLACES if getattr(self, name) is not None]
        if len(places) != 1:
            raise ValueError(f"exactly one of {', '.join(PLACES)}, not {' and '.join(places) or 'none'}")
        for name in self.model_fields_set & set(_OWNERS):
            if self.do not in _OWNERS[name]:
                raise ValueError(f"{name} belongs to {' and '.join(_OWNERS[name])}, not to {self.do}")
        if self.do == "generalise" and (self.step is None) == (self.unit is None):
            raise ValueError("generalise takes a step (numbers) or a unit (dates)")
        if self.side == "response" and places[0] in {"query", "segment"}:
            raise ValueError(f"a response has no {places[0]}")
        self._check_amounts()
        self._check_place()
        return self

    def _check_amounts(self) -> None:
        if self.step is not None and self.step_exact <= 0:
            raise ValueError("step is more than 0")
        if self.by_share <= 0:
            raise ValueError("by is more than 0")
        if self.up_to_ns < duration_ns("1d", "up_to"):
            raise ValueError("up_to is at least 1d")

    def _check_place(self) -> None:
        if self.path is not None:
            pattern_of(self.path)
        if self.segment is not None and self.segment.startswith("/"):
            template_of(self.segment)
        if self.segment is not None and self.do == "drop":
            raise ValueError("a path segment cannot be dropped; redact it")
        if self.header is not None and self.do not in FOR_CREDENTIALS:
            named = next((name for name in CREDENTIALS if fnmatchcase(name, self.header)), None)
            if named is not None:
                raise ValueError(
                    f"header {named} is a credential: {self.do} is refused, only token, redact or drop may be done"
                )

    @property
    def place(self) -> str:
        """The name of the field that says where."""
        return next(name for name in PLACES if getattr(self, name) is not None)

    @property
    def where(self) -> str:
        """What stands in it."""
        text: str = getattr(self, self.place)
        return text

    @property
    def step_exact(self) -> Fraction:
        return exact(self.step or "0", "step")

    @property
    def by_share(self) -> float:
        return share_of(self.by, "by")

    @property
    def up_to_ns(self) -> int:
        return duration_ns(self.up_to, "up_to")

    def as_data(self) -> dict[str, Any]:
        """JSON-able, only what differs from the defaults."""
        return self.model_dump(mode="json", exclude_defaults=True)


def is_spelled_out(glob: str) -> bool:
    """Whether a glob names one thing."""
    return _PLAIN_GLOB.fullmatch(glob) is not None
