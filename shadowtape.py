"""The command line: a thin skin. Mounts each package's commands and imports them only when called.

A command is a plain function in a package's ``commands.py``, annotated for typer, which returns its exit code (None: 0).
What a user can get wrong is a `ShadowtapeError`: one line on stderr and its exit code, never a traceback.
"""

import importlib
import os
import sys
import traceback
from collections.abc import Callable

import typer

from captures.errors import ShadowtapeError
from captures.version import __version__

# name: (where, one line). The help of a command itself is its docstring; docs/reference.md has them all.
COMMANDS: dict[str, tuple[str, str]] = {
    "record": ("recorder.commands:record", "Relay traffic to an upstream and capture a pseudonymised copy."),
    "sink": (
        "recorder.sink_commands:sink",
        "Take mirrored requests and logged events, and capture a pseudonymised copy.",
    ),
    "inspect": (
        "captures.inspect_commands:inspect",
        "What a capture holds: routes, rates, service times, confessions.",
    ),
    "verify": ("captures.commands:verify", "Check every checksum and claim of a capture."),
    "recover": ("captures.repair_commands:recover", "What survives of a damaged capture, as a new sound one."),
    "compact": ("captures.repair_commands:compact", "Merge small segments, flushes and files into one capture."),
    "audit": ("captures.audit_commands:audit", "Look for secrets inside a capture."),
    "policy check": (
        "captures.policy_commands:check",
        "Whether a policy file is valid, and what it would let through.",
    ),
    "policy explain": ("captures.policy_commands:explain", "What a policy does with each field of a real request."),
    "policy schema": ("captures.policy_commands:schema", "The JSON Schema of policy files."),
    "policy suggest": ("recorder.suggest_commands:suggest", "Watch traffic for a while and propose a policy."),
    "import": ("captures.import_commands:import_", "Foreign recordings as a capture, pseudonymised."),
    "export": ("captures.export_commands:export", "A capture as jsonl, har, gor or parquet."),
    "transform": (
        "transforms.commands:transform",
        "Apply transforms to a capture and write a new one, with a receipt.",
    ),
    "replay": ("replayer.commands:replay", "Send a capture at a target, open loop, and judge the result."),
    "shadow": ("replayer.shadow_commands:shadow", "Compare a candidate with recorded or live answers."),
    "report": ("replayer.report.commands:report", "Print a finished run's report, or open it."),
    "demo": ("shadowtape_demo.commands:demo", "The whole path on real data, on this machine."),
}
GROUPS = {"policy": "What may be kept: check, explain and suggest policies."}  # commands of two words
EXIT_CRASH = 70
EXIT_INTERRUPTED = 130


def load(where: str) -> Callable[..., int | None]:
    module, _, name = where.partition(":")
    function: Callable[..., int | None] = getattr(importlib.import_module(module), name)
    return function


def app_for(names: list[str]) -> typer.Typer:
    """An app with the named commands loaded; the others are listed with their one line and never imported."""
    app = typer.Typer(
        name="shadowtape",
        help="Record production inference traffic, replay it with a twist, and know before your users do.",
        add_completion=False,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
        context_settings={"help_option_names": ["-h", "--help"]},
    )

    @app.callback(invoke_without_command=True)
    def root(
        *,
        version: bool = typer.Option(False, "--version", help="Print the version and exit."),
    ) -> None:
        if version:
            print(f"shadowtape {__version__}")
            raise typer.Exit

    groups = {name: typer.Typer(no_args_is_help=True, rich_markup_mode="rich") for name in GROUPS}
    for name, (where, line) in COMMANDS.items():
        first, _, second = name.partition(" ")
        home = groups[first] if second else app
        if name in names:
            home.command(second or name)(load(where))
        else:
            home.command(second or name, help=line)(_unloaded)
    for name, group in groups.items():
        app.add_typer(group, name=name, help=GROUPS[name])
    return app


def _unloaded() -> None:
    raise AssertionError("a command that was not loaded was called")


def main(argv: list[str] | None = None) -> None:
    """The console script. Exits with the codes of docs/reference.md."""
    sys.exit(run(sys.argv[1:] if argv is None else argv))


def run(argv: list[str]) -> int:
    """Run one command line and return its exit code."""
    words = [argument for argument in argv if not argument.startswith("-")]
    try:
        code = app_for([*words[:1], " ".join(words[:2])])(args=argv, prog_name="shadowtape", standalone_mode=False)
    except ShadowtapeError as error:
        return fail(str(error), error.exit_code)
    except KeyboardInterrupt:
        return fail("interrupted", EXIT_INTERRUPTED)
    except BrokenPipeError:
        # The reader of our output (head, less) left; there is nobody to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:  # noqa: BLE001 - the last line of defence: one line, exit 70
        return crash(error)
    return int(code or 0)


def crash(error: Exception) -> int:
    if hasattr(error, "exit_code") and hasattr(error, "format_message"):  # typer's own usage errors
        said = error.format_message()  # nothing where there were no arguments: the help was printed instead
        hint = "a glob goes in quotes; see --help" if ".tape" in said and "extra argument" in said else "see --help"
        return fail(f"{said} ({hint})", 2) if said else 2
    if os.environ.get("SHADOWTAPE_DEBUG"):
        traceback.print_exception(error)
    hint = "" if os.environ.get("SHADOWTAPE_DEBUG") else "; set SHADOWTAPE_DEBUG=1 for the traceback"
    return fail(f"our own crash, please report it: {type(error).__name__}: {error}{hint}", EXIT_CRASH)


def fail(message: str, code: int) -> int:
    print(f"shadowtape: {' '.join(message.split())}", file=sys.stderr)
    return code


if __name__ == "__main__":
    main()
