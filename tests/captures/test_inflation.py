import gzip
import random
import zlib
from collections.abc import Callable

import brotli  # type: ignore[import-untyped]  # it comes without annotations
import pytest
import zstandard
from hypothesis import example, given
from hypothesis import strategies as st

from captures.inflation import inflated, is_text

TEXT = b"to Ada: " * 50
CODINGS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": lambda data: gzip.compress(data, mtime=0),
    "zlib": zlib.compress,
    "deflate": lambda data: zlib.compress(data)[2:-4],
    "zstd": lambda data: zstandard.ZstdCompressor().compress(data),
    "brotli": brotli.compress,
}


@pytest.mark.parametrize("coding", CODINGS)
def test_what_was_compressed_is_opened_without_being_told_how(coding: str) -> None:
    assert inflated(CODINGS[coding](TEXT), 1 << 20) == (coding, TEXT)


@pytest.mark.parametrize("coding", CODINGS)
def test_never_more_comes_out_than_was_asked_for(coding: str) -> None:
    assert inflated(CODINGS[coding](b"a" * 10_000_000), 1000) == (coding, b"a" * 1000)


@pytest.mark.parametrize("coding", CODINGS)
def test_what_was_cut_off_gives_what_came_before(coding: str) -> None:
    rest = random.Random(1).randbytes(300_000)
    found = inflated(CODINGS[coding](TEXT + rest)[:-1000], 1 << 20, coding)
    assert found is not None
    assert found[1].startswith(TEXT[:100])


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
def test_several_in_a_row_are_one(coding: str) -> None:
    assert inflated(CODINGS[coding](TEXT) * 3, 1 << 20) == (coding, TEXT * 3)


def test_text_is_not_taken_for_brotli() -> None:
    assert inflated(TEXT, 1 << 20) is None
    assert inflated(b"", 1 << 20) is None


def test_content_without_a_sign_of_compression_has_to_be_text_inside() -> None:
    assert inflated(brotli.compress(bytes(100)), 1 << 20) is None
    assert inflated(brotli.compress(bytes(100)), 1 << 20, "br") == ("brotli", bytes(100))


@given(st.binary(max_size=200), st.sampled_from(["", "br", "deflate", "gzip"]))
@example(b"\x1f\x8b\x08", "")
@example(b"\x28\xb5\x2f\xfd\xff\xff\xff\xff", "")
def test_garbage_is_no_error(data: bytes, coding: str) -> None:
    inflated(data, 1000, coding)


def test_text_has_no_control_characters() -> None:
    assert is_text("Zoë\r\n".encode())
    assert not is_text(b"a\0b")
    assert not is_text(b"\xff")
