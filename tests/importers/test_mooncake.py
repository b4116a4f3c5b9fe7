import gzip
import io
import json
from itertools import takewhile
from pathlib import Path

import pytest

from captures.errors import UsageError
from captures.exchange import Exchange, Flags, header
from captures.importers.importer import SNIFFED_BYTES, Dropped, ImportOptions, SourceFile
from captures.importers.mooncake import Mooncake
from captures.importers.synthesis import SESSION_HEADER

REAL = Path(__file__).resolve().parents[3] / "shared/data/mooncake_synthetic_head.jsonl.gz"
MS_NS = 1_000_000


def row(**changes: object) -> bytes:
    record = {"timestamp": 27, "input_length": 1100, "output_length": 4, "hash_ids": [0, 1, 2]} | changes
    return json.dumps(record).encode() + b"\n"


def chat(**changes: object) -> bytes:
    record = {"chat_id": 1, "parent_chat_id": -1, "timestamp": 61.114, "input_length": 40, "output_length": 5}
    return json.dumps(record | {"type": "text", "turn": 1, "hash_ids": [7, 8, 9]} | changes).encode() + b"\n"


def items(*contents: bytes, seed: int = 0) -> list[Exchange | Dropped]:
    files = [SourceFile(f"{number}.jsonl", io.BytesIO(content)) for number, content in enumerate(contents)]
    return list(Mooncake().read(files, ImportOptions(model="llama", seed=seed)))


def exchanges(*contents: bytes, seed: int = 0) -> list[Exchange]:
    return [item for item in items(*contents, seed=seed) if isinstance(item, Exchange)]


def words(exchange: Exchange) -> list[str]:
    content: str = json.loads(exchange.request.body)["messages"][0]["content"]
    return content.split(" ")


def shared_prefix(one: bytes, other: bytes) -> int:
    return next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def test_times_are_milliseconds_and_lengths_are_honoured() -> None:
    (found,) = exchanges(row(timestamp=532_806))

    assert found.arrival_ns == 532_806 * MS_NS
    assert len(words(found)) == 1100
    assert json.loads(found.request.body)["max_tokens"] == 4
    assert Flags.SYNTHETIC in found.flags


def test_a_fraction_of_a_millisecond_is_exact() -> None:
    assert exchanges(row().replace(b": 27,", b": 0.000019,"))[0].arrival_ns == 19


def test_equal_block_ids_are_equal_bytes_from_the_start_of_the_body() -> None:
    one, other, stranger = exchanges(row(), row(hash_ids=[0, 1, 3]), row(hash_ids=[4, 1, 2]))
    lead = one.request.body.index(b"content") + 10

    assert words(one)[:1024] == words(other)[:1024]
    assert words(one)[1024:] != words(other)[1024:]
    assert shared_prefix(one.request.body, other.request.body) >= len(" ".join(words(one)[:1024]))
    assert shared_prefix(one.request.body, stranger.request.body) < lead + 20
    assert words(one)[512:1024] == words(stranger)[512:1024]


def test_a_last_block_may_be_cut_and_is_still_the_beginning_of_itself() -> None:
    short, full = exchanges(row(input_length=700, hash_ids=[0, 1]), row(input_length=1024, hash_ids=[0, 1]))

    assert words(short) == words(full)[:700]


def test_a_prompt_longer_than_its_blocks_ends_in_text_of_its_own() -> None:
    one, other = exchanges(row(input_length=600, hash_ids=[0]), row(input_length=600, hash_ids=[0]))

    assert words(one)[:512] == words(other)[:512]
    assert words(one)[512:] != words(other)[512:]


def test_blocks_a_prompt_is_too_short_for_are_left_out() -> None:
    assert len(words(exchanges(row(input_length=3, hash_ids=[0, 1, 2]))[0])) == 3


def test_blocks_are_the_same_in_every_file_and_other_ones_under_another_seed() -> None:
    assert exchanges(row(), row())[0].request.body == exchanges(row(), row())[1].request.body
    assert exchanges(row())[0].request.body != exchanges(row(), seed=1)[0].request.body


def test_a_bailian_trace_has_seconds_and_blocks_of_sixteen_tokens() -> None:
    one, other = exchanges(chat(), chat(chat_id=2, hash_ids=[7, 8, 10]))

    assert one.arrival_ns == 61_114_000_000
    assert words(one)[:32] == words(other)[:32]
    assert words(one)[32:] != words(other)[32:]
    assert len(words(one)) == 40


def test_the_turns_of_a_chat_are_one_session() -> None:
    first, second, third, other = exchanges(
        chat(), chat(chat_id=2, parent_chat_id=1), chat(chat_id=5, parent_chat_id=2), chat(chat_id=9)
    )

    assert first.session == second.session == third.session != other.session
    assert header(third.request.headers, SESSION_HEADER) == f"{first.session:016x}"


def test_a_mooncake_trace_has_no_sessions() -> None:
    assert exchanges(row())[0].session == 0


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"{", "damaged"),
        (b"[1]", "damaged"),
        (b"nonsense", "damaged"),
        (b"[" * 100_000, "damaged"),
        (b'{"timestamp":' + b"9" * 5000 + b"}", "damaged"),
        (row(timestamp=-1), "damaged"),
        (row(timestamp="5"), "damaged"),
        (row(timestamp=True), "damaged"),
        (row(timestamp=None), "damaged"),
        (row(timestamp=2**70), "damaged"),
        (row().replace(b": 27,", b": NaN,"), "damaged"),
        (row().replace(b": 27,", b": 1e999999999,"), "damaged"),
        (row(input_length=1.5), "damaged"),
        (row(input_length=-1), "damaged"),
        (row(hash_ids=[[1]]), "damaged"),
        (row(hash_ids=5), "damaged"),
        (row(hash_ids=[10**400]), "damaged"),
        (row(input_length=0), "no_prompt_tokens"),
        (row(input_length=10**15), "too_many_tokens"),
        (chat(chat_id={}), "damaged"),
    ],
)
def test_a_line_that_makes_no_request_is_dropped_with_reason_and_line(line: bytes, reason: str) -> None:
    found = items(row() + b"\n" + line.strip() + b"\n" + row())

    assert [type(item) for item in found] == [Exchange, Dropped, Exchange]
    assert found[1] == Dropped(reason, "0.jsonl: line 3")


def test_a_missing_model_is_said_before_anything_is_read() -> None:
    with pytest.raises(UsageError, match=r"mooncake .* --model NAME"):
        Mooncake().read([], ImportOptions())


@pytest.mark.parametrize(
    ("head", "known"),
    [
        (row(), True),
        (chat(), True),
        (row(hash_ids=list(range(100_000)))[:SNIFFED_BYTES], True),
        (b'{"timestamp": 1, "input_length": 5, "output_length": 5}', False),
        (b'{"nested": {"timestamp": 1, "input_length": 5, "output_length": 5, "hash_ids": []}}', False),
        (b"[" + row() + b"]", False),
        (b'{"captureData": {}}', False),
        (b"", False),
        (b"{" * 60_000, False),
    ],
)
def test_a_trace_is_known_by_the_keys_of_its_first_line(head: bytes, known: bool) -> None:
    assert Mooncake().sniff(head) is known


@pytest.mark.slow
@pytest.mark.skipif(not REAL.exists(), reason="the published trace lies beside the repository, and is not here")
def test_prompts_of_the_published_trace_share_what_their_blocks_share() -> None:
    with gzip.open(REAL) as file:
        lines = file.read().splitlines(keepends=True)[:300]
    found = exchanges(b"".join(lines))
    records = [json.loads(line) for line in lines]

    assert Mooncake().sniff(b"".join(lines)[:SNIFFED_BYTES])
    assert [len(words(each)) for each in found] == [record["input_length"] for record in records]
    by_first: dict[int, int] = {}
    pairs = 0
    for i, record in enumerate(records):
        first = by_first.setdefault(record["hash_ids"][0], i)
        if first != i:
            ids = zip(records[first]["hash_ids"], record["hash_ids"], strict=False)
            blocks = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], ids))
            shared = min(512 * blocks, record["input_length"], records[first]["input_length"])
            assert words(found[first])[:shared] == words(found[i])[:shared]
            pairs += 1
    assert pairs > 10
