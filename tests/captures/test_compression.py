"""Streams cut into pieces."""

import random

import pytest
import zstandard

from captures.compression import Stream, decompress, stream
from captures.frame import LIMITS, STREAM_KINDS, FrameError, Kind


@pytest.fixture(params=[True, False], ids=["small", "fast"])
def bodies(request: pytest.FixtureRequest) -> Stream:
    return stream(Kind.BODIES, small=request.param)


def test_every_prefix_of_cuts_can_be_read(bodies: Stream) -> None:
    pieces: list[bytes] = []
    raw = b""
    for i in range(5):
        data = b"the same words again and again %d " % i * 20
        raw += data
        pieces.append(bodies.cut(data))

        assert decompress(pieces, len(raw)) == raw


def test_a_later_cut_profits_from_the_first(bodies: Stream) -> None:
    sizes = [len(bodies.cut(bytes(range(256)) * 4)) for _ in range(2)]

    assert sizes[1] < sizes[0] / 5


def test_nothing_is_read_from_no_pieces() -> None:
    assert decompress([], 0) == b""


@pytest.mark.parametrize("claim", [0, 99, 101, LIMITS["segment"] + 1])
def test_a_wrong_claim_about_the_length_is_seen(bodies: Stream, claim: int) -> None:
    with pytest.raises(FrameError):
        decompress([bodies.cut(b"a" * 100)], claim)


def test_garbage_is_a_frame_error() -> None:
    with pytest.raises(FrameError, match="decompress"):
        decompress([b"no zstd at all"], 10)


@pytest.mark.parametrize("small", [True, False])
@pytest.mark.parametrize("kind", STREAM_KINDS)
def test_no_stream_needs_a_greater_window_than_the_limit(kind: Kind, small: bool) -> None:
    frame = zstandard.get_frame_parameters(stream(kind, small=small).cut(b"x"))

    assert 0 < frame.window_size <= LIMITS["window"]


def test_small_is_smaller_where_calls_repeat_each_other() -> None:
    draw = random.Random(1)
    calls = [b'{"id":"%032x","data":[%.4f,%.4f]}' % (draw.getrandbits(128), *(draw.random(),) * 2) for _ in range(2000)]
    sizes = []
    for small in (True, False):
        each = stream(Kind.BODIES, small=small)
        sizes.append(sum(len(each.cut(b"".join(calls[i : i + 5]))) for i in range(0, 2000, 5)))

    assert sizes[0] < sizes[1]


def test_an_incompressible_piece_of_the_greatest_length_is_below_the_stored_limit() -> None:
    """The bound zstd documents for its output, plus a cut."""
    raw = LIMITS["raw"]

    assert raw + (raw >> 8) + 1024 < LIMITS["stored"]
