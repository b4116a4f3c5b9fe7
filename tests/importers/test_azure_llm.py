import gzip
import io
import json
from pathlib import Path

import pytest

from captures.errors import UsageError
from captures.exchange import Exchange, Flags
from captures.importers.azure_llm import AzureLlm
from captures.importers.importer import SNIFFED_BYTES, Dropped, ImportOptions, SourceFile

OPTIONS = ImportOptions(model="llama", seed=7)
REAL = Path(__file__).resolve().parents[3] / "shared/data/azure_llm_2023_conv.csv.gz"
# As published: CRLF, seven fractional digits, no zone, no line end at the end.
TRACE = (
    b"TIMESTAMP,ContextTokens,GeneratedTokens\r\n"
    b"2023-11-16 18:17:03.9799600,4808,10\r\n"
    b"2023-11-16 18:17:04.0319600,3180,8"
)


def items(*contents: bytes, options: ImportOptions = OPTIONS) -> list[Exchange | Dropped]:
    files = [SourceFile(f"{number}.csv", io.BytesIO(content)) for number, content in enumerate(contents)]
    return list(AzureLlm().read(files, options))


def exchanges(*contents: bytes, options: ImportOptions = OPTIONS) -> list[Exchange]:
    return [item for item in items(*contents, options=options) if isinstance(item, Exchange)]


def words(exchange: Exchange) -> int:
    content: str = json.loads(exchange.request.body)["messages"][0]["content"]
    return len(content.split(" "))


def test_a_trace_as_published_is_read_to_the_last_line() -> None:
    found = exchanges(TRACE)

    assert [exchange.arrival_ns for exchange in found] == [1_700_158_623_979_960_000, 1_700_158_624_031_960_000]
    assert [words(exchange) for exchange in found] == [4808, 3180]
    assert [json.loads(exchange.request.body)["max_tokens"] for exchange in found] == [10, 8]
    assert all(Flags.SYNTHETIC in exchange.flags and exchange.response is None for exchange in found)


def test_the_trace_of_2024_has_a_zone() -> None:
    found = exchanges(b"TIMESTAMP,ContextTokens,GeneratedTokens\n2024-05-10 00:00:00.009930+00:00,2162,5\n")

    assert [exchange.arrival_ns for exchange in found] == [1_715_299_200_009_930_000]


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others() -> None:
    assert exchanges(TRACE) == exchanges(TRACE)
    assert (
        exchanges(TRACE)[0].request.body
        != exchanges(TRACE, options=ImportOptions(model="llama", seed=8))[0].request.body
    )


def test_rows_have_prompts_of_their_own_across_files() -> None:
    found = exchanges(TRACE, TRACE)

    assert len({exchange.request.body[:200] for exchange in found}) == len(found) == 4


def test_columns_are_found_by_name() -> None:
    found = exchanges(b"GeneratedTokens,TIMESTAMP,ContextTokens\n5,2024-05-10 00:00:00,3\n")

    assert [(words(exchange), json.loads(exchange.request.body)["max_tokens"]) for exchange in found] == [(3, 5)]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (b"2023-11-16 18:17:03,x,10", "damaged"),
        (b"2023-11-16 18:17:03,-1,10", "damaged"),
        (b"2023-11-16 18:17:03,1e3,10", "damaged"),
        (b"sometime,1,10", "damaged"),
        (b"2023-11-16 18:17:03,1", "damaged"),
        (b"2023-11-16 18:17:03,1,1,1", "damaged"),
        (b'"2023-11-16 18:17:03,1,1', "damaged"),
        (b"\xff\xfe,1,1", "damaged"),
        (b"1" * 100_000, "damaged"),
        (b"2023-11-16 18:17:03,0,10", "no_prompt_tokens"),
        (b"2023-11-16 18:17:03,999999999999,10", "too_many_tokens"),
    ],
)
def test_a_row_that_makes_no_request_is_dropped_with_reason_and_line(row: bytes, reason: str) -> None:
    found = items(TRACE + b"\r\n\r\n" + row + b"\r\n2023-11-16 18:17:05,1,1")

    assert [type(item) for item in found] == [Exchange, Exchange, Dropped, Exchange]
    assert found[2] == Dropped(reason, "0.csv: line 5")


def test_a_file_with_other_columns_is_dropped_once() -> None:
    found = items(b"a,b\n1,2\n3,4\n")

    assert [item.reason for item in found if isinstance(item, Dropped)] == ["not_this_format"]


def test_nothing_at_all_is_nothing() -> None:
    assert items(b"", b"TIMESTAMP,ContextTokens,GeneratedTokens") == []


def test_a_missing_model_is_said_before_anything_is_read() -> None:
    with pytest.raises(UsageError, match="--model NAME"):
        AzureLlm().read([], ImportOptions())


@pytest.mark.parametrize(
    ("head", "known"),
    [
        (TRACE, True),
        (TRACE[:45], True),
        (b"\xef\xbb\xbf" + TRACE, True),
        (TRACE[:20], False),
        (b"Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n", False),
        (b'{"timestamp": 1, "input_length": 1, "output_length": 1, "hash_ids": []}', False),
        (b"", False),
        (b"\x00\xff" * 1000, False),
    ],
)
def test_a_trace_is_known_by_its_header_line(head: bytes, known: bool) -> None:
    assert AzureLlm().sniff(head[:SNIFFED_BYTES]) is known


@pytest.mark.slow
@pytest.mark.skipif(not REAL.exists(), reason="the published trace lies beside the repository, and is not here")
def test_the_published_trace_is_read_row_by_row() -> None:
    with gzip.open(REAL) as file:
        content = file.read()
    expected = [line.split(",") for line in content.decode().splitlines()[1:3001]]
    found = zip(expected, AzureLlm().read([SourceFile("trace", io.BytesIO(content))], OPTIONS), strict=False)
    times = []
    for (_, prompt, output), item in found:
        assert isinstance(item, Exchange)
        assert words(item) == int(prompt)
        assert json.loads(item.request.body)["max_tokens"] == int(output)
        times.append(item.arrival_ns)

    assert AzureLlm().sniff(content[:SNIFFED_BYTES])
    assert len(times) == 3000
    assert times == sorted(times)
    assert times[1] - times[0] == 4_314_579_000  # 18:15:46.6805900 and 18:15:50.9951690
