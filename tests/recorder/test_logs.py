"""What a recorder says, for people and for machines."""

import io
import json
import os
import re
from pathlib import Path

from recorder.logs import json_log, log, text_log

ROOT = Path(__file__).resolve().parents[2]
NOW_NS = 1_795_473_814_123_999_999  # 2026-11-23T22:43:34.123999999Z


def test_people_read_the_line_as_it_is() -> None:
    out = io.StringIO()
    text_log(out)("recording stopped: a {brace} and a %s", event="trouble", level="error", why="x")

    assert out.getvalue() == "recording stopped: a {brace} and a %s\n"


def test_machines_read_one_object_per_line() -> None:
    out = io.StringIO()
    say = json_log(out, lambda: NOW_NS)
    say("two\nlines")
    say("it is over", event="recorded", level="warning", kept=3, path=Path("a/x.tape"))

    first, second = out.getvalue().splitlines()
    assert json.loads(first) == {
        "time": "2026-11-23T22:43:34.123Z",
        "level": "info",
        "event": "note",
        "message": "two\nlines",
    }
    assert list(json.loads(second).items())[1:] == [
        ("level", "warning"),
        ("event", "recorded"),
        ("message", "it is over"),
        ("kept", 3),
        ("path", "a/x.tape"),
    ]


def test_what_every_line_has_cannot_be_overwritten() -> None:
    out = io.StringIO()
    json_log(out, lambda: 0)("said", time="now", message="other")

    assert json.loads(out.getvalue()) == {
        "time": "1970-01-01T00:00:00.000Z",
        "level": "info",
        "event": "note",
        "message": "said",
    }


def test_the_form_is_what_was_asked_for() -> None:
    text, machine = io.StringIO(), io.StringIO()
    log("text", text)("hello")
    log("json", machine, lambda: 0)("hello")

    assert (text.getvalue(), json.loads(machine.getvalue())["message"]) == ("hello\n", "hello")


def test_a_reader_that_left_stops_nothing() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as out:
        for say in (text_log(out), json_log(out, lambda: 0)):
            say("nobody hears this")
        os.dup2(os.open(os.devnull, os.O_WRONLY), out.fileno())  # or closing it fails, too


def test_the_docs_list_every_event() -> None:
    sources = "".join(file.read_text(encoding="utf-8") for file in (ROOT / "recorder").glob("*.py"))
    section = (ROOT / "docs/recording.md").read_text(encoding="utf-8").partition("### Logs")[2].partition("\n## ")[0]
    told = set(re.findall(r'event="(\w+)"', sources)) | {"note"}

    assert len(told) > 8
    assert {
        name for row in re.findall(r"^\| (`.*?) \|", section, re.MULTILINE) for name in re.findall(r"\w+", row)
    } == told
