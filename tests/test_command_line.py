"""The thin skin: what every command shares — usage errors, exit codes, lazy imports, examples in the help."""

import subprocess
import sys
from pathlib import Path

import pytest

import shadowtape
from captures.errors import RefusedError

ROOT = Path(__file__).resolve().parents[1]


def shell(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "shadowtape", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        timeout=60,
    )


def test_version_is_printed() -> None:
    done = shell("--version")

    assert done.returncode == 0
    assert done.stdout.startswith("shadowtape ")


@pytest.mark.parametrize("arguments", [["nosuch"], ["inspect"], ["inspect", "--nosuch", "x.tape"]])
def test_usage_errors_are_one_line_and_exit_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    code = shadowtape.run(arguments)

    error = capsys.readouterr().err
    assert code == 2
    assert error.count("\n") == 1
    assert error.startswith("shadowtape: ")


def test_a_glob_without_quotes_is_told_to_have_some(capsys: pytest.CaptureFixture[str]) -> None:
    assert shadowtape.run(["inspect", "a.tape", "b.tape"]) == 2
    assert "a glob goes in quotes" in capsys.readouterr().err


def test_no_arguments_print_the_help_and_no_complaint() -> None:
    done = shell()

    assert done.returncode == 2
    assert "Usage: shadowtape" in done.stdout
    assert not done.stderr


def test_the_help_lists_every_command_without_importing_one() -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "shadowtape", "--help"],
        capture_output=True, text=True, check=False, cwd=ROOT, timeout=60,
    )  # fmt: skip

    assert done.returncode == 0
    for name in shadowtape.COMMANDS:
        assert name.partition(" ")[0] in done.stdout
    for heavy in ("mitmproxy", "aiohttp", "scipy", "numpy"):
        assert f" {heavy}\n" not in done.stderr


@pytest.mark.parametrize("name", shadowtape.COMMANDS)
def test_every_command_shows_an_example(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    code = shadowtape.run([*name.split(), "--help"])

    shown = capsys.readouterr().out
    assert code == 0
    assert "Example" in shown
    assert f"shadowtape {name}" in shown


def test_our_own_crash_is_one_line_and_exit_70(capsys: pytest.CaptureFixture[str]) -> None:
    code = shadowtape.crash(RuntimeError("boom"))

    assert code == 70
    assert capsys.readouterr().err == (
        "shadowtape: our own crash, please report it: RuntimeError: boom; set SHADOWTAPE_DEBUG=1 for the traceback\n"
    )


def test_a_users_error_keeps_its_exit_code(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def refuse() -> None:
        raise RefusedError("example.org:80 is not on the allow-list;\n say --allow-host example.org")

    monkeypatch.setattr(shadowtape, "load", lambda where: refuse)
    code = shadowtape.run(["verify"])

    assert code == 6
    assert (
        capsys.readouterr().err == "shadowtape: example.org:80 is not on the allow-list; say --allow-host example.org\n"
    )
