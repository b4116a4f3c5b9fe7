"""The lines themselves; that they come back exactly is tested in tests/importers/test_jsonl.py."""

import json

import pytest

from captures.exporters.jsonl import FIRST, JsonlExporter, is_sealed, seal_key, sealed
from captures.testing import example_exchanges, example_header


def test_the_first_line_is_the_capture_and_every_other_an_exchange() -> None:
    first, *lines = b"".join(JsonlExporter().write(example_header(), example_exchanges(2), {})).splitlines()

    told = json.loads(first)
    assert list(told) == ["shadowtape", "version", "header", "seal"]
    assert is_sealed(first, FIRST)
    assert told["header"]["recording_id"] == b"recording id 16b".hex()
    assert [json.loads(line)["arrival_ns"] for line in lines] == [0, 1_000_000]
    assert all(is_sealed(line, seal_key(first)) for line in lines)


def test_it_is_written_as_it_comes() -> None:
    def endless() -> object:
        while True:
            yield from example_exchanges(1)

    pieces = JsonlExporter().write(example_header(), endless(), {})  # type: ignore[arg-type]  # of exchanges

    assert all(next(pieces).endswith(b"}\n") for _ in range(5))


@pytest.mark.parametrize("line", [b"", b"{}", b'{"a":1}', sealed(b'{"a":1}', b"other")])
def test_only_what_was_sealed_under_this_key_is(line: bytes) -> None:
    assert not is_sealed(line, b"key")
    assert is_sealed(sealed(b'{"a":1}', b"key"), b"key")
    assert json.loads(sealed(b'{"a":1}', b"key"))["a"] == 1
