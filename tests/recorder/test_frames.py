"""What travels between worker and spool."""

from hypothesis import given
from hypothesis import strategies as st

from recorder.frames import Frames, frame, write_all


@given(st.lists(st.binary(max_size=300), max_size=6), st.integers(1, 400))
def test_frames_survive_any_cut_and_a_cut_off_last_one_is_never_returned(values: list[bytes], step: int) -> None:
    stream = b"".join(map(frame, values)) + frame(b"cut off")[:-1]
    frames = Frames()
    got = [value for at in range(0, len(stream), step) for value in frames.feed(stream[at : at + step])]
    assert got == values


@given(st.binary(max_size=60))
def test_a_frame_that_is_none_costs_itself(garbage: bytes) -> None:
    frames = Frames()
    broken = (len(garbage) + 1).to_bytes(4, "little") + b"\xc1" + garbage
    assert list(frames.feed(frame(1) + broken + frame(2))) == [1, (), 2]


def test_a_large_frame_that_comes_in_pieces_is_put_together_once() -> None:
    frames, data = Frames(), frame(bytes(1 << 20))
    got = [list(frames.feed(data[at : at + 1000])) for at in range(0, len(data), 1000)]
    assert got == [[]] * (len(got) - 1) + [[bytes(1 << 20)]]


def test_a_pipe_that_takes_little_at_a_time_gets_everything() -> None:
    got = bytearray()

    def write(data: memoryview) -> int:
        got.extend(data[:3])
        return min(3, len(data))

    write_all(write, b"0123456789")
    assert got == b"0123456789"
