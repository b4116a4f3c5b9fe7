"""The docs' commands are run: every ```sh and ```python block of a page, in order, in one shell, in an empty folder.

Ports written in a page (127.0.0.1:9000, --port 9001, 90xx and 91xx) are replaced by free ones; nothing else is changed.
A ```console block shows output and is not run. Names the docs must know (commands, transforms, columns) are checked by the
tests of their owners.
"""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command

import shadowtape

ROOT = Path(__file__).resolve().parents[1]
PAGES = [
    "README.md",
    *sorted(
        str(page.relative_to(ROOT)) for page in [*(ROOT / "docs").glob("*.md"), *(ROOT / "docs/howto").glob("*.md")]
    ),
]
LINKED = [*PAGES, "CONTRIBUTING.md", *sorted(str(page.relative_to(ROOT)) for page in (ROOT / "docs/adr").glob("*.md"))]
PORT = re.compile(r"(?<=127\.0\.0\.1:)\d{4,5}|(?<=--port )\d{4,5}|\b9[01]\d\d\b")
PRELUDE = """
set -euo pipefail
trap 'kill $(jobs -p) 2>/dev/null || true' EXIT
make() { if [ "$1" = demo ] || [ "$1" = test ]; then :; else command make "$@"; fi; }  # tested on their own
"""


def script_of(page: str) -> str:
    """The page's sh and python blocks, in order, as one shell script."""
    text = (ROOT / page).read_text(encoding="utf-8")
    blocks = re.findall(r"^```(sh|python)\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    return "\n".join(body if language == "sh" else f"python - <<'PYTHON'\n{body}PYTHON" for language, body in blocks)


def with_free_ports(script: str) -> str:
    free: dict[str, str] = {}
    held = []
    for port in sorted(set(PORT.findall(script))):
        held.append(socket.create_server(("127.0.0.1", 0)))
        free[port] = str(held[-1].getsockname()[1])
    for listener in held:
        listener.close()
    return PORT.sub(lambda match: free[match.group()], script)


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.skipif(shutil.which("curl") is None, reason="the pages' examples use curl, which is not installed")
@pytest.mark.parametrize("page", [page for page in PAGES if script_of(page)])
def test_the_commands_of_a_page_run(page: str, tmp_path: Path) -> None:
    log = tmp_path / "output.log"
    folder = tmp_path / "here"
    folder.mkdir()
    with log.open("wb") as output:
        # A group and a file of its own: what a page leaves running can neither outlive the test nor hold it up.
        shell = subprocess.Popen(
            ["bash", "-c", PRELUDE + with_free_ports(script_of(page))],
            cwd=folder,
            env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        try:
            code = shell.wait(timeout=150)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(shell.pid, signal.SIGKILL)
            shell.wait()

    assert code == 0, f"{page}\n{log.read_text()[-5000:]}"


def anchors_of(page: Path) -> set[str]:
    """What links may name: headings, spelled as GitHub does."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", LINKED)
def test_links_between_pages_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    for link, anchor in re.findall(r"\]\(([^)#\s]*)(?:#([^)]*))?\)", text):
        if "://" not in link:
            target = (ROOT / page).parent / link if link else ROOT / page
            assert target.exists(), f"{page}: {link}"
            assert not anchor or anchor in anchors_of(target), f"{page}: {link}#{anchor}"


@pytest.mark.parametrize("package", ["captures", "captures/privacy", "recorder", "replayer"])
def test_the_house_has_a_place_for_every_file(package: str) -> None:
    house = (ROOT / "docs/design.md").read_text(encoding="utf-8").partition("## 3. ")[2].partition("\n## 4. ")[0]
    named = re.findall(r"[*\w]+\.py", house)

    for file in (ROOT / package).glob("[!_]*.py"):
        assert any(file.match(name) for name in named), (
            f"docs/design.md, section 3, does not name {package}/{file.name}"
        )


@pytest.mark.parametrize("name", shadowtape.COMMANDS)
def test_the_reference_knows_every_command_and_option(name: str) -> None:
    page = (ROOT / "docs/reference.md").read_text(encoding="utf-8")
    section = page.partition(f"## shadowtape {name}\n")[2].partition("\n## ")[0]
    command = get_command(shadowtape.app_for([name]))
    for word in name.split():
        command = command.commands[word]  # type: ignore[attr-defined]  # a group has commands

    assert section, f"docs/reference.md has no section 'shadowtape {name}'"
    for parameter in command.params:
        for option in parameter.opts:
            written = f"`{option}" if option.startswith("-") else f"`{option.upper()}"
            assert written in section or f"/{option}" in section, (
                f"docs/reference.md, shadowtape {name}: {option} is missing"
            )
    for option in re.findall(r"^\| `(--[a-z-]+)", section, flags=re.MULTILINE):
        assert any(option in parameter.opts for parameter in command.params), f"{option} is no option of {name}"
