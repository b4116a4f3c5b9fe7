"""Which exchanges are recorded: our own runs, filters, and samples of exchanges and of sessions."""

from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from captures.exchange import RUN_HEADER
from recorder.admission import Admission, admission_of, head_of, response_head_of, sampled_by, session_finder
from recorder.board import Count
from recorder.filters import parse_filters

KEY = bytes(range(32))


def head(*fields: str, target: str = "/v2/models/house/infer", method: str = "POST") -> bytes:
    return "\r\n".join((f"{method} {target} HTTP/1.1", "Host: model", *fields, "", "")).encode("latin-1")


@pytest.mark.parametrize(
    ("field", "verdict"),
    [
        (f"{RUN_HEADER}: 1", Count.OWN),
        (f"{RUN_HEADER.upper()}:", Count.OWN),
        (f"{RUN_HEADER.lower()} \t: 1", Count.OWN),
        (f"{RUN_HEADER}-2: 1", None),
        (f"X-Other: {RUN_HEADER}: 1", None),
        ("X-Other: 1", None),
    ],
)
def test_what_a_replay_of_ours_sends_is_left_out(field: str, verdict: Count | None) -> None:
    assert Admission().verdict(head(field)) == verdict


def test_the_reasons_are_looked_for_in_one_order() -> None:
    """Own, then filtered, then sampled out: a filter decides which exchanges a share is a share of."""
    admission = admission_of(0.0, key=KEY, filters=parse_filters(["GET"]))

    assert admission.verdict(head(f"{RUN_HEADER}: 1")) == Count.OWN
    assert admission.verdict(head()) == Count.FILTERED
    assert admission.arrived == 0
    assert admission.verdict(head(method="GET")) == Count.SAMPLED_OUT


def test_by_default_all_is_recorded() -> None:
    admission = admission_of(1.0, key=KEY, session="header:x-session")
    assert [admission.verdict(head(f"x-session: {n}")) for n in range(50)] == [None] * 50


def test_workers_leave_out_different_exchanges_and_a_key_decides_the_same_again() -> None:
    def choice(key: bytes, worker: int) -> list[Count | None]:
        admission = admission_of(0.5, key=key, worker=worker)
        return [admission.verdict(head()) for _ in range(200)]

    assert choice(KEY, 0) == choice(KEY, 0)
    assert len({str(choice(key, worker)) for key in (KEY, b"\1" * 32) for worker in (0, 1)}) == 4


SESSIONS = {
    "header:X-Session": lambda value: head(f"x-session:  {value} "),
    "cookie:sid": lambda value: head(f"Cookie: theme=dark; sid={value}; asid=1"),
    "query:s": lambda value: head(target=f"/v2?as=1&s={value}&t=2"),
}


@pytest.mark.parametrize("session", SESSIONS)
def test_sessions_are_kept_or_left_out_as_a_whole_by_every_worker(session: str) -> None:
    workers = [admission_of(0.25, key=KEY, worker=worker, session=session) for worker in range(3)]
    verdicts = {n: {each.verdict(SESSIONS[session](f"user{n}")) for each in workers * 3} for n in range(400)}

    assert all(len(found) == 1 for found in verdicts.values())
    share = sum(found == {None} for found in verdicts.values()) / len(verdicts)
    assert abs(share - 0.25) < 0.1
    assert all(each.arrived == 0 for each in workers)


def test_what_has_no_session_is_sampled_by_exchange() -> None:
    admission = admission_of(0.5, key=KEY, session="header:x-session")
    found = Counter(admission.verdict(head("x-session:")) for _ in range(200))

    assert admission.arrived == 200
    assert min(found[None], found[Count.SAMPLED_OUT]) > 50


@pytest.mark.parametrize(
    ("session", "one", "value"),
    [
        ("header:x", head("X: one", "x: two"), b"one"),
        ("header:x", head("X:"), b""),
        ("header:x", head("Y: 1"), b""),
        ("header:a.b", head("axb: 1"), b""),
        ("cookie:sid", head("Cookie: sid=1; sid=2"), b"1"),
        ("cookie:sid", head("cookie: a=1;sid=2"), b"2"),
        ("cookie:sid", head("cookie: a=1", "cookie: sid=3"), b"3"),
        ("cookie:sid", head("cookie: asid=1; sid"), b""),
        ("cookie:sid", head("x: cookie: sid=1"), b""),
        ("cookie:sid", head("cookie: sid=a=b"), b"a=b"),
        ("query:s", head(target="/?s=1&s=2"), b"1"),
        ("query:s", head(target="/?a=s&b=1"), b""),
        ("query:s", head(target="/s=1?t=2"), b""),
        ("query:s", head(target="/?s=a%20b+c#s=2"), b"a b c"),
        ("query:s", head(target="http://h/?x=?&s=%C3%A4"), "ä".encode()),
    ],
)
def test_where_a_session_is_found(session: str, one: bytes, value: bytes) -> None:
    find = session_finder(session)
    assert find is not None
    assert find(one) == value


@given(st.binary(max_size=300), st.sampled_from(["header:a", "cookie:a", "query:a"]))
def test_any_head_is_decided(garbage: bytes, session: str) -> None:
    admission = admission_of(
        0.5, key=KEY, session=session, filters=parse_filters(["POST /a*", "header:x=*a*b*"], ["/a", "header:y"])
    )
    assert admission.verdict(garbage) in (None, Count.OWN, Count.FILTERED, Count.SAMPLED_OUT)


def test_a_long_hostile_head_costs_no_more_than_its_length() -> None:
    """No pattern goes over it again and again: twice the length, at most about twice the steps; else this takes minutes."""
    admission = admission_of(0.5, key=KEY, session="cookie:sid", filters=parse_filters(["header:x=*a*b*"], ["/*a*a"]))
    for filling in ("; " * 30_000, "a" * 60_000, "sid " * 15_000, " \t" * 30_000):
        one = head(f"Cookie: {filling}", f"x: {filling}", target=f"/{filling.replace(' ', '&')}")
        assert admission.verdict(one) in (None, Count.FILTERED, Count.SAMPLED_OUT)


def test_how_it_was_sampled_is_a_word_for_the_header_of_the_file() -> None:
    assert [sampled_by(*given) for given in ((1.0, "header:x"), (0.5, ""), (0.5, "header:x"))] == [
        "",
        "exchange",
        "session",
    ]


def test_heads_made_of_fields_cannot_smuggle_another_field_in() -> None:
    made = head_of("POST", "/a\r\nx: 1", (("y", f"1\r\n{RUN_HEADER}: 1"), ("z", "ü\n")), "HTTP/2")

    assert made == f"POST /a  x: 1 HTTP/2\r\ny: 1  {RUN_HEADER}: 1\r\nz: ü \r\n\r\n".encode("latin-1")
    assert Admission().verdict(made) is None
    assert response_head_of(200, "OK\r\nx: 1", (), "HTTP/2") == b"HTTP/2 200 OK  x: 1\r\n\r\n"


def test_a_larger_share_keeps_every_session_of_a_smaller_one() -> None:
    shares = [admission_of(rate, key=KEY, session="header:x") for rate in (0.1, 0.4, 0.8)]
    kept = [{n for n in range(300) if each.verdict(head(f"x: {n}")) is None} for each in shares]

    assert all(small < large for small, large in pairwise(kept))
