"""Transforms by name: ``noise:feature=MedInc,sd=0.5`` becomes an object. Plugins never import this file.

Names come from entry points in the group ``shadowtape.transforms``; built-ins enter through the same door, and through the
table below where the metadata of the distribution is absent (a plain checkout). ``path/to/file.py:Name:option=value``
names a class in a file.
"""

import dataclasses
import importlib
import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from importlib.metadata import entry_points

from pydantic import TypeAdapter, ValidationError

from captures.errors import UsageError
from captures.plugins import class_in_file
from transforms.transform import Transform

GROUP = "shadowtape.transforms"
BUILT_IN = {
    "amplify": "transforms.amplify:Amplify",
    "noise": "transforms.noise:Noise",
    "time_scale": "transforms.time_scale:TimeScale",
}
# A comma ends a value only in front of the next option, so that values may hold commas.
NEXT_OPTION = re.compile(r",(?=[A-Za-z_]\w*=)")


def names() -> dict[str, str]:
    """Every transform there is: name -> "module:Class"."""
    return {point.name: point.value for point in entry_points(group=GROUP)} | BUILT_IN


def build(text: str) -> Transform:
    """The transform that ``name:option=value,option=value`` describes. Raises UsageError: one line that lists what exists."""
    name, _, rest = text.strip().partition(":")
    if name.endswith(".py"):
        path, (name, _, rest) = name, rest.partition(":")
        made = class_in_file(path, name, where=path, example=f"{path}:Name:option=value")
    else:
        made = _named(name)
    if not (isinstance(made, type) and dataclasses.is_dataclass(made) and hasattr(made, "name")):
        raise UsageError(f"transform {name!r} is not a dataclass with a name; docs/transforms.md shows one")
    options = [option.name for option in dataclasses.fields(made) if option.init]
    return _made(made, name, _written(name, rest, options), options)


def build_all(texts: Sequence[str]) -> list[Transform]:
    return [build(text) for text in texts]


def _named(name: str) -> object:
    found = names()
    if name not in found:
        close = get_close_matches(name, found, n=1)
        meant = f" (did you mean {close[0]}?)" if close else ""
        raise UsageError(f"no transform named {name!r}{meant}; there are: {', '.join(sorted(found))}")
    module, _, attribute = found[name].partition(":")
    try:
        made: object = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise UsageError(f"transform {name!r} cannot be loaded from {found[name]}: {error}") from error
    return made


def _written(name: str, rest: str, options: Sequence[str]) -> dict[str, str]:
    """The options as text, each known and given once."""
    written: dict[str, str] = {}
    for part in NEXT_OPTION.split(rest) if rest else ():
        key, equals, value = part.partition("=")
        if not equals:
            raise UsageError(f"{name}: {part!r} is not option=value; it takes {_list(options)}")
        if key not in options:
            close = get_close_matches(key, options, n=1)
            meant = f" (did you mean {close[0]}?)" if close else ""
            raise UsageError(f"{name}: unknown option {key!r}{meant}; it takes {_list(options)}")
        if key in written:
            raise UsageError(f"{name}: option {key!r} is given twice")
        written[key] = value
    return written


def _made(made: type, name: str, written: Mapping[str, str], options: Sequence[str]) -> Transform:
    try:
        transform: Transform = TypeAdapter(made).validate_python(dict(written))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"][:1])
        if first["type"] == "missing":
            raise UsageError(f"{name}: option {place!r} is required; it takes {_list(options)}") from None
        reason = first["msg"].removeprefix("Value error, ")
        raise UsageError(f"{name}: {place + ': ' if place else ''}{reason}") from None
    return transform


def _list(options: Sequence[str]) -> str:
    return ", ".join(options) or "no options"
