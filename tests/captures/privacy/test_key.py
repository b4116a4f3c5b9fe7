import pytest

from captures.errors import UsageError
from captures.privacy.key import key_id, key_text, parse_key

KEY = bytes(range(32))


def test_a_key_file_reads_back() -> None:
    assert parse_key(key_text(KEY), "k") == KEY
    assert parse_key(KEY, "k") == KEY


def test_the_fingerprint_tells_keys_apart_and_nothing_more() -> None:
    assert key_id(KEY) == key_id(KEY) != key_id(KEY[::-1])
    assert len(key_id(KEY)) == 16


@pytest.mark.parametrize("text", [b"", b"x" * 31, b"g" * 64, b"0" * 63])
def test_anything_else_is_an_error_that_names_the_file(text: bytes) -> None:
    with pytest.raises(UsageError, match=r"--key k\.txt: not a key"):
        parse_key(text, "--key k.txt")
