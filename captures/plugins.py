"""Plugins that a user names as ``path/to/file.py:Name``. Runs the file: the user asked for it by name."""

import importlib.util

from captures.errors import UsageError


def class_in_file(path: str, name: str, *, where: str, example: str) -> object:
    """The class ``name`` of a Python file. ``where``: how messages call the file; ``example``: how it is written with a class.

    Raises UsageError: no name, not a Python file, a file that cannot be loaded, no such class in it.
    """
    if not name:
        raise UsageError(f"{where}: which class? write {example}")
    spec = importlib.util.spec_from_file_location("shadowtape_plugin_file", path)
    if spec is None or spec.loader is None:
        raise UsageError(f"{where}: not a Python file")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # a file of the user's: whatever it raises is about that file
        raise UsageError(f"{where}: cannot be loaded: {type(error).__name__}: {error}") from error
    if not hasattr(module, name):
        own = sorted(
            key for key, value in vars(module).items() if isinstance(value, type) and value.__module__ == spec.name
        )
        raise UsageError(f"{where}: no class named {name!r}; there are: {', '.join(own) or 'none'}")
    made: object = getattr(module, name)
    return made
