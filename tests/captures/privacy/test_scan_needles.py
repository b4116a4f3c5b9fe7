import base64
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from captures.privacy import scan_needles
from captures.privacy.scan_needles import Needles

SECRET = b"ada@example.org"


def test_the_parts_that_hold_a_secret_are_named() -> None:
    needles = Needles([SECRET, b"Zo\xc3\xab"])
    assert needles.found([b"x", b"to ADA@example.org", b"", b"zo\xc3\x8b"]) == {1, 3}
    assert not needles.are_in(b"nothing")


def test_a_secret_never_runs_over_from_one_part_into_the_next() -> None:
    assert Needles([SECRET]).found([SECRET[:5], SECRET[5:]]) == set()


@pytest.mark.parametrize("shift", range(4))
@pytest.mark.parametrize("alphabet", [base64.b64encode, base64.urlsafe_b64encode])
def test_base64_is_read_from_wherever_it_begins(shift: int, alphabet: type) -> None:
    secret = "Zoë/Müller+7?".encode()
    needles = Needles([secret])
    for before in (b"", b".", b"..", b"..."):
        coded = alphabet(before + secret.upper()).rstrip(b"=")
        assert needles.are_in(b"x" * shift + coded + b'"')


@pytest.mark.parametrize("coded", [SECRET.hex().encode(), SECRET.hex().upper().encode(), b"a" + SECRET.hex().encode()])
def test_hex_is_read_from_wherever_it_begins(coded: bytes) -> None:
    assert Needles([SECRET]).are_in(b"=" + coded)


def test_utf_16_is_a_spelling() -> None:
    assert Needles([SECRET]).are_in("x ADA@example.org".encode("utf-16-le"))


@pytest.mark.parametrize(
    ("text", "held"),
    [
        (b"304262935", True),
        (b"id:304262935,", True),
        (b"0.304262935", False),
        (b"1304262935", False),
        (b"3042629351", False),
        (b"304262935.5", True),
    ],
)
def test_a_short_number_stands_alone_or_is_another_number(text: bytes, held: bool) -> None:
    assert Needles([b"304262935"]).are_in(text) == held


def test_a_long_number_is_found_anywhere() -> None:
    assert Needles([b"4111111111111111"]).are_in(b"x=94111111111111111")


def test_what_is_too_short_is_not_sought() -> None:
    assert not Needles([b"abc"])
    assert not Needles([]).are_in(b"abc")
    assert Needles([b"abcd"]).are_in(b"abcd")


def test_a_long_text_is_searched_block_by_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan_needles, "_BLOCK", 64)
    text = random.Random(1).randbytes(1000)
    for at in range(0, 1000, 31):
        for coded in (SECRET, SECRET.hex().encode(), base64.b64encode(SECRET)):
            assert Needles([SECRET]).are_in(text[:at] + coded + text[at:]), at


@given(
    st.lists(st.binary(min_size=6, max_size=12), min_size=1, max_size=20), st.binary(max_size=40), st.integers(0, 19)
)
def test_what_is_planted_is_found(secrets: list[bytes], around: bytes, number: int) -> None:
    secret = secrets[number % len(secrets)]
    if not secret.isdigit():
        assert Needles(secrets).are_in(around + secret + around)


def test_a_list_that_begins_alike_is_no_slower() -> None:
    """With a list per beginning this took minutes."""
    needles = Needles([b"customer-%d" % number for number in range(30_000)])
    assert needles.found([b"customer-123456789", b"x customer-77 ", b"customer-7777777", b"customer"]) == {0, 1, 2}
    assert not needles.are_in(b"customer-x" * 1000)
