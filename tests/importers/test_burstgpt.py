import io
import json

import pytest

from captures.errors import UsageError
from captures.exchange import Exchange, Flags, header
from captures.importers.burstgpt import BurstGpt
from captures.importers.importer import Dropped, ImportOptions, SourceFile
from captures.importers.synthesis import SESSION_HEADER

OPTIONS = ImportOptions(model="llama", path_template="/v1/completions")
OLD = b"""Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type
5,ChatGPT,472,18,490,Conversation log
45,ChatGPT,0,0,0,Conversation log
46,GPT-4,12,0,12,API log
"""
NEW = b"""Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens,Log Type
19440110.0,1722ac82-0a46-4bf0-aa08-89794e7a2b3f,43,GPT-4,906,446,1352,Conversation log
19440161.5,1722ac82-0a46-4bf0-aa08-89794e7a2b3f,2,ChatGPT,36,29,65,Conversation log
19440192.0,,5,ChatGPT,7,3,10,API log
"""


def items(content: bytes, seed: int = 0) -> list[Exchange | Dropped]:
    options = ImportOptions(model="llama", path_template="/v1/completions", seed=seed)
    return list(BurstGpt().read([SourceFile("trace.csv", io.BytesIO(content))], options))


def exchanges(content: bytes, seed: int = 0) -> list[Exchange]:
    return [item for item in items(content, seed) if isinstance(item, Exchange)]


def lengths(exchange: Exchange) -> tuple[int, int]:
    body = json.loads(exchange.request.body)
    return len(body["prompt"].split(" ")), body["max_tokens"]


def test_the_first_traces_are_read_by_column_name() -> None:
    found = exchanges(OLD)

    assert [(exchange.arrival_ns, lengths(exchange)) for exchange in found] == [
        (5_000_000_000, (472, 18)),
        (46_000_000_000, (12, 1)),
    ]


def test_the_third_trace_has_two_more_columns() -> None:
    found = exchanges(NEW)

    assert [exchange.arrival_ns for exchange in found] == [
        19_440_110_000_000_000,
        19_440_161_500_000_000,
        19_440_192_000_000_000,
    ]
    assert [lengths(exchange) for exchange in found] == [(906, 446), (36, 29), (7, 3)]
    assert all(Flags.SYNTHETIC in exchange.flags for exchange in found)


def test_a_session_id_is_a_session_and_a_header_and_never_itself() -> None:
    first, again, none = exchanges(NEW)

    assert first.session == again.session != 0 == none.session
    assert header(first.request.headers, SESSION_HEADER) == header(again.request.headers, SESSION_HEADER)
    assert header(none.request.headers, SESSION_HEADER) is None
    assert all("1722ac82" not in value for _, value in first.request.headers)
    assert exchanges(NEW, seed=1)[0].session != first.session


def test_rows_without_tokens_are_dropped_by_reason() -> None:
    assert [item for item in items(OLD) if isinstance(item, Dropped)] == [
        Dropped("no_prompt_tokens", "trace.csv: line 3")
    ]


@pytest.mark.parametrize(
    "row", [b"-5,ChatGPT,1,1,2,x", b"5,ChatGPT,one,1,2,x", b"5,ChatGPT,1", b"1e3,ChatGPT,1,1,2,x", b"\xff,,1,1,,"]
)
def test_a_broken_row_is_damage_and_the_next_is_read(row: bytes) -> None:
    found = items(OLD + row + b"\n" + b"50,ChatGPT,3,4,7,API log")

    assert found[-2] == Dropped("damaged", "trace.csv: line 5")
    assert isinstance(found[-1], Exchange)


def test_a_missing_model_is_said_before_anything_is_read() -> None:
    with pytest.raises(UsageError, match=r"burstgpt .* --model NAME"):
        BurstGpt().read([], ImportOptions())


@pytest.mark.parametrize(
    ("head", "known"),
    [
        (OLD, True),
        (NEW, True),
        (NEW.replace(b"\n", b"\r\n"), True),
        (OLD[:30], False),
        (b"TIMESTAMP,ContextTokens,GeneratedTokens\n", False),
        (b"Timestamp,Request tokens,Response tokens\n", False),
        (b"", False),
    ],
)
def test_a_trace_is_known_by_its_column_names(head: bytes, known: bool) -> None:
    assert BurstGpt().sniff(head) is known
