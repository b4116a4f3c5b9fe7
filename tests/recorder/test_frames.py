"""What travels between relay and spool."""

from hypothesis import given
from hypothesis import strategies as st

from captures.exchange import Chunk, Exchange, Failure, FailureKind, Flags, Request, Response
from recorder.frames import Frames, frame, pack_exchange, unpack_exchange, write_all

TIMES = st.integers(min_value=-1, max_value=2**62)
TEXTS = st.text(st.characters(min_codepoint=0, max_codepoint=255), max_size=20)
HEADERS = st.lists(st.tuples(TEXTS, TEXTS), max_size=3).map(tuple)
CHUNKS = st.lists(st.builds(Chunk, TIMES, st.binary(max_size=30)), max_size=3).map(tuple)
REQUESTS = st.builds(
    Request, method=TEXTS, target=TEXTS, headers=HEADERS, chunks=CHUNKS, end_ns=TIMES, size=TIMES, http_version=TEXTS
)
RESPONSES = st.builds(
    Response,
    status=st.integers(0, 999),
    headers=HEADERS,
    chunks=CHUNKS,
    first_ns=TIMES,
    end_ns=TIMES,
    size=TIMES,
    reason=TEXTS,
)
EXCHANGES = st.builds(
    Exchange,
    arrival_ns=TIMES,
    request=REQUESTS,
    response=st.none() | RESPONSES,
    failure=st.none() | st.builds(Failure, st.sampled_from(FailureKind), TIMES, TEXTS),
    connection=st.integers(0, 2**32),
    flags=st.integers(0, 2047).map(Flags),
)


@given(EXCHANGES)
def test_an_exchange_comes_out_as_it_went_in(exchange: Exchange) -> None:
    (packed,) = Frames().feed(frame(pack_exchange(exchange)))
    assert unpack_exchange(packed) == exchange


@given(st.lists(st.binary(max_size=300), max_size=6), st.integers(1, 400))
def test_frames_survive_any_cut_and_a_cut_off_last_one_is_never_returned(values: list[bytes], step: int) -> None:
    stream = b"".join(map(frame, values)) + frame(b"cut off")[:-1]
    frames = Frames()
    got = [value for at in range(0, len(stream), step) for value in frames.feed(stream[at : at + step])]
    assert got == values


def test_a_pipe_that_takes_little_at_a_time_gets_everything() -> None:
    got = bytearray()

    def write(data: memoryview) -> int:
        got.extend(data[:3])
        return min(3, len(data))

    write_all(write, b"0123456789")
    assert got == b"0123456789"
