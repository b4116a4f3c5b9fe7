import pytest
from hypothesis import given
from hypothesis import strategies as st

from captures.privacy.surrogate import Surrogates, is_token

SURROGATES = Surrogates(b"k" * 32)


def test_a_token_is_a_pure_function_of_key_domain_and_value() -> None:
    token = SURROGATES.token("identity", "ada")
    assert token == Surrogates(b"k" * 32).token("identity", b"ada") == "stk1_" + token[5:]
    assert is_token(token)
    others = [
        SURROGATES.token("text", "ada"),
        SURROGATES.token("identity", "bob"),
        Surrogates(b"x" * 32).token("identity", "ada"),
    ]
    assert len({token, *others}) == 4


@given(st.text(), st.text())
def test_equal_values_and_only_they_join(one: str, other: str) -> None:
    assert (SURROGATES.token("d", one) == SURROGATES.token("d", other)) == (one == other)


@pytest.mark.parametrize(
    "text", ["", "stk1_", "stk1_" + "a" * 15, "stk1_" + "a" * 17, "stk1_" + "A" * 16, "x stk1_" + "a" * 16]
)
def test_nothing_else_is_a_token(text: str) -> None:
    assert not is_token(text)


@given(st.integers())
def test_an_integer_keeps_its_digits_and_sign(value: int) -> None:
    surrogate = SURROGATES.integer("d", str(value))
    assert len(surrogate) == len(str(value))
    assert str(int(surrogate)) == surrogate or surrogate == "-0"
    assert surrogate == SURROGATES.integer("d", str(value))


@pytest.mark.parametrize("bits", [7, 8, 15, 16, 31, 32, 63, 64])
def test_an_integer_still_fits_its_machine_type(bits: int) -> None:
    assert all(int(SURROGATES.integer("d", str(2**bits - 1 - less))) < 2**bits for less in range(20))


@pytest.mark.parametrize("bits", [7, 15, 31, 63])
def test_so_does_the_lowest_one(bits: int) -> None:
    assert all(int(SURROGATES.integer(str(each), str(-(2**bits)))) >= -(2**bits) for each in range(50))


def test_integers_of_any_length_are_replaced() -> None:
    for length in (149, 150, 151, 155, 400):
        surrogate = SURROGATES.integer("d", "9" * length)
        assert len(surrogate) == length
        assert surrogate[0] != "0"
        assert "9" * 20 not in surrogate


@given(st.text())
def test_same_class_keeps_length_case_and_punctuation(text: str) -> None:
    surrogate = SURROGATES.same_class("d", text)
    assert len(surrogate) == len(text)
    for old, new in zip(text, surrogate, strict=True):
        if not old.isalnum():
            assert new == old if old.isascii() else new == "~"
        elif old.isdigit():
            assert new.isdigit()
        elif old.isalpha():
            assert new.isalpha()


def test_a_64_bit_number_is_never_nothing() -> None:
    assert 0 < SURROGATES.number64("session", "a") < 2**64


def test_a_short_key_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="16 bytes"):
        Surrogates(b"short")
