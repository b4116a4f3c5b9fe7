"""A tap lets somebody else take bytes before the one who reads sees them."""

import asyncio

from recorder.tap import Tap


def reader_of(*pieces: bytes) -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    for piece in pieces:
        reader.feed_data(piece)
    reader.feed_eof()
    return reader


def test_without_a_taker_it_is_the_reader() -> None:
    async def read() -> list[bytes]:
        tap = Tap(reader_of(b"ab"))
        return [await tap.read(1), await tap.read(1), await tap.read(1)]

    assert asyncio.run(read()) == [b"a", b"b", b""]


def test_what_is_taken_is_not_read_and_what_is_not_taken_is() -> None:
    async def read() -> tuple[bytes, list[bytes]]:
        taken: list[bytes] = []

        def take(data: bytes) -> bool:
            taken.append(data)
            return data != b"c"

        return await Tap(reader_of(b"abcd"), take).read(1), taken

    assert asyncio.run(read()) == (b"c", [b"a", b"b", b"c"])


def test_what_has_to_be_waited_for_is_before_more_is_read() -> None:
    async def read() -> list[str]:
        told: list[str] = []

        async def wait(data: bytes) -> None:
            await asyncio.sleep(0)
            told.append(f"waited {data!r}")

        def take(data: bytes) -> object:
            told.append(f"took {data!r}")
            return wait(data)

        assert await Tap(reader_of(b"ab"), take).read(1) == b""  # type: ignore[arg-type]  # a coroutine is what it may be
        return told

    assert asyncio.run(read()) == ["took b'a'", "waited b'a'", "took b'b'", "waited b'b'"]


def test_it_says_how_the_stream_ended() -> None:
    async def ended() -> BaseException | None:
        reader = asyncio.StreamReader()
        reader.set_exception(ConnectionResetError())
        return Tap(reader).exception()

    assert isinstance(asyncio.run(ended()), ConnectionResetError)
