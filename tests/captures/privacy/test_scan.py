import base64
import gzip
import json
import tracemalloc
import zlib
from collections.abc import Callable, Sequence
from urllib.parse import quote

import brotli  # type: ignore[import-untyped]  # it comes without annotations
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from captures.exchange import Chunk, Exchange, Failure, FailureKind, Origin, Request, Response
from captures.privacy.scan import Finding, audit_exchanges, scan, scan_header
from captures.privacy.scan_needles import Needles
from captures.testing import example_header

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


def test_digits_of_a_tensor_are_not_read_as_text() -> None:
    assert audit_exchanges([exchange(b'{"data":[4111111111111111,0.4111111111111111]}')]).clean
    found = audit_exchanges([exchange(b'{"data":["4111111111111111"],"ada@example.org":1}')])
    assert found.findings == (
        Finding(0, "request body byte 9", "card number"),
        Finding(0, "request body byte 29", "e-mail"),
    )


def test_text_that_is_no_json_is_read_whole() -> None:
    assert not audit_exchanges([exchange(b"user=ada@example.org")]).clean
    assert not audit_exchanges([exchange(b"\xff\x00 ada@example.org")]).clean
    assert audit_exchanges([exchange(b"\xff\x00 @example.org")]).clean


def test_a_capture_is_scanned_through_its_exchanges() -> None:
    class Capture:
        def exchanges(self) -> list[Exchange]:
            return [exchange(b"secret")]

    assert scan(Capture(), [b"secret"]) == (Finding(0, "request body", "known secret"),)


# -- under the surface

E_MAIL = b"ada@example.org"


def kinds_of(*exchanges: Exchange, known: Sequence[bytes] = ()) -> set[str]:
    return {finding.kind for finding in audit_exchanges(exchanges, known).findings}


def coded(data: bytes) -> bytes:
    return base64.b64encode(data)


@pytest.mark.parametrize(
    "text",
    [
        E_MAIL,
        json.dumps({"to": "ada@example.org"}).encode(),
        json.dumps([json.dumps({"to": "ada@example.org"})]).encode(),
        b"%61da%40example%2eorg",
        coded(E_MAIL),
        b"data:text/plain;base64," + coded(b'{"to":"ada@example.org"}'),
        coded(coded(E_MAIL)),
        coded(gzip.compress(E_MAIL, mtime=0)),
        coded(zlib.compress(E_MAIL)),
        coded(zstandard.ZstdCompressor().compress(E_MAIL)),
        E_MAIL.hex().encode(),
        gzip.compress(E_MAIL, mtime=0).hex().encode(),
    ],
)
@pytest.mark.parametrize(
    "place", ["value", "key", "deep", "header", "query", "segment", "form", "multipart", "line", "event"]
)
def test_a_pattern_is_found_wherever_text_is_and_under_every_encoding(text: bytes, place: str) -> None:
    string = text.decode()
    events = "".join(f"data: {json.dumps({'t': each})}\n\n" for each in ("", string, "."))
    raw = {
        "value": exchange(json.dumps({"a": [string]}).encode()),
        "key": exchange(json.dumps({string: 1}).encode()),
        "deep": exchange(got=json.dumps({"a": [[{"b": json.dumps({"c": string})}]]}).encode()),
        "header": exchange(headers=(("x-note", string),)),
        "query": exchange(target=f"/?a=1&b={quote(string)}"),
        "segment": exchange(target=f"/a/{quote(string, safe='')}/b"),
        "form": exchange(f"a=1&b={quote(string)}".encode(), headers=(FORM,)),
        "multipart": exchange(multipart(text)),
        "line": exchange(b'{"a":1}\n' + json.dumps({"t": string}).encode() + b"\n"),
        "event": exchange(got=events.encode()),
    }[place]
    assert kinds_of(raw) == {"e-mail"}


FORM = ("Content-Type", "application/x-www-form-urlencoded")


def multipart(content: bytes, head: bytes = b"") -> bytes:
    return b'--x\r\nContent-Disposition: form-data; name="a"' + head + b"\r\n\r\n" + content + b"\r\n--x--\r\n"


@pytest.mark.parametrize(
    "packed",
    [
        gzip.compress,
        zlib.compress,
        lambda data: zlib.compress(data)[2:-4],
        brotli.compress,
        lambda data: zstandard.ZstdCompressor().compress(data),
        lambda data: gzip.compress(gzip.compress(data)),
        lambda data: multipart(gzip.compress(data)),
        lambda data: multipart(coded(data), b"\r\nContent-Transfer-Encoding: base64"),
        lambda data: multipart(base64.encodebytes(data), b"\r\nContent-Transfer-Encoding: base64"),
        lambda data: multipart(data.replace(b"@", b"=40"), b"\r\nContent-Transfer-Encoding: quoted-printable"),
        lambda data: b"\0\0\0\0\x20" + gzip.compress(data),  # a message of gRPC
        lambda data: b"\x80\0\x01\0" + data + b"\0",
    ],
)  # fmt: skip
def test_a_body_is_opened_and_taken_apart(packed: Callable[[bytes], bytes]) -> None:
    body = packed(b'{"to":"ada@example.org","more":"' + b"to whom it may concern " * 9 + b'"}')
    found = audit_exchanges([exchange(body)], [b"ada@example"]).findings
    assert {finding.kind for finding in found} == {"e-mail", "known secret"}
    assert all(finding.where.startswith("request body") for finding in found)


def test_the_field_of_a_form_may_be_a_lone_number() -> None:
    assert kinds_of(exchange(multipart(b"4111111111111111"))) == {"card number"}
    assert kinds_of(exchange(b"4111111111111111")) == {"card number"}
    assert kinds_of(exchange(b"0.4111111111111111")) == set()


@pytest.mark.parametrize(
    "spelled", [rb"ada\u0040canary.example", rb"ada&#64;canary.example", rb"ada&#x40;canary.example"]
)
def test_patterns_are_sought_below_escapes(spelled: bytes) -> None:
    assert kinds_of(exchange(json.dumps({"a": spelled.decode()}).encode())) == {"e-mail"}
    assert kinds_of(exchange(b"<p>" + spelled + b"</p>")) == {"e-mail"}


def test_a_long_run_that_may_be_hexadecimal_costs_no_memory() -> None:
    tracemalloc.start()
    try:
        kinds_of(exchange(b"a" * (1 << 20)))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert peak < 32 << 20


def test_a_stream_is_read_in_one_where_it_speaks_word_by_word() -> None:
    words = ["my ad", "dress: ada", "@exam", "ple.o", "rg"]
    events = b"".join(
        b"data: " + json.dumps({"choices": [{"delta": {"content": word}}]}).encode() + b"\n\n" for word in words
    )
    found = audit_exchanges([exchange(got=events)], [b"ada@example.org"])
    assert found.findings == (
        Finding(0, "response body, joined", "known secret"),
        Finding(0, "response body, joined", "e-mail"),
    )


def test_strings_of_binary_tensors_are_read_and_their_numbers_are_not() -> None:
    texts = [b"plain", b"4111 1111 1111 1111"]
    tail = b"".join(len(text).to_bytes(4, "little") + text for text in texts)
    floats = b"4111111111111111" * 4
    tensors = [
        {"name": "n", "shape": [16], "datatype": "FP32", "parameters": {"binary_data_size": len(floats)}},
        {"name": "t", "shape": [2], "datatype": "BYTES", "parameters": {"binary_data_size": len(tail)}},
    ]
    head = json.dumps({"inputs": tensors}).encode()
    headers = (("Inference-Header-Content-Length", str(len(head))),)

    assert audit_exchanges([exchange(head + floats + tail, headers=headers)]).findings == (
        Finding(0, "request body, binary tensor", "card number"),
    )
    assert kinds_of(exchange(head[:-1] + b"," + tail, headers=headers)) == {"card number"}


def test_names_give_a_value_its_meaning() -> None:
    random_text = "qZbTkWvXpLmRsYcN8d7f6g5h4j"
    assert kinds_of(exchange(json.dumps({"value": random_text}).encode())) == set()
    assert kinds_of(exchange(json.dumps({"client_secret": random_text}).encode())) == {"random secret"}
    assert kinds_of(exchange(headers=(("X-Api-Key", random_text),))) == {"random secret"}
    assert kinds_of(exchange(target=f"/?access_token={random_text}")) == {"random secret"}


def test_our_own_surrogates_are_nobody() -> None:
    kept = {"api_key": "stk1_abcdefghijklmnop", "stk1_abcdefghijklmnop": ["Bearer stk1_abcdefghijklmnop"]}
    assert audit_exchanges([exchange(json.dumps(kept).encode(), target="/stk1_abcdefghijklmnop")], [b"abcdefgh"]).clean


def test_arrays_of_numbers_are_not_looked_into() -> None:
    rows = {"ssn": [[0.304262935, 304262935, 4111111111111111]], "phone": 12025550147, "vector": [0.1] * 99}
    assert audit_exchanges([exchange(json.dumps(rows).encode())]).clean


def test_a_bomb_costs_a_bounded_time() -> None:
    bomb = gzip.compress(gzip.compress(bytes(1 << 24), mtime=0) + b"x", mtime=0)
    assert audit_exchanges([exchange(bomb, got=json.dumps([coded(bomb).decode()] * 3).encode())]).clean


def test_what_is_hidden_deeper_than_anybody_would_is_left() -> None:
    text = E_MAIL
    for _ in range(9):
        text = coded(text)
    assert kinds_of(exchange(text)) == set()


@given(st.binary(max_size=300), st.binary(max_size=300), st.text(max_size=20))
def test_garbage_is_no_error(body: bytes, got: bytes, text: str) -> None:
    headers = ((text, text), ("Inference-Header-Content-Length", "9"), ("Content-Encoding", "br"))
    audit_exchanges([exchange(body, got, target=text, headers=headers)], [b"never there"])


def test_the_header_of_a_capture_is_searched_without_its_ids() -> None:
    header = example_header(
        file_id=b"secret value 16b", notes={"host": "x.secret value"}, policy={"rules": [{"header": "ada@example.org"}]}
    )
    assert scan_header(header, Needles([b"secret value"])) == [
        ("capture header", "known secret"),
        ("capture header", "e-mail"),
    ]
