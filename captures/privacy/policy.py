"""What may be kept of an exchange: a policy is data, its default denies.

docs/policy.md describes every field; a test compares its table with this model.
"""

import json
from collections.abc import Mapping
from fnmatch import fnmatchcase
from hashlib import blake2b
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

from captures.errors import UsageError
from captures.privacy.policy_rule import CREDENTIALS, PolicyRule

HEADERS_KEPT = (
    "accept",
    "accept-encoding",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "grpc-status",
    "inference-header-content-length",
    "transfer-encoding",
    "user-agent",
)


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


type _HeaderName = Annotated[str, BeforeValidator(_lower), Field(pattern=r"^[a-z0-9!#$%&'*+.^_`|~-]{1,64}$")]
type _Text = Annotated[str, Field(min_length=1, max_length=256)]


class Policy(BaseModel):
    """Frozen, unknown fields forbidden. ``Policy()`` is the default policy."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1] = 1
    headers_kept: tuple[_HeaderName, ...] = Field(
        default=HEADERS_KEPT, description="headers whose values may be kept, where they are well-formed"
    )
    headers_dropped: tuple[_HeaderName, ...] = Field(
        default=CREDENTIALS, description="credentials: their values become the word redacted, never a token"
    )
    session: Annotated[str, Field(pattern=r"^((header|cookie|query):[A-Za-z0-9_.-]{1,64})?$")] = Field(
        default="", description="what names a session: header:NAME, cookie:NAME or query:NAME"
    )
    features_kept: tuple[_Text, ...] = Field(
        default=("*",), description="numeric features that may be kept, by glob of their name"
    )
    features_replaced: tuple[_Text, ...] = Field(
        default=(), description="numeric features that are replaced, by glob of their name; stronger than features_kept"
    )
    labels: tuple[_Text, ...] = Field(default=(), description="string predictions that may be kept, spelled out")
    paths_kept: tuple[_Text, ...] = Field(default=(), description="globs of request paths that are kept as they are")

    rules: tuple[PolicyRule, ...] = Field(
        default=(),
        description="what is done with single values; the first that matches decides, the fields above do the rest",
    )
    text: Literal["words", "token", "scrub", "redact"] = Field(
        default="words", description="what becomes of texts of several words that a request asks a model about"
    )
    recognisers: Literal["builtin", "presidio"] = Field(
        default="builtin", description="what scrub-text looks for: validated patterns, or what Presidio finds too"
    )

    @field_validator("headers_kept", "headers_dropped", "features_kept", "features_replaced", "labels", "paths_kept")
    @classmethod
    def _sorted(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        """Order means nothing: two policies that say the same have one digest."""
        return tuple(sorted(set(value)))

    @model_validator(mode="after")
    def _credentials_are_never_kept(self) -> Self:
        for name in self.headers_kept:
            if name in self.headers_dropped or name in CREDENTIALS:
                raise ValueError(f"headers_kept: {name} is a credential and is never kept")
        return self

    @classmethod
    def from_data(cls, data: Mapping[str, object], source: str = "policy") -> Self:
        """Raises `UsageError`: one line, naming ``source`` and the field."""
        try:
            return cls.model_validate(dict(data))
        except ValidationError as error:
            first = error.errors(include_url=False, include_context=False)[0]
            field = ".".join(map(str, first["loc"]))
            message = str(first["msg"]).removeprefix("Value error, ")
            raise UsageError(f"{source}: {field}: {message}" if field else f"{source}: {message}") from None

    @classmethod
    def from_yaml(cls, text: str, source: str = "policy") -> Self:
        """Raises `UsageError`."""
        try:
            data = yaml.safe_load(text)
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            where = f" at line {mark.line + 1}" if mark is not None else ""
            raise UsageError(f"{source}: not YAML{where}") from None
        if data is None:
            data = {}
        if not isinstance(data, dict) or not all(isinstance(key, str) for key in data):
            raise UsageError(f"{source}: a policy is a mapping of field names; see docs/policy.md")
        return cls.from_data(data, source)

    def as_data(self) -> dict[str, Any]:
        """JSON-able; `from_data` reads it back. Fields that came after the first release are left out where nothing uses them:
        a policy that could be written then keeps its digest.
        """
        data = self.model_dump(mode="json", exclude={"rules"})
        data = {name: value for name, value in data.items() if name not in _LATER or value != _LATER[name]}
        return data | {"rules": [rule.as_data() for rule in self.rules]} if self.rules else data

    @property
    def digest(self) -> str:
        """Identity of what the policy says, whatever order it was written in."""
        canonical = json.dumps(self.as_data(), sort_keys=True, separators=(",", ":"))
        return blake2b(canonical.encode(), digest_size=16).hexdigest()


_LATER = {name: Policy.model_fields[name].default for name in ("text", "recognisers")}


def any_glob(globs: tuple[str, ...], text: str) -> bool:
    """Case-sensitive, on every platform."""
    return any(fnmatchcase(text, glob) for glob in globs)
