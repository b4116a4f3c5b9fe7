import gzip
import json
from dataclasses import replace

import pytest

from captures.exchange import Chunk, Exchange, Failure, FailureKind, Flags, Origin, Request, Response, header
from captures.privacy.policy import Policy
from captures.privacy.pseudonymise import Pseudonymiser
from captures.privacy.surrogate import is_token

KEY = b"k" * 32
ASKED = b'{"id":"a-1","inputs":[{"name":"x","shape":[1],"datatype":"FP32","data":[1.5]}]}'
ANSWERED = b'{"model_name":"iris","outputs":[{"name":"y","shape":[1],"datatype":"INT64","data":[2]}]}'
JSON = (("Content-Type", "application/json"),)


def exchange(
    asked: bytes = ASKED, answered: bytes = ANSWERED, target: str = "/v2/models/iris/infer", **changes: object
) -> Exchange:
    raw = Exchange(
        arrival_ns=10,
        request=Request(
            method="POST", target=target, headers=JSON, chunks=(Chunk(11, asked),), end_ns=12, size=len(asked)
        ),
        response=Response(
            status=200,
            headers=JSON,
            chunks=(Chunk(20, answered),),
            first_ns=19,
            end_ns=21,
            size=len(answered),
            reason="OK",
        ),
        connection=3,
    )
    return replace(raw, **changes)  # type: ignore[arg-type]  # any field


def kept(raw: Exchange, *, derived: bool = False, **fields: object) -> Exchange:
    (result,) = Pseudonymiser(Policy.from_data(fields), KEY, derived=derived).apply([raw])
    return result


def test_the_path_names_route_codec_and_model() -> None:
    result = kept(exchange())
    assert (result.route, result.codec, result.model) == ("POST /v2/models/{model}/infer", "oip-v2", "iris")


def test_times_sizes_and_connection_stay() -> None:
    result = kept(exchange())
    assert (result.arrival_ns, result.request.end_ns, result.request.size, result.connection) == (10, 12, len(ASKED), 3)
    assert result.response is not None
    assert (result.response.first_ns, result.response.end_ns, result.response.size) == (19, 21, len(ANSWERED))


@pytest.mark.parametrize(
    ("raw", "flags"),
    [
        (exchange(), Flags.REPLAYABLE | Flags.RECORDED_VALID | Flags.REQUEST_ALTERED | Flags.INFERENCE),
        (exchange(ASKED.replace(b'"id":"a-1",', b"")), Flags.REPLAYABLE | Flags.RECORDED_VALID | Flags.INFERENCE),
        (exchange(ASKED.replace(b"1.5", b"123456789")), Flags.REPLAYABLE | Flags.REQUEST_ALTERED | Flags.INFERENCE),
        (
            exchange(ASKED.replace(b'"id":"a-1",', b""), ANSWERED.replace(b"[2]", b"[123456789]")),
            Flags.REPLAYABLE | Flags.RESPONSE_ALTERED | Flags.INFERENCE,
        ),
        (exchange(b"{"), Flags.REQUEST_DROPPED | Flags.UNPARSED | Flags.INFERENCE),
        (exchange(b""), Flags.REPLAYABLE | Flags.RECORDED_VALID | Flags.INFERENCE),
        (exchange(b"", b"<h1>"), Flags.REPLAYABLE | Flags.INFERENCE | Flags.RESPONSE_DROPPED | Flags.UNPARSED),
        (exchange(b"", target="/v2/models/ada%40x.org/infer"), Flags.REPLAYABLE | Flags.INFERENCE),
        (exchange(b"", b"", target="/v2/health/live"), Flags.REPLAYABLE | Flags.RECORDED_VALID),
        (exchange(b"", flags=Flags.REQUEST_TRUNCATED), Flags.REQUEST_TRUNCATED | Flags.INFERENCE),
        (
            exchange(ASKED[:9], b"", flags=Flags.REQUEST_TRUNCATED),
            Flags.REQUEST_TRUNCATED | Flags.REQUEST_DROPPED | Flags.INFERENCE,
        ),
        (exchange(b"", response=None), Flags.REPLAYABLE | Flags.INFERENCE),
        (exchange(b"a=b", b"", target="/score"), Flags.REQUEST_DROPPED),
        (exchange(b'{"a":1}', b"", target="/score"), Flags.REPLAYABLE | Flags.REQUEST_ALTERED),
    ],
)
def test_flags_say_what_may_be_concluded(raw: Exchange, flags: Flags) -> None:
    assert kept(raw).flags == flags


def test_a_request_that_never_ended_cannot_be_sent_again() -> None:
    raw = exchange()
    assert Flags.REPLAYABLE not in kept(replace(raw, request=replace(raw.request, end_ns=-1))).flags


def test_an_answer_that_never_ended_is_nothing_to_compare_with() -> None:
    raw = exchange()
    assert raw.response is not None
    assert Flags.RECORDED_VALID not in kept(replace(raw, response=replace(raw.response, end_ns=-1))).flags


def test_an_error_page_is_no_gap_in_a_codec() -> None:
    raw = exchange(b"", b"<h1>")
    assert raw.response is not None
    result = kept(replace(raw, response=replace(raw.response, status=502, reason="Bad Gateway")))
    assert Flags.UNPARSED not in result.flags
    assert Flags.RESPONSE_DROPPED in result.flags


def test_a_header_left_out_counts_as_altered() -> None:
    raw = exchange(b"")
    result = kept(replace(raw, request=replace(raw.request, headers=(("x_y", "1"),))))
    assert result.request.headers == ()
    assert Flags.REQUEST_ALTERED in result.flags


def test_content_length_follows_the_body_that_is_kept() -> None:
    raw = exchange()
    headers = (*JSON, ("Content-Length", str(len(ASKED))))
    result = kept(replace(raw, request=replace(raw.request, headers=headers)))
    assert header(result.request.headers, "content-length") == str(len(result.request.body)) != str(len(ASKED))


def test_chunks_keep_their_times_when_bytes_change_or_go() -> None:
    chunks = (Chunk(1, ASKED[:10]), Chunk(2, ASKED[10:40]), Chunk(3, ASKED[40:]))
    raw = exchange()
    changed = kept(replace(raw, request=replace(raw.request, chunks=chunks))).request
    assert [(chunk.at_ns, bool(chunk.data)) for chunk in changed.chunks] == [(1, True), (2, False), (3, False)]
    assert json.loads(changed.body)["inputs"] == json.loads(ASKED)["inputs"]
    dropped = kept(replace(raw, request=replace(raw.request, chunks=chunks[:2]))).request
    assert dropped.chunks == (Chunk(1, b""), Chunk(2, b""))


def test_untouched_chunks_stay_as_they_came() -> None:
    raw = exchange(b"")
    assert raw.response is not None
    response = replace(raw.response, chunks=(Chunk(1, ANSWERED[:9]), Chunk(2, ANSWERED[9:])))
    result = kept(replace(raw, response=response)).response
    assert result is not None
    assert result.chunks == response.chunks


def test_streams_keep_times_and_lose_bytes() -> None:
    raw = exchange(b"")
    chunks = (Chunk(1, b"data: a"), Chunk(2, b"da\n\n"))
    response = Response(status=200, headers=(("content-type", "text/event-stream"),), chunks=chunks, end_ns=3, size=11)
    result = kept(replace(raw, response=response))
    assert Flags.STREAM | Flags.RESPONSE_DROPPED in result.flags
    assert Flags.UNPARSED not in result.flags
    assert result.response is not None
    assert (result.response.chunks, result.response.size) == ((Chunk(1, b""), Chunk(2, b"")), 11)


@pytest.mark.parametrize("headers", [(), (("Content-Encoding", "br"),)])
def test_compressed_bodies_are_dropped(headers: tuple[tuple[str, str], ...]) -> None:
    raw = exchange(gzip.compress(ASKED, mtime=0) if not headers else ASKED)
    result = kept(replace(raw, request=replace(raw.request, headers=headers)))
    assert Flags.REQUEST_DROPPED | Flags.UNPARSED in result.flags


@pytest.mark.parametrize("where", ["header:x-session-id", "cookie:sid", "query:sid"])
def test_a_session_is_a_keyed_hash_of_what_the_policy_names(where: str) -> None:
    def session(name: str) -> int:
        headers = (("X-Session-Id", name), ("Cookie", f"a=b; sid={name}"))
        raw = exchange(target=f"/v2/models/iris/infer?sid={name}")
        return kept(replace(raw, request=replace(raw.request, headers=headers)), session=where).session

    assert session("one") == session("one") != session("two")
    assert session("") == 0
    assert kept(exchange(session=5)).session == 0


def test_a_derived_exchange_keeps_its_session_and_what_it_was_made_from() -> None:
    origin = Origin(row=1, source=2, variant=0, target="candidate")
    failure = Failure(FailureKind.RESET, 5, "ECONNRESET")
    raw = exchange(session=5, origin=origin, failure=failure, flags=Flags.REQUEST_ALTERED)
    result = kept(raw, derived=True, session="header:x")
    assert (result.session, result.origin, result.failure) == (5, origin, failure)
    assert Flags.REQUEST_ALTERED in result.flags
    assert Flags.RECORDED_VALID not in result.flags


def test_what_was_kept_once_is_kept_again() -> None:
    headers = (*JSON, ("Host", "a.example"), ("Authorization", "x"), ("User-Agent", "curl/8"), ("Accept", "*/*;q=0.5"))
    raw = exchange(target="/v2/models/ada%40x.org/infer?user=ada&flag")
    once = kept(replace(raw, request=replace(raw.request, headers=headers)))
    twice = kept(replace(once, flags=Flags(0)), derived=True)
    assert replace(twice, flags=Flags(0)) == replace(once, flags=Flags(0))


def test_the_same_id_joins_header_body_and_answer() -> None:
    raw = exchange(answered=ANSWERED.replace(b"{", b'{"id":"a-1",', 1))
    result = kept(replace(raw, request=replace(raw.request, headers=(("X-Request-Id", "a-1"),))))
    assert result.response is not None
    ids = {json.loads(result.request.body)["id"], json.loads(result.response.body)["id"], result.request.headers[0][1]}
    assert len(ids) == 1
    assert is_token(ids.pop())


def test_a_batch_gives_what_its_rows_give() -> None:
    batch = [exchange(ASKED.replace(b"a-1", f"id{number}".encode())) for number in range(5)]
    assert Pseudonymiser(Policy(), KEY).apply(batch) == [kept(raw) for raw in batch]


def test_what_was_made_up_is_classified_and_stays_as_it_is() -> None:
    raw = exchange(ASKED.replace(b"a-1", b"Ada Lovelace"), flags=Flags.SYNTHETIC, session=5)
    result = kept(raw, session="header:x")
    assert (result.request, result.response, result.session) == (raw.request, raw.response, 5)
    assert (result.route, result.codec, result.model) == ("POST /v2/models/{model}/infer", "oip-v2", "iris")
    assert result.flags == Flags.SYNTHETIC | Flags.REPLAYABLE | Flags.INFERENCE


def test_what_was_made_up_for_a_protocol_without_a_codec_is_still_inference() -> None:
    raw = exchange(target="/v1/chat/completions", flags=Flags.SYNTHETIC | Flags.INFERENCE, model="some/Model-1")
    result = kept(raw)
    assert (result.request.target, result.codec, result.model) == ("/v1/chat/completions", "opaque", "some/Model-1")
    assert result.flags == Flags.SYNTHETIC | Flags.REPLAYABLE | Flags.INFERENCE
    assert Flags.INFERENCE not in kept(replace(raw, flags=Flags(0))).flags


def test_the_answer_to_a_made_up_request_is_under_the_policy() -> None:
    """What a run sent was made up; what came back was not."""
    raw = exchange(answered=ANSWERED.replace(b"{", b'{"id":"Ada",', 1), flags=Flags.SYNTHETIC)
    result = kept(raw, derived=True)
    assert result.request == raw.request
    assert result.response is not None
    assert b"Ada" not in result.response.body
