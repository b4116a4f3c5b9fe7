"""GoReplay's records: both meanings of the latency field, ids that repeat and name clients, separators where none should be."""

import io
import json

import pytest

from captures.exchange import Exchange, Flags
from captures.importers import gor
from captures.importers.gor import WINDOW_NS, Gor
from captures.importers.gor_records import Record, Trouble, records
from captures.importers.importer import Dropped, ImportOptions, SourceFile

SEP = "\n🐵🙈🙉\n".encode()
T = 1_700_000_000_000_000_000
ID = b"d1a21f900a000007000000aa"
SHA1 = b"932079936fa4306fc308d67588178d17d823647c"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
ASK = b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody"


def record(kind: int, at_ns: int, payload: bytes, *, name: bytes = ID, latency: int | None = None) -> bytes:
    return b"%d %s %d" % (kind, name, at_ns) + (b"" if latency is None else b" %d" % latency) + b"\n" + payload + SEP


def ask(at_ns: int = T, payload: bytes = ASK, **more: object) -> bytes:
    return record(1, at_ns, payload, **more)  # type: ignore[arg-type]  # name, latency


def answer(at_ns: int, payload: bytes = ANSWER, **more: object) -> bytes:
    return record(2, at_ns, payload, **more)  # type: ignore[arg-type]  # name, latency


def read(*files: bytes) -> list[Exchange | Dropped]:
    sources = [SourceFile(f"{number}.gor", io.BytesIO(file)) for number, file in enumerate(files)]
    return list(Gor().read(sources, ImportOptions()))


def exchange(*files: bytes) -> Exchange:
    (only,) = read(*files)
    assert isinstance(only, Exchange)
    return only


def times(found: Exchange) -> tuple[int, int, int, int]:
    assert found.response is not None
    return found.arrival_ns - T, found.request.end_ns - T, found.response.first_ns - T, found.response.end_ns - T


@pytest.mark.parametrize(
    ("asked", "answered", "expected"),
    [
        (500, 1000, (0, 500, 4000, 5000)),  # HEAD: how long each message took
        (None, 4000, (0, 0, 4000, 4000)),  # old: how long ago the request was
        (None, 70, (0, 0, 4000, 4070)),  # neither: of this message
        (None, None, (0, 0, 4000, 4000)),
        (0, 4000, (0, 0, 4000, 8000)),  # HEAD, and by accident as long
        (-5, -5, (0, 0, 4000, 4000)),
    ],
)
def test_the_latency_field_is_understood_in_both_meanings(
    asked: int | None, answered: int | None, expected: tuple[int, int, int, int]
) -> None:
    assert times(exchange(ask(latency=asked) + answer(T + 4000, latency=answered))) == expected


def test_a_response_may_stand_before_its_request() -> None:
    assert times(exchange(answer(T + 10) + ask())) == (0, 0, 10, 10)


def test_a_pair_may_lie_in_two_files() -> None:
    assert exchange(ask(), answer(T + 10)).response is not None


def test_an_id_that_comes_again_is_paired_with_its_own_answer() -> None:
    first, second = read(ask() + ask(T + 100) + answer(T + 110) + answer(T + 50))

    assert isinstance(first, Exchange)
    assert isinstance(second, Exchange)
    assert (first.arrival_ns, first.response and first.response.end_ns) == (T + 100, T + 110)
    assert (second.arrival_ns, second.response and second.response.end_ns) == (T, T + 50)


def test_a_pair_does_not_span_more_than_the_window() -> None:
    late = T + WINDOW_NS + 1
    asked, dropped = read(ask() + answer(late))

    assert isinstance(asked, Exchange)
    assert asked.response is None
    assert dropped == Dropped("response_without_request", f"0.gor byte {len(ask())}")


@pytest.mark.parametrize("absurd", [1, T * 2])
def test_one_record_of_an_absurd_time_parts_no_others(absurd: int) -> None:
    odd = ask(absurd, name=b"f" * 24)
    asked = [ask(T + i, name=b"%024x" % i) for i in range(1, 5)]
    answers = [answer(T + 10 + i, name=b"%024x" % i) for i in range(1, 5)]

    for place in range(5):
        found = read(b"".join([*asked[:place], odd, *asked[place:], *answers]))
        assert [item.response is not None for item in found if isinstance(item, Exchange)].count(True) == 4
        assert len(found) == 5


def test_what_waits_goes_when_two_records_agree_that_it_is_late() -> None:
    late = T + WINDOW_NS * 2
    sources = [
        SourceFile("a", io.BytesIO(ask() + ask(late, name=b"1" * 24) + ask(late + 1, name=b"2" * 24) + b"\n" * 9))
    ]
    found = Gor().read(sources, ImportOptions())

    first = next(found)
    assert isinstance(first, Exchange)
    assert first.arrival_ns == T


def test_an_id_does_not_wait_for_answers_without_end() -> None:
    found = read(*(ask(T + i) for i in range(200)))

    assert len(found) == 200
    assert all(isinstance(item, Exchange) and item.response is None for item in found)


def test_requests_wait_in_bounded_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gor, "PENDING_LIMIT", 2)
    asked = [ask(T + i, name=b"%024x" % (i + 1)) for i in range(4)]
    found = read(b"".join(asked) + answer(T + 9, name=b"%024x" % 1))

    assert [isinstance(item, Exchange) for item in found] == [True] * 4 + [False]
    assert found[-1] == Dropped("response_without_request", f"0.gor byte {sum(map(len, asked))}")


def test_clients_are_numbers_and_nothing_else() -> None:
    other = b"d1a31f900a00000800000001"
    same = ID[:16] + b"000000ff"
    found = read(ask() + ask(T + 1, name=other) + ask(T + 2, name=same) + ask(T + 3, name=SHA1))

    assert [item.connection for item in found if isinstance(item, Exchange)] == [1, 2, 1, 0]
    assert b"0a000007" not in repr(found).encode()


def test_answers_to_a_replay_are_left_out() -> None:
    assert read(record(3, T, ANSWER)) == [Dropped("replayed_response", "0.gor byte 0")]


def test_a_separator_in_a_body_is_a_part_of_it() -> None:
    body = b"a" + SEP + b"1 aa 17\n" + SEP + b"b"
    whole = b"POST /x HTTP/1.1\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    found = exchange(ask(payload=whole) + answer(T + 1, payload=chunked))

    assert found.request.body == body
    assert found.response is not None
    assert found.response.body == body


def test_chunks_are_decoded_and_their_times_are_the_end() -> None:
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nTrailer: 1\r\n\r\n"
    found = exchange(ask(latency=1) + answer(T + 5, payload=chunked, latency=2))

    assert found.response is not None
    assert [(chunk.at_ns - T, chunk.data) for chunk in found.response.chunks] == [(7, b"abc"), (7, b"de")]
    assert found.flags == Flags.STREAM
    assert found.response.size == 5


@pytest.mark.parametrize("length", [b"5000000", b"9" * 12])
def test_a_body_cut_off_at_the_limit_is_marked(length: bytes) -> None:
    """Five megabytes by default: GoReplay's copy-buffer-size."""
    cut = b"POST /x HTTP/1.1\r\nContent-Length: %s\r\n\r\nshort" % length
    found = exchange(ask(payload=cut) + answer(T + 1))

    assert found.flags == Flags.REQUEST_TRUNCATED
    assert (found.request.body, found.request.size) == (b"short", int(length))
    assert found.response is not None


def test_a_chunked_body_that_was_cut_off_is_marked() -> None:
    cut = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc"
    found = exchange(ask() + answer(T + 1, payload=cut))

    assert Flags.RESPONSE_TRUNCATED in found.flags
    assert found.response is not None
    assert (found.response.body, found.response.size) == (b"abc", 5)


def test_an_answer_to_head_has_no_body_to_miss() -> None:
    asked = ask(payload=b"HEAD /x HTTP/1.1\r\n\r\n")
    found = exchange(asked + answer(T + 1, payload=b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n"))

    assert found.flags == Flags(0)


def test_interim_answers_are_skipped() -> None:
    found = exchange(ask() + answer(T + 1, payload=b"HTTP/1.1 100 Continue\r\n\r\n" + ANSWER))

    assert found.response is not None
    assert found.response.status == 200


def test_the_last_record_may_lack_its_separator() -> None:
    assert exchange((ask() + answer(T + 1)).removesuffix(SEP)).response is not None


def test_what_is_no_record_costs_itself() -> None:
    good = ask()
    found = read(b"no meta data\nxx" + SEP + good + record(1, T, b"not http") + record(2, T, b"HTTP/1.1 20\r\n\r\n"))

    assert [item if isinstance(item, Dropped) else "exchange" for item in found] == [
        Dropped("damaged", "0.gor byte 0"),
        Dropped("damaged", f"0.gor byte {14 + 2 + len(SEP) - 1 + len(good)}"),
        Dropped("damaged", f"0.gor byte {14 + 2 + len(SEP) - 1 + len(good) + len(record(1, T, b'not http'))}"),
        "exchange",
    ]


def test_a_record_without_end_is_skipped_in_bounded_memory() -> None:
    data = b"1 aa 17\n" + b"x" * 10_000 + SEP + ask()

    found = list(records(io.BytesIO(data), limit=1000))

    assert found[0] == Trouble(0, "too_long")
    assert isinstance(found[1], Record)
    assert found[1].payload == ASK


def test_kafka_messages_are_requests() -> None:
    message = {"Req_URL": "/x?q=1", "Req_Type": "1", "Req_ID": ID.decode(), "Req_Ts": str(T), "Req_Method": "POST"}
    full = message | {"Req_Body": "bödy", "Req_Headers": {"Host": "a", "Content-Length": "9", "Bad name": "x"}}
    lines = [
        full,
        message | {"Req_Type": "2"},
        message | {"Req_Ts": "soon"},
        message | {"Req_URL": "/x HTTP/1.1\r\nA: b"},
    ]
    found = read(b"\n".join(json.dumps(line).encode() for line in lines))

    asked = next(item for item in found if isinstance(item, Exchange))
    assert (asked.request.target, asked.request.body) == ("/x?q=1", "bödy".encode())
    assert asked.request.headers == (("Host", "a"), ("Content-Length", "5"))
    assert [item.reason for item in found if isinstance(item, Dropped)] == [
        "response_without_status",
        "damaged",
        "damaged",
    ]
