"""Two tables, checked by AST: which package may import which, and which file may import which library.

A change of the house changes these tables in the same commit, so that a review sees it.
"""

import ast
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# package: the project's packages it may import. shadowtape.py imports commands by name, when they are called.
MAY_IMPORT = {
    "captures": set[str](),
    "transforms": {"captures"},
    "recorder": {"captures"},
    "replayer": {"captures", "transforms"},
    "shadowtape_demo": {"captures", "transforms", "recorder", "replayer"},
    "shadowtape.py": {"captures"},
}
PACKAGES = {*MAY_IMPORT} - {"shadowtape.py"}

# library: the files (patterns, from the root) that may import it.
LIBRARY_HOMES = {
    "mitmproxy": [
        *(
            "captures/importers/mitm.py",
            "recorder/addon.py",
            "recorder/lane.py",
            "recorder/multiplexed.py",
            "recorder/relay.py",
            "recorder/tls.py",
        ),
    ],
    "zstandard": ["captures/compression.py", "captures/importers/opening.py", "captures/inflation.py"],
    "brotli": ["captures/inflation.py"],
    "aiohttp": [
        "captures/object_store.py",
        "replayer/transport/*",
        "replayer/live/*",
        "shadowtape_demo/*",
    ],
    "uvloop": ["replayer/*", "recorder/sink_commands.py"],
    "typer": [
        *("*/commands.py", "*/*_commands.py", "captures/console.py", "recorder/record_options.py", "shadowtape.py"),
    ],
    "rich": [
        *("*/commands.py", "*/*_commands.py", "captures/console.py", "captures/inspect_text.py"),
        *("replayer/report/terminal.py", "shadowtape_demo/*"),
    ],
    "sklearn": ["shadowtape_demo/*"],
    "cryptography": ["captures/cipher.py"],
    "fsspec": ["captures/object_store.py"],
    "pyarrow": ["captures/exporters/parquet.py"],
    "pydantic": ["captures/privacy/*", "transforms/catalogue.py", "recorder/options.py"],
    "yaml": ["captures/privacy/*", "*/commands.py"],
    "msgpack": ["captures/*", "recorder/*"],
}

# Named shells: everything else is pure.
SHELLS = [
    "shadowtape.py",
    "shadowtape_demo/*",
    "captures/opening.py",
    "captures/store.py",
    "captures/tape_key.py",
    "captures/remote.py",
    "captures/object_store.py",
    "captures/outputs.py",
    "captures/rotating.py",
    "captures/importers/opening.py",
    "captures/policy_files.py",
    "captures/exporters/parquet.py",
    "captures/console.py",
    "*/commands.py",
    "*/*_commands.py",
    "recorder/lane.py",
    "recorder/tap.py",
    "recorder/addon.py",
    "recorder/multiplexed.py",
    "recorder/board.py",  # shared memory
    "recorder/admin.py",
    "recorder/logs.py",
    "recorder/relay.py",
    "recorder/record_testing.py",  # real processes, and traffic through them
    "recorder/relay_testing.py",  # a relay in the test's own event loop
    "recorder/tls.py",
    "recorder/sink.py",
    "recorder/named_files.py",
    "recorder/spool.py",
    "recorder/desk.py",
    "recorder/places.py",
    "recorder/supervisor.py",
    "recorder/place.py",
    "recorder/worker.py",
    "recorder/spool_process.py",
    "recorder/admin_process.py",
    "recorder/outlet.py",
    "recorder/channel.py",
    "recorder/listening.py",
    "recorder/reactor.py",
    "recorder/pace.py",
    "recorder/crew.py",
    "recorder/standard.py",  # stderr
    "recorder/uploading.py",
    "transforms/schedule_files.py",
    "replayer/clock.py",
    "replayer/driver.py",
    "replayer/testing.py",  # the fakes: a clock to turn by hand, a server that misbehaves
    "replayer/look_ahead.py",
    "replayer/sending.py",
    "replayer/runs.py",
    "replayer/transport/*",
    "replayer/live/*",
]
IMPURE_MODULES = {
    *("asyncio", "multiprocessing", "random", "select", "signal", "socket", "ssl", "subprocess", "tempfile"),
    *("threading", "time"),
}
IMPURE_CALLS = {"open", "input", "print"}


def sources() -> list[str]:
    files = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    return sorted(str(path.relative_to(ROOT)) for path in [*files, ROOT / "shadowtape.py"])


def imports(file: str) -> Iterator[tuple[str, int]]:
    """Every imported module's full name, with its line; imports for type checkers only are not imports."""
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    typing_only = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if node in typing_only:
            continue
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}:{node.lineno}: import by full name"
            yield node.module or "", node.lineno


@pytest.mark.parametrize("file", sources())
def test_packages_import_downward_only(file: str) -> None:
    package = file.split("/", maxsplit=1)[0]
    for module, line in imports(file):
        top = module.split(".", maxsplit=1)[0]
        if top in PACKAGES and top != package:
            assert top in MAY_IMPORT[package], f"{file}:{line}: {package} may not import {top}"
        assert top != "shadowtape", f"{file}:{line}: nobody imports the command line"


@pytest.mark.parametrize("file", sources())
def test_a_library_is_imported_at_home_only(file: str) -> None:
    for module, line in imports(file):
        homes = LIBRARY_HOMES.get(module.split(".", maxsplit=1)[0])
        if homes is not None:
            assert any(fnmatch(file, home) for home in homes), f"{file}:{line}: {module} lives in {', '.join(homes)}"


@pytest.mark.parametrize("file", [file for file in sources() if not any(fnmatch(file, shell) for shell in SHELLS)])
def test_what_is_not_a_shell_is_pure(file: str) -> None:
    """No sockets, no clock, no files, no processes: bytes, time and generators come in as arguments."""
    for module, line in imports(file):
        assert module.split(".", maxsplit=1)[0] not in IMPURE_MODULES, f"{file}:{line}: {module} belongs in a shell"
    for node in ast.walk(ast.parse((ROOT / file).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in IMPURE_CALLS, f"{file}:{node.lineno}: {node.func.id}() belongs in a shell"


@pytest.mark.parametrize("file", sources())
def test_files_are_short_and_named_for_what_they_hold(file: str) -> None:
    lines = (ROOT / file).read_text(encoding="utf-8").count("\n")

    assert lines <= 400, f"{file}: {lines} lines; split it"
    assert Path(file).stem not in {"utils", "base", "manager", "helpers", "factory", "common", "misc"}


def test_the_tables_name_only_what_exists() -> None:
    """A stale row hides a hole; files of later changes are listed here by name."""
    later = {
        "recorder/lane.py",
        "replayer/live/*",
    }
    for pattern in {*SHELLS, *(home for homes in LIBRARY_HOMES.values() for home in homes)} - later:
        assert any(fnmatch(file, pattern) for file in sources()), f"no file matches {pattern}"
