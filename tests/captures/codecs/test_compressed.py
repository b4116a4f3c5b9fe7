import gzip
import zlib

import pytest

from captures.codecs.compressed import is_compressed


@pytest.mark.parametrize(
    "body", [gzip.compress(b"x", mtime=0), *(zlib.compress(b"x", level) for level in (0, 1, 6, 9))]
)
def test_compressed_bodies_are_told_by_their_first_bytes(body: bytes) -> None:
    assert is_compressed(body)


@pytest.mark.parametrize("body", [b"", b"{}", b"[1]", b"x=1", b"data: x\n\n"])
def test_text_is_not_compressed(body: bytes) -> None:
    assert not is_compressed(body)
