import pytest

from captures.privacy.scan_entropy import bits_per_character
from captures.privacy.scan_patterns import PATTERNS, patterns_in


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("mail ada@example.org now", "e-mail"),
        ("ada%40example.org", "e-mail"),
        ("zoë@exämple.org ada@xn--exmple-cua.org", "e-mail"),
        ("4111 1111 1111 1111", "card number"),
        ("4111-1111-1111-1111", "card number"),
        ("card:5555555555554444.", "card number"),
        ("3782 822463 10005", "card number"),
        ("GB82 WEST 1234 5698 7654 32", "IBAN"),
        ("DE89370400440532013000", "IBAN"),
        ("078-05-1120", "social security number"),
        ("SSN 078051120", "social security number"),
        ("social security: 078 05 1120", "social security number"),
        ("+1-202-555-0147", "phone number"),
        ("+44 20 7946 0958", "phone number"),
        ("call me: (202) 555-0147", "phone number, national"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhZGEifQ.c2ln", "JSON Web Token"),
        ("AKIAIOSFODNN7EXAMPLE", "AWS access key"),
        ("sk-proj-abcdefghij0123456789", "API key"),
        ("sk-ant-api03-abcdefghij0123456789", "API key"),
        ("ghp_abcdefghij0123456789abcdefghij012345", "API key"),
        ("hf_abcdefghij0123456789abcdefghij0123", "API key"),
        ("sk_live_abcdefghij0123456789", "API key"),
        ("-----BEGIN RSA PRIVATE KEY-----", "private key"),
        ("-----BEGIN PRIVATE KEY-----", "private key"),
        ("postgres://ada:lovelace@db/x", "password in a URL"),
        ("Basic YWRhOmxvdmVsYWNl", "basic credentials"),
        ("Bearer a1b2c3d4e5f6", "bearer credentials"),
        ("203.0.113.77", "IP address"),
        ("2001:db8::c0ff:ee", "IP address"),
        ("client 203.0.113.77 said", "IP address"),
        ("for=203.0.113.9;proto=http", "IP address"),
        ("password=qZbTkWvXpLmRsYcN8d7f6g5h4j", "random secret"),
        ("client_secret: 9f86d081884c7d659a2feaa0c55ad015", "random secret"),
    ],
)
def test_what_proves_itself_is_found(text: str, kind: str) -> None:
    assert patterns_in(text.encode()) == [kind]


@pytest.mark.parametrize(
    ("text", "name", "kind"),
    [
        ("304262935", "ssn", "social security number"),
        ("9f86d081884c7d659a2feaa0c55ad015", "apiKey", "random secret"),
        ("0301234567", "phoneNumber", "phone number, national"),
        ("203.0.113.77, 10.1.2.3", "X-Forwarded-For", "IP address"),
    ],
)
def test_a_name_says_what_a_form_alone_does_not(text: str, name: str, kind: str) -> None:
    assert patterns_in(text.encode()) == []
    assert patterns_in(text.encode(), name) == [kind]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0.304262935",
        "ssn 0.304262935",
        "ssn 1.304262935e5",
        "304262935",
        "4111 1111 1111 1112",
        "1111 1111 1111 1117",
        "0000 0000 0000 0000",
        "a4111111111111111",
        "0.4111111111111111",
        "1764000000000000000",
        "1764000000000",
        "GB83 WEST 1234 5698 7654 32",
        "GB82WEST1234569876543",
        "a@b",
        "pkg@1.2.3",
        "1.2.3",
        "v1.2.3.4",
        "release 1.2.3.4",
        "127.0.0.1",
        "203.0.113.0",
        "2001:db8::",
        "12:34:56",
        "2026-11-24T02:52:05.123456789Z",
        "123e4567-e89b-12d3-a456-426614174000",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "9f86d081884c7d659a2feaa0c55ad015",
        "sk-learn-compatible-estimator-wrapper",
        "eyJhbGciOiJIUzI1N.eyJzdWIiOiJhZGEifQ.c2ln",
        "Basic authentication",
        "Bearer redacted",
        "token: authorization_code_grant",
        "+1.5e10",
        "x+12345678901",
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36",
        "stk1_abcdefghijklmnop",
        "Bearer stk1_abcdefghijklmnop",
        "key stk1_abcdefghijklmnopstk1_abcdefghijklmnop",
        "37.880000000,-122.230000000",
    ],
)
def test_what_only_resembles_a_pattern_is_none(text: str) -> None:
    assert patterns_in(text.encode()) == []


def test_digits_of_floats_are_nobody() -> None:
    """A CSV of numbers, as text: no fraction is a card, a phone or a social security number."""
    numbers = [f"{(7919 * i) % 1000003 / 1000003:.{6 + i % 11}f}" for i in range(20_000)]
    assert patterns_in(",".join(numbers).encode(), "ssn") == []


@pytest.mark.parametrize(
    "text", ["a" * 50_000, "1" * 50_000, "a@" * 25_000, "1-" * 25_000, "+1" * 25_000, "eyJ" * 16_000, "a:" * 25_000]
)
def test_no_text_takes_longer_than_it_is(text: str) -> None:
    """Each of these took minutes with a pattern that backtracks."""
    patterns_in(text.encode(), "ssn phone token")


def test_entropy_is_in_bits_per_character() -> None:
    assert bits_per_character(b"aaaa") == 0
    assert bits_per_character(b"abcd") == 2
    assert len(PATTERNS) == 14
