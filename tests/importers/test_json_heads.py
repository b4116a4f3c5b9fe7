import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from captures.importers.json_heads import first_keys

VALUES: list[object] = [1, None, "a:", '{"x":', "[", "\\", {"x": {"y:": []}}, [{"x": "]"}], [[]], {}]


@pytest.mark.parametrize(
    ("head", "keys"),
    [
        (b'{"a": 1, "b": {"c": "d:"}, "e": ["f", {"g": 1}], "h": "i"}{"j": 1}', {"a", "b", "e", "h"}),
        (b' \r\n[ {"a": 1}, {"b": 2}]', {"a"}),
        (b'\xef\xbb\xbf{"a" : 1}', {"a"}),
        (b'{"a": "x\\"y\\\\", "b": 1', {"a", "b"}),
        (b'{"a": 1, "b', {"a"}),
        (b'{"a": "cut off, with \\', {"a"}),
        (b"{}", set()),
        (b"[[1]]", set()),
        (b"a,b\n", set()),
        (b"", set()),
    ],
)
def test_keys_of_the_first_object_and_of_nothing_inside_it(head: bytes, keys: set[str]) -> None:
    assert first_keys(head) == keys


@settings(max_examples=50)
@given(st.dictionaries(st.text("ab:{}[],", max_size=5), st.sampled_from(VALUES), max_size=6))
def test_keys_are_those_a_parser_finds(record: dict[str, object]) -> None:
    assert first_keys(json.dumps(record).encode()) == set(record)


@pytest.mark.parametrize("piece", [b'\\"', b'"', b"{", b"[", b'{"', b'":', b"\\"])
def test_a_hostile_head_costs_its_length(piece: bytes) -> None:
    """Seconds otherwise: the time limit of the tests is the judge."""
    assert len(first_keys(b"{" + piece * (1 << 18))) < 1 << 18
