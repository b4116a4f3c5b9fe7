"""Streams cut into pieces."""

import pytest

from captures.compression import Stream, decompress
from captures.frame import LIMITS, FrameError


def test_every_prefix_of_cuts_can_be_read() -> None:
    stream, pieces, raw = Stream(3), [], b""
    for i in range(5):
        data = b"the same words again and again %d " % i * 20
        stream.add(data)
        raw += data
        pieces.append(stream.cut())

        assert decompress([stored for stored, _ in pieces], sum(size for _, size in pieces)) == raw


def test_a_later_cut_profits_from_the_first() -> None:
    stream = Stream(3)
    sizes = []
    for _ in range(2):
        stream.add(bytes(range(256)) * 4)
        sizes.append(len(stream.cut()[0]))

    assert sizes[1] < sizes[0] / 5


def test_a_cut_of_nothing_is_nothing() -> None:
    stream = Stream(3)
    stream.add(b"")

    assert stream.cut() == (b"", 0)
    assert decompress([], 0) == b""


@pytest.mark.parametrize("claim", [0, 99, 101, LIMITS["segment"] + 1])
def test_a_wrong_claim_about_the_length_is_seen(claim: int) -> None:
    stream = Stream(3)
    stream.add(b"a" * 100)

    with pytest.raises(FrameError):
        decompress([stream.cut()[0]], claim)


def test_garbage_is_a_frame_error() -> None:
    with pytest.raises(FrameError, match="decompress"):
        decompress([b"no zstd at all"], 10)


def test_an_incompressible_piece_of_the_greatest_length_is_below_the_stored_limit() -> None:
    """The bound zstd documents for its output, plus a cut."""
    raw = LIMITS["raw"]

    assert raw + (raw >> 8) + 1024 < LIMITS["stored"]
