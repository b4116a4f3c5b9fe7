"""Importers by name and by content. Plugins never import this file.

Names come from entry points in the group ``shadowtape.importers``; built-ins enter through the same door, and through the table
below where the metadata of the distribution is absent (a plain checkout). ``path/to/file.py:Name`` names a class in a file.
"""

import importlib
from difflib import get_close_matches
from importlib.metadata import entry_points

from captures.errors import CaptureError, UsageError
from captures.frame import MAGIC
from captures.importers.importer import SNIFFED_BYTES, Importer
from captures.plugins import class_in_file

GROUP = "shadowtape.importers"
AUTO = "auto"
BUILT_IN = {
    "azure-llm": "captures.importers.azure_llm:AzureLlm",
    "burstgpt": "captures.importers.burstgpt:BurstGpt",
    "envoy-tap": "captures.importers.envoy_tap:EnvoyTap",
    "gor": "captures.importers.gor:Gor",
    "har": "captures.importers.har:Har",
    "jsonl": "captures.importers.jsonl:Jsonl",
    "kserve": "captures.importers.kserve:KServe",
    "mitm": "captures.importers.mitm:Mitm",
    "mooncake": "captures.importers.mooncake:Mooncake",
    "sagemaker": "captures.importers.sagemaker:SageMaker",
}


def names() -> dict[str, str]:
    """Every importer there is: name -> "module:Class"."""
    return {point.name: point.value for point in entry_points(group=GROUP)} | BUILT_IN


def importer_named(name: str) -> Importer:
    """Raises UsageError: one line that lists what exists."""
    if name.partition(":")[0].endswith(".py"):
        path, _, attribute = name.partition(":")
        return _made(name, class_in_file(path, attribute, where=f"--format {path}", example=f"{path}:Name"))
    found = names()
    if name not in found:
        close = get_close_matches(name, found, n=1)
        meant = f" (did you mean {close[0]}?)" if close else ""
        raise UsageError(f"--format {name}: no such format{meant}; there are: {AUTO}, {', '.join(sorted(found))}")
    module, _, attribute = found[name].partition(":")
    try:
        made: object = getattr(importlib.import_module(module), attribute)
    except Exception as error:  # a plugin's module: whatever it raises is about that plugin
        raise UsageError(
            f"importer {name!r} cannot be loaded from {found[name]}: {type(error).__name__}: {error}"
        ) from error
    return _made(name, made)


def importer_of(head: bytes, name: str) -> Importer:
    """The one importer that knows a file by how its decompressed content begins. ``name``: of the file, for messages.

    Raises CaptureError: nobody knows it; UsageError: it is a capture, an importer cannot be loaded, or several claim the file.
    """
    if head.startswith(MAGIC):
        raise UsageError(f"{name}: a capture already: every command reads it as it is")
    claims = [importer for importer in map(importer_named, sorted(names())) if importer.sniff(head[:SNIFFED_BYTES])]
    if not claims:
        raise CaptureError(
            f"{name}: its format is not recognised; say --format: {', '.join(sorted(names()))}"
            if head
            else f"{name}: nothing in it to recognise a format by; say --format"
        )
    if len(claims) > 1:
        found = ", ".join(importer.name for importer in claims)
        raise UsageError(f"{name}: its content could be any of {found}; say --format")
    return claims[0]


def _made(name: str, made: object) -> Importer:
    try:
        assert callable(made)
        importer: Importer = made()
        complete = all(hasattr(importer, part) for part in ("name", "notes", "sniff", "read"))
    except Exception as error:  # as above
        raise UsageError(f"importer {name!r} cannot be made: {type(error).__name__}: {error}") from error
    if not complete:
        raise UsageError(f"importer {name!r} has no name, notes, sniff or read; docs/importing.md shows one")
    return importer
