import random
from collections.abc import Sequence

import pytest

from captures.blocks import LARGEST_REQUEST, BlockCache

DATA = random.Random(1).randbytes(100_000)


class Server:
    """Serves files from memory and writes down what it was asked for."""

    def __init__(self, *files: bytes) -> None:
        self.files = files
        self.calls: list[list[tuple[int, int, int]]] = []

    def fetch(self, requests: Sequence[tuple[int, int, int]]) -> list[bytes]:
        self.calls.append(list(requests))
        return [self.files[file][start:stop] for file, start, stop in requests]

    @property
    def requests(self) -> list[tuple[int, int, int]]:
        return [request for call in self.calls for request in call]

    @property
    def fetched(self) -> int:
        return sum(stop - start for _, start, stop in self.requests)

    def cache(self, block: int = 1024, limit: int = 1 << 20) -> BlockCache:
        return BlockCache([len(data) for data in self.files], self.fetch, block=block, limit=limit)


@pytest.mark.parametrize("seed", range(8))
def test_any_reads_give_what_the_file_holds(seed: int) -> None:
    rng = random.Random(seed)
    server = Server(DATA, DATA[:1500], b"")
    cache = server.cache(limit=rng.choice([2048, 8192, 1 << 20]))
    for _ in range(200):
        file, offset, size = rng.randrange(3), rng.randrange(110_000), rng.choice([0, 1, 14, 5000, 200_000])
        if rng.random() < 0.2:
            cache.prefetch(file, [(offset, size), (offset + 50, size)])

        assert cache.read_at(file, offset, size) == server.files[file][offset : offset + size]


def test_the_end_of_a_file_gives_fewer_bytes() -> None:
    cache = Server(DATA[:1500]).cache()

    assert cache.read_at(0, 1490, 100) == DATA[1490:1500]
    assert cache.read_at(0, 1500, 1) == b""
    assert cache.read_at(0, 9999, 1) == b""


def test_no_block_is_fetched_twice_while_the_cache_has_room() -> None:
    server = Server(DATA)
    cache = server.cache()
    for offset in (0, 99_000, 30_000, 29_500, 30_100, 50_000):
        cache.read_at(0, offset, 4000)
    for offset in range(0, 100_000, 777):
        cache.read_at(0, offset, 777)

    assert server.fetched == len(DATA)


def test_neighbouring_blocks_travel_in_one_request() -> None:
    server = Server(DATA)
    cache = server.cache()
    cache.read_at(0, 0, 1)
    cache.read_at(0, 10_000, 10_000)

    assert server.calls[-1] == [(0, 9216, 20_480)]


def test_what_is_already_there_is_left_out_of_a_request() -> None:
    server = Server(DATA)
    cache = server.cache()
    cache.read_at(0, 12_000, 1)
    cache.read_at(0, 10_240, 4096)

    assert server.calls[-1] == [(0, 10_240, 11_264), (0, 12_288, 14_336)]


def test_reading_in_order_reads_further_ahead_each_time() -> None:
    server = Server(DATA)
    cache = server.cache()
    for offset in range(0, 100_000, 100):
        cache.read_at(0, offset, 100)

    assert server.fetched == len(DATA)
    assert len(server.requests) < 12


def test_leaping_about_reads_nothing_ahead() -> None:
    server = Server(DATA)
    cache = server.cache()
    cache.read_at(0, 0, 1)
    before = server.fetched
    for offset in (50_000, 20_000, 70_000, 40_000):
        cache.read_at(0, offset, 14)

    assert server.fetched - before == 4 * 1024


def test_ranges_that_are_told_before_are_fetched_in_one_go() -> None:
    server = Server(DATA)
    cache = server.cache()
    cache.read_at(0, 0, 1)
    cache.prefetch(0, [(5000, 100), (5100, 100), (60_000, 3000), (200_000, 5), (7, 0)])

    assert server.calls[-1] == [(0, 4096, 6144), (0, 59_392, 63_488)]
    calls = len(server.calls)
    cache.read_at(0, 5000, 200)
    cache.read_at(0, 60_000, 3000)
    assert len(server.calls) == calls


def test_what_is_told_before_never_fills_more_than_half_of_the_cache() -> None:
    server = Server(DATA)
    server.cache(limit=8192).prefetch(0, [(0, 100_000)])

    assert server.fetched == 4096


def test_the_cache_keeps_no_more_than_its_limit_and_drops_what_was_not_used_for_longest() -> None:
    server = Server(DATA)
    cache = server.cache(limit=4096)
    cache.read_at(0, 0, 1)  # the first block and the last
    for offset in (10_240, 20_480, 0, 30_720):
        cache.read_at(0, offset, 1)
    calls = len(server.calls)
    cache.read_at(0, 0, 1)
    assert len(server.calls) == calls
    cache.read_at(0, 99_999, 1)
    assert len(server.calls) == calls + 1


def test_more_than_the_cache_holds_is_read_whole() -> None:
    server = Server(DATA)
    cache = server.cache(limit=2048)
    cache.read_at(0, 50_000, 10)

    assert cache.read_at(0, 0, 100_000) == DATA


def test_a_request_is_never_larger_than_the_largest() -> None:
    data = bytes(LARGEST_REQUEST * 2 + 5)
    server = Server(data)
    BlockCache([len(data)], server.fetch, limit=1 << 30).read_at(0, 0, len(data))

    assert max(stop - start for _, start, stop in server.requests) == LARGEST_REQUEST


def test_beginnings_and_ends_of_many_files_are_fetched_together() -> None:
    files = [DATA[:50_000]] * 20
    server = Server(*files)
    cache = server.cache()
    for file in range(20):
        cache.read_at(file, 0, 10)
        cache.read_at(file, 49_990, 10)

    assert [len(call) for call in server.calls] == [32, 8]
