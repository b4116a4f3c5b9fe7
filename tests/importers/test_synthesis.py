import json

import pytest

from captures.errors import UsageError
from captures.exchange import Flags, header
from captures.importers.importer import ImportOptions
from captures.importers.synthesis import MOST_TOKENS, SESSION_HEADER, WORDS, endpoint_of, session_of, text_of, why_not


def options(**changes: str) -> ImportOptions:
    return ImportOptions(model=changes.get("model", "llama"), path_template=changes.get("path_template", ""))


def test_a_text_has_as_many_words_as_tokens_were_asked_for() -> None:
    assert [len(text_of("key", tokens).split()) for tokens in (0, 1, 2, 512, 10_000)] == [0, 1, 2, 512, 10_000]


def test_every_byte_of_the_hash_is_a_word_of_its_own() -> None:
    assert len(WORDS) == len(set(WORDS)) == 256


def test_words_are_short_plain_english() -> None:
    assert all(word.isalpha() and word.islower() and len(word) <= 9 for word in WORDS)


def test_the_text_of_a_key_is_fixed_for_ever() -> None:
    assert text_of("block/7/42", 6) == b"over side when important sentence those"


def test_other_keys_have_other_texts() -> None:
    texts = {text_of(f"block/0/{block}", 16) for block in range(1_000)}

    assert len(texts) == 1_000


def test_a_shorter_text_is_a_prefix_of_a_longer_one() -> None:
    assert text_of("key", 600).startswith(text_of("key", 512) + b" ")


def test_a_long_prompt_costs_its_own_length() -> None:
    assert len(text_of("key", 100_000)) < 700_000


@pytest.mark.parametrize(
    ("template", "target", "body"),
    [
        (
            "",
            "/v1/chat/completions",
            {"model": "llama", "messages": [{"role": "user", "content": "see the cat"}], "max_tokens": 9},
        ),
        (
            "/openai/v1/chat/completions",
            "/openai/v1/chat/completions",
            {"model": "llama", "messages": [{"role": "user", "content": "see the cat"}], "max_tokens": 9},
        ),
        ("/v1/completions", "/v1/completions", {"model": "llama", "prompt": "see the cat", "max_tokens": 9}),
        (
            "/v2/models/{model}/generate",
            "/v2/models/llama/generate",
            {"text_input": "see the cat", "parameters": {"max_tokens": 9}},
        ),
        (
            "/v2/models/{model}/generate_stream",
            "/v2/models/llama/generate_stream",
            {"text_input": "see the cat", "parameters": {"max_tokens": 9, "stream": True}},
        ),
    ],
)
def test_each_endpoint_has_bodies_of_its_own(template: str, target: str, body: object) -> None:
    request = endpoint_of("azure-llm", options(path_template=template)).exchange(5, b"see the cat", 9).request

    assert (request.method, request.target, json.loads(request.body)) == ("POST", target, body)


def test_a_synthetic_exchange_is_a_complete_request_that_nobody_answered() -> None:
    exchange = endpoint_of("azure-llm", options()).exchange(5, b"see", 9)

    assert exchange.flags == Flags.SYNTHETIC | Flags.INFERENCE
    assert (exchange.response, exchange.failure) == (None, None)
    assert exchange.arrival_ns == exchange.request.end_ns == exchange.request.chunks[0].at_ns == 5
    assert exchange.request.size == len(exchange.request.body)
    assert header(exchange.request.headers, "content-length") == str(exchange.request.size)


def test_a_name_with_quotes_and_slashes_stays_a_name() -> None:
    endpoint = endpoint_of("azure-llm", options(model='a/"b"', path_template="/v2/models/{model}/generate"))
    chat = endpoint_of("azure-llm", options(model='a/"b"')).exchange(0, b"see", 1)

    assert endpoint.target == "/v2/models/a%2F%22b%22/generate"
    assert json.loads(chat.request.body)["model"] == chat.model == 'a/"b"'


def test_no_output_still_asks_for_one_token() -> None:
    request = endpoint_of("azure-llm", options()).exchange(0, b"see", 0).request

    assert json.loads(request.body)["max_tokens"] == 1


def test_a_session_stands_in_its_column_and_its_header() -> None:
    session = session_of(1, "1722ac82-0a46-4bf0-aa08-89794e7a2b3f")
    exchange = endpoint_of("burstgpt", options()).exchange(0, b"see", 1, session)

    assert exchange.session == session != session_of(2, "1722ac82-0a46-4bf0-aa08-89794e7a2b3f")
    assert header(exchange.request.headers, SESSION_HEADER) == f"{session:016x}"
    assert 0 < session < 2**64


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"model": ""}, "--model NAME"),
        ({"path_template": "/score"}, "/v1/completions"),
        ({"path_template": "/v1/models/{model}:predict"}, "/v2/models/{model}/generate"),
        ({"path_template": "v1/chat/completions"}, "not a path"),
        ({"path_template": "/v1 /chat/completions"}, "not a path"),
        ({"path_template": "/{version}/v1/chat/completions"}, "{version}"),
        ({"path_template": "/{v1/chat/completions"}, "not a path"),
        ({"model": "a\nb"}, "printable"),
        ({"model": "\udcff"}, "printable"),
    ],
)
def test_what_cannot_be_made_up_is_an_error_that_says_what_to_give(changes: dict[str, str], says: str) -> None:
    with pytest.raises(UsageError) as error:
        endpoint_of("azure-llm", options(**changes))

    assert says in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("tokens", "reason"),
    [
        ((1, 0), ""),
        ((MOST_TOKENS, 1), ""),
        ((0, 5), "no_prompt_tokens"),
        ((MOST_TOKENS + 1, 1), "too_many_tokens"),
        ((1, 2**40), "too_many_tokens"),
        ((-1, 1), "damaged"),
        ((1, -1), "damaged"),
    ],
)
def test_numbers_of_tokens_that_make_no_request_have_a_reason(tokens: tuple[int, int], reason: str) -> None:
    assert why_not(*tokens) == reason
