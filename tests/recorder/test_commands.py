"""``shadowtape record``: mistakes are told before anything is opened, and its help can be read."""

from pathlib import Path

import pytest
from typer.main import get_command
from typer.testing import CliRunner

import shadowtape

SERVER = ["--upstream", "http://127.0.0.1:1"]
MISTAKES: dict[str, tuple[list[str], str]] = {
    "no server": ([], "--upstream: name the server"),
    "one file for two": ([*SERVER, "--workers", "2"], "--workers 2: x.tape is one file"),
    "one file by time": ([*SERVER, "--rotate-every", "1h"], "--rotate-every: x.tape is one file"),
    "no such rule": ([*SERVER, "--only", "v2"], "--only 'v2': write"),
    "no such exception": ([*SERVER, "--except", "status:9"], "--except 'status:9': write"),
    "no such log": ([*SERVER, "--log", "xml"], "--log 'xml': write text or json"),
    "no such place": ([*SERVER, "--admin", "9090"], "--admin '9090': write HOST:PORT"),
    "less memory than a body": ([*SERVER, "--memory", "1MiB"], "--memory 1MiB: less than one body"),
    "a server for a forward proxy": (["--mode", "regular", "--upstream", "http://h:1"], "with --mode regular clients"),
    "itself": ([*SERVER, "--listen", "127.0.0.1:1"], "that is the upstream itself"),
    "no policy": ([*SERVER, "--listen", "127.0.0.1:0", "--policy", "p.yaml"], "p.yaml"),
    "no certificate": ([*SERVER, "--tls-cert", "c.pem"], "--tls-cert c.pem: no such file"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_and_nothing_was_opened(
    mistake: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    options, why = MISTAKES[mistake]

    assert shadowtape.run(["record", "--out", "x.tape", *options]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert why in said.err
    assert not list(tmp_path.iterdir())


def test_every_option_of_record_is_in_a_group_and_the_help_is_readable_in_80_columns() -> None:
    app = shadowtape.app_for(["record"])
    shown = CliRunner().invoke(app, ["record", "--help"], env={"COLUMNS": "80", "TERMINAL_WIDTH": "80"}).output
    command = get_command(app).commands["record"]  # type: ignore[attr-defined]  # a group has commands

    assert max(len(line) for line in shown.splitlines()) <= 80
    for parameter in command.params:
        assert any(option in shown for option in parameter.opts)
    for title in ("Options", "Where it goes", "What is kept", "What it may use", "Running it", "TLS"):
        assert f"─ {title} ─" in shown
