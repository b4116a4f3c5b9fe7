import base64
import gzip
import json

import pytest

from captures.exchange import Chunk, Exchange, Failure, FailureKind, Origin, Request, Response
from captures.privacy.scan import Finding, audit_exchanges, patterns_in, scan

SECRET = "Zoë/Müller+7?"


def exchange(
    body: bytes = b"", got: bytes = b"", target: str = "/", headers: tuple[tuple[str, str], ...] = ()
) -> Exchange:
    return Exchange(
        arrival_ns=0,
        request=Request(method="POST", target=target, headers=headers, chunks=(Chunk(0, body),)),
        response=Response(status=200, chunks=(Chunk(1, got[:5]), Chunk(2, got[5:]))),
    )


@pytest.mark.parametrize(
    "body",
    [
        SECRET.encode(),
        SECRET.upper().encode(),
        SECRET.lower().encode(),
        SECRET.encode("latin-1"),
        SECRET.encode().hex().encode(),
        SECRET.encode().hex().upper().encode(),
        json.dumps(SECRET).encode(),
        json.dumps(json.dumps(json.dumps(SECRET))).encode(),
        "".join(f"\\u{ord(letter):04X}" for letter in SECRET).encode(),
        b"a=Zo%C3%ab%2fM%C3%BCller%2B7%3f",
        gzip.compress(b"x" + SECRET.encode(), mtime=0),
        *(base64.b64encode(b"." * shift + SECRET.encode() + b"..") for shift in range(3)),
        *(base64.urlsafe_b64encode(b"." * shift + SECRET.encode()).rstrip(b"=") for shift in range(3)),
    ],
)
def test_a_known_secret_is_found_in_every_encoding(body: bytes) -> None:
    found = audit_exchanges(
        [exchange(got=b"....." + body if not body.startswith(b"\x1f\x8b") else body)], [SECRET.encode()]
    )
    assert {finding.kind for finding in found.findings} == {"known secret"}


def test_findings_say_where_and_never_what() -> None:
    raw = exchange(b'{"a":"@ada"}', target="/ada?x", headers=(("x", "y"), ("z", "Adafruit"), ("ada-1", "")))
    found = audit_exchanges([exchange(), raw], [b"@ada", b"ada-", b"/ada"])
    assert found.findings == (
        Finding(1, "request target", "known secret"),
        Finding(1, "request header 2 name", "known secret"),
        Finding(1, "request body", "known secret"),
    )
    assert (found.scanned, found.clean) == (2, False)


def test_every_text_of_an_exchange_is_looked_at() -> None:
    raw = Exchange(
        arrival_ns=0,
        request=Request(method="secret1", target="secret2", http_version="secret3", headers=(("secret4", "secret5"),)),
        response=Response(status=200, reason="secret6", headers=(("secret7", "secret8"),)),
        failure=Failure(FailureKind.RESET, 0, "secret9"),
        route="secretA",
        codec="secretB",
        model="secretC",
        origin=Origin(row=0, source=0, variant=0, target="secretD"),
    )
    assert len(audit_exchanges([raw], [b"secret"]).findings) == 13


def test_secrets_too_short_to_mean_anything_are_counted() -> None:
    assert audit_exchanges([exchange(b"abc")], [b"abc"]).too_short == 1


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (b"mail ada@example.org now", "e-mail"),
        (b"ada%40example.org", "e-mail"),
        (b"4111 1111 1111 1111", "card number"),
        (b"4111-1111-1111-1111", "card number"),
        (b"GB82 WEST 1234 5698 7654 32", "IBAN"),
        (b"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhZGEifQ.c2ln", "JSON Web Token"),
        (b"AKIAIOSFODNN7EXAMPLE", "AWS access key"),
    ],
)
def test_patterns_that_prove_themselves(text: bytes, kind: str) -> None:
    assert patterns_in(text) == [kind]


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"4111 1111 1111 1112",
        b"0000 0000 0000 0000",
        b"GB83 WEST 1234 5698 7654 32",
        b"a@b",
        b"stk1_abcdefghijklmnop",
        b"1.2.3",
    ],
)
def test_what_only_resembles_a_pattern_is_none(text: bytes) -> None:
    assert patterns_in(text) == []


def test_digits_of_a_tensor_are_not_read_as_text() -> None:
    assert audit_exchanges([exchange(b'{"data":[4111111111111111,0.4111111111111111]}')]).clean
    found = audit_exchanges([exchange(b'{"data":["4111111111111111"],"ada@example.org":1}')])
    assert found.findings == (
        Finding(0, "request body byte 9", "card number"),
        Finding(0, "request body byte 29", "e-mail"),
    )


def test_text_that_is_no_json_is_read_whole() -> None:
    assert not audit_exchanges([exchange(b"user=ada@example.org")]).clean
    assert audit_exchanges([exchange(b"\xff ada@example.org")]).clean


def test_a_capture_is_scanned_through_its_exchanges() -> None:
    class Capture:
        def exchanges(self) -> list[Exchange]:
            return [exchange(b"secret")]

    assert scan(Capture(), [b"secret"]) == (Finding(0, "request body", "known secret"),)
