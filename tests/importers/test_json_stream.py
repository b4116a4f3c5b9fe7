"""The scanner: values are cut out whole however the stream comes, and damage costs the record it is in."""

import io
import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from captures.importers.json_stream import MAX_DEPTH, PIECE, BrokenJsonError, JsonStream, enter, records
from captures.importers.records import Record

START = re.compile(rb'\{[ \t\r\n]{0,64}"at"')
GAP = st.sampled_from(["", " ", "\n", "\r\n\t"])


class Trickle(io.BytesIO):
    """A stream that gives ``step`` bytes at a time."""

    def __init__(self, data: bytes, step: int) -> None:
        super().__init__(data)
        self.step = step

    def read(self, size: int | None = -1) -> bytes:
        return super().read(self.step if size is None or size < 0 else min(size, self.step))


class Endless(io.RawIOBase):
    """A beginning, then one byte for ever; ``given`` is what was handed out."""

    def __init__(self, beginning: bytes, rest: bytes, size: int) -> None:
        self.beginning, self.rest, self.left, self.given = beginning, rest, size, 0

    def read(self, size: int = -1) -> bytes:
        data, self.beginning = (self.beginning or self.rest * max(min(size, self.left), 0)), b""
        self.left -= len(data)
        self.given += len(data)
        return data


def found(data: bytes, step: int = PIECE, limit: int = 1 << 20) -> list[Record]:
    return list(records(JsonStream(Trickle(data, step), START, limit)))


def good(result: list[Record]) -> list[Any]:
    return [json.loads(record.data)["at"] for record in result if not record.trouble]


LEAF = (
    st.integers() | st.text(max_size=8) | st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False)
)
VALUE = st.dictionaries(st.text(max_size=3), LEAF | st.lists(LEAF, max_size=3), max_size=3)


@given(st.lists(VALUE, max_size=4), st.integers(1, 40), GAP, st.booleans())
def test_records_come_out_as_they_went_in(values: list[dict[str, Any]], step: int, gap: str, ascii_only: bool) -> None:
    texts = [json.dumps(value, ensure_ascii=ascii_only) for value in values]

    cut = found(gap.join(texts).encode("utf-8", "surrogatepass"), step)

    assert [(record.data.decode("utf-8", "surrogatepass"), record.trouble) for record in cut] == [
        (text, "") for text in texts
    ]


@pytest.mark.parametrize("step", [1, 7, PIECE])
@pytest.mark.parametrize(
    ("broken", "trouble"),
    [
        (b'{"at": 2, "x": "y}', "a control character in a string"),
        (b'{"at": 2, "x: "y"}', "not JSON"),
        (b'{"at": 2, "x": [1}', "not JSON"),
        (b'{"at": 2, "x": oops}', "not JSON"),
        (b'{"at": 2, "x": "\\\n"}', "a control character in a string"),
        (b'"at"', "not an object"),
        (b"]", "not an object"),
        (b'{"at": 2, "x": ' + b"[" * (MAX_DEPTH + 1), "nested too deeply"),
    ],
)
def test_a_broken_record_costs_itself(broken: bytes, trouble: str, step: int) -> None:
    result = found(b'{"at": 1},\n' + broken + b',\n{"at": 3}, {"at": 4}', step)

    assert good(result) == [1, 3, 4]
    assert [record.trouble for record in result if record.trouble] == [trouble]


@pytest.mark.parametrize("step", [1, PIECE])
def test_a_lost_bracket_costs_its_record_and_not_what_it_swallowed(step: int) -> None:
    result = found(b'{"at": 1}, {"at": 2, "x": {"y": 1}, {"at": 3}, {"at": 4}]', step)

    assert good(result) == [1, 3, 4]
    assert next(record.offset for record in result if record.trouble) == 11


def test_what_begins_like_a_record_inside_of_one_is_the_next() -> None:
    """Else an entry that was cut off inside a list could swallow all that follow, and still be JSON."""
    result = found(b'{"at": 1, "x": [{"at": 2}, {"at": 3}]}, {"at": 4}')

    assert good(result) == [2, 3, 4]


def test_words_of_a_record_inside_a_string_are_text() -> None:
    assert good(found(b'{"at": "{\\"at\\": {"}')) == ['{"at": {']


def test_a_file_that_ends_within_a_record_says_so() -> None:
    assert [record.trouble for record in found(b'{"at": 1}{"at": 2, "x": "y')] == ["", "cut off"]


def test_what_is_too_long_is_skipped_without_being_kept() -> None:
    stream = Endless(b'{"at": "', b"x", 64 << 20)

    result = list(records(JsonStream(stream, START, 1 << 16)))  # type: ignore[arg-type]  # reads, and that is all it needs

    assert [record.dropped("x").reason for record in result] == ["too_long"]
    assert stream.given > 60 << 20


def test_the_record_behind_one_that_is_too_long_is_found() -> None:
    assert good(found(b'{"at": "' + b"x" * 400_000 + b'"}{"at": 2}', limit=1000)) == [2]


def test_records_nested_without_end_cost_linear_work() -> None:
    """Were each read to its end, this would be quadratic, and run for minutes."""
    result = found(b'{"at":' * 20_000, limit=1 << 22)

    assert good(result) == []


def test_members_are_found_wherever_they_stand() -> None:
    stream = JsonStream(
        io.BytesIO(b'\xef\xbb\xbf {"a": [1, {"log": 2}], "b": -1.5e3, "c": null, "log": {"x": 1}}'), START
    )

    assert enter(stream, b"log")
    assert stream.value() == b'{"x": 1}'


@pytest.mark.parametrize(
    ("data", "trouble"),
    [(b"[]", "{ expected"), (b'{"a" 1}', ": expected"), (b'{"a": }', "no value"), (b"{1", "} expected")],
)
def test_what_is_no_object_says_where(data: bytes, trouble: str) -> None:
    with pytest.raises(BrokenJsonError, match=trouble):
        enter(JsonStream(io.BytesIO(data), START), b"log")
