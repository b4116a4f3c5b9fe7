"""One secret of every class, planted in every place: after the default policy none is found, in any encoding."""

import base64
import gzip
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from captures.exchange import Chunk, Exchange, Flags, Request, Response
from captures.privacy import canaries
from captures.privacy.canaries import CANARIES, leaks, self_test
from captures.privacy.policy import Policy
from captures.privacy.pseudonymise import Pseudonymiser
from captures.privacy.scan import audit_exchanges
from captures.privacy.scan_patterns import patterns_in

KEY = b"k" * 32
SECRETS = {
    "e-mail": "ada.lovelace@example.org",
    "card number": "4111 1111 1111 1111",
    "card digits": "4111111111111111",
    "IBAN": "GB82WEST12345698765432",
    "social security number": "078-05-1120",
    "phone": "+1-202-555-0147",
    "JSON Web Token": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhZGEifQ.c2lnbmF0dXJl",
    "AWS key": "AKIAIOSFODNN7EXAMPLE",
    "name": "Ada Lovelace",
    "name beyond ASCII": "Zoë Müller",
    "UUID": "123e4567-e89b-12d3-a456-426614174000",
    "IPv4 address": "203.0.113.77",
    "IPv6 address": "2001:db8::c0ff:ee",
    "base64 key": "c2VjcmV0LWtleS1vZi1hZGE=",
    "random letters": "qZbTkWvXpLmRsYcN",
}
type Plant = Callable[[str], Exchange]


def exchange(
    target: str = "/v2/models/house/infer",
    *,
    method: str = "POST",
    headers: tuple[tuple[str, str], ...] = (),
    body: bytes = b"",
    got: bytes = b"",
    got_headers: tuple[tuple[str, str], ...] = (),
    status: int = 200,
    reason: str = "OK",
    cut: int = 0,
) -> Exchange:
    chunks = (Chunk(2, got[:cut]), Chunk(3, got[cut:])) if cut else (Chunk(3, got),)
    return Exchange(
        arrival_ns=1,
        request=Request(
            method=method, target=target, headers=headers, chunks=(Chunk(1, body),), end_ns=1, size=len(body)
        ),
        response=Response(
            status=status, headers=got_headers, chunks=chunks, first_ns=2, end_ns=3, size=len(got), reason=reason
        ),
    )


def wire(text: str) -> str:
    """As a header's bytes are read."""
    return text.encode().decode("latin-1")


def v2(name: str = "x", data: object = 1.5, datatype: str = "FP32", **extra: object) -> bytes:
    tensor = {"name": name, "shape": [1], "datatype": datatype, "data": [data]}
    return json.dumps({"inputs": [tensor], **extra}).encode()


def v1(row: object, **extra: object) -> bytes:
    return json.dumps({"instances": [row], **extra}, ensure_ascii=False).encode()


def answer(**fields: object) -> bytes:
    output = {"name": "y", "shape": [1], "datatype": "FP32", "data": [1.5]}
    return json.dumps({"outputs": [output], **fields}).encode()


JSON = (("Content-Type", "application/json"),)
V1 = "/v1/models/house:predict"
PLACES: dict[str, Plant] = {
    "header value": lambda s: exchange(headers=(("X-Customer", wire(s)),)),
    "authorization": lambda s: exchange(headers=(("Authorization", wire(f"Bearer {s}")),)),
    "cookie": lambda s: exchange(headers=(("Cookie", wire(f"a=b; user={s}")),)),
    "set-cookie": lambda s: exchange(got_headers=(("Set-Cookie", wire(f"user={s}")),)),
    "response header": lambda s: exchange(got_headers=(("Location", wire(f"/users/{s}")),)),
    "header name": lambda s: exchange(headers=((wire(s), "x"),)),
    "header name, hyphens": lambda s: exchange(headers=((wire("X-" + s.replace(" ", "_")), "x"),)),
    "host": lambda s: exchange(headers=(("Host", wire(s)),)),
    "user-agent": lambda s: exchange(headers=(("User-Agent", wire(f"curl/8 ({s})")),)),
    "user-agent product": lambda s: exchange(headers=(("User-Agent", wire(s)),)),
    "content-type": lambda s: exchange(headers=(("Content-Type", wire(s)),)),
    "content-type subtype": lambda s: exchange(headers=(("Content-Type", wire(f"application/{s}")),)),
    "content-type parameter": lambda s: exchange(headers=(("Content-Type", wire(f"application/json; charset={s}")),)),
    "boundary": lambda s: exchange(headers=(("Content-Type", wire(f"multipart/form-data; boundary={s}")),)),
    "accept": lambda s: exchange(headers=(("Accept", wire(f"text/html, {s};q=0.5, */*;q={s}")),)),
    "accept-encoding": lambda s: exchange(headers=(("Accept-Encoding", wire(f"gzip, {s}")),)),
    "transfer-encoding": lambda s: exchange(headers=(("Transfer-Encoding", wire(f"chunked, {s}")),)),
    "content-length": lambda s: exchange(headers=(("Content-Length", wire(s)),)),
    "json length": lambda s: exchange(headers=(("Inference-Header-Content-Length", wire(s)),)),
    "query value": lambda s: exchange(f"/v2/models/house/infer?user={quote(s)}"),
    "query value, raw": lambda s: exchange(wire(f"/v2/models/house/infer?user={s}")),
    "query name": lambda s: exchange(f"/v2/models/house/infer?{quote(s)}=1"),
    "query, no value": lambda s: exchange(f"/v2/models/house/infer?{quote(s)}"),
    "query, half encoded": lambda s: exchange(f"/v2/models/house/infer?user=%{ord(s[0]):02x}{quote(s[1:])}"),
    "fragment": lambda s: exchange(wire(f"/v2/models/house/infer#{s}")),
    "path": lambda s: exchange(f"/users/{quote(s, safe='')}/score"),
    "path, raw": lambda s: exchange(wire(f"/users/{s}/score")),
    "absolute target": lambda s: exchange(wire(f"http://{s}/v2/models/house/infer")),
    "method": lambda s: exchange(method=wire(s)),
    "model name": lambda s: exchange(f"/v2/models/{quote(s, safe='')}/infer", body=v2()),
    "version": lambda s: exchange(f"/v2/models/house/versions/{quote(s, safe='')}/infer", body=v2()),
    "label": lambda s: exchange(f"/v1/models/house/labels/{quote(s, safe='')}:predict", body=v1([1])),
    "metadata of a model": lambda s: exchange(f"/v1/models/{quote(s, safe='')}", method="GET"),
    "V2 id": lambda s: exchange(body=v2(id=s)),
    "V2 BYTES": lambda s: exchange(body=v2(data=s, datatype="BYTES")),
    "V2 BYTES, nested": lambda s: exchange(body=v2(data=[s], datatype="BYTES")),
    "tensor name": lambda s: exchange(body=v2(name=s)),
    "datatype": lambda s: exchange(body=v2(datatype=s)),
    "parameters": lambda s: exchange(body=v2(parameters={"tenant": s})),
    "parameter key": lambda s: exchange(body=v2(parameters={s: 1})),
    "content_type parameter": lambda s: exchange(body=v2(parameters={"content_type": s})),
    "requested output": lambda s: exchange(body=v2(outputs=[{"name": s}])),
    "unknown key": lambda s: exchange(body=v2().replace(b"{", json.dumps({s: 1}).encode()[:-1] + b",", 1)),
    "JSON value": lambda s: exchange(V1, body=v1({"city": s})),
    "JSON value, escaped": lambda s: exchange(
        V1, body=v1({"c": "@"}).replace(b"@", "".join(f"\\u{ord(c):04x}" for c in s).encode())
    ),
    "JSON key": lambda s: exchange(V1, body=v1({s: 1})),
    "JSON in a string": lambda s: exchange(V1, body=v1({"raw": json.dumps({"user": s})})),
    "base64 value": lambda s: exchange(V1, body=v1({"raw": base64.b64encode(b"x" + s.encode()).decode()})),
    "b64 object": lambda s: exchange(V1, body=v1({"image": {"b64": base64.b64encode(s.encode()).decode()}})),
    "hex value": lambda s: exchange(V1, body=v1({"raw": s.encode().hex()})),
    "percent-encoded value": lambda s: exchange(V1, body=v1({"raw": quote(s)})),
    "signature name": lambda s: exchange(V1, body=v1([1], signature_name=s)),
    "bytes as numbers": lambda s: exchange(V1, body=v1({"bytes": list(s.encode())})),
    "chat": lambda s: exchange(
        "/v1/chat/completions", body=json.dumps({"messages": [{"role": "user", "content": s}]}).encode()
    ),
    "unknown JSON": lambda s: exchange("/score", body=json.dumps({s: [s, {s: s}]}).encode()),
    "a JSON string": lambda s: exchange("/score", body=json.dumps(s).encode()),
    "form": lambda s: exchange("/score", body=f"user={quote(s)}".encode()),
    "multipart": lambda s: exchange("/score", body=f'--x\r\nContent-Disposition: form-data; name="u"\r\n\r\n{s}\r\n'.encode()),
    "CSV": lambda s: exchange("/invocations", body=f"a,b\n1,{s}\n".encode()),
    "text": lambda s: exchange("/score", body=s.encode()),
    "gzip": lambda s: exchange(
        body=gzip.compress(v2(id=s, data=s, datatype="BYTES"), mtime=0), headers=(*JSON, ("Content-Encoding", "gzip"))
    ),
    "broken JSON": lambda s: exchange(body=v2(id=s)[:-1]),
    "response text": lambda s: exchange(body=v2(), got=s.encode()),
    "response id": lambda s: exchange(body=v2(), got=answer(id=s)),
    "response model": lambda s: exchange(body=v2(), got=answer(model_name=s)),
    "response parameter": lambda s: exchange(body=v2(), got=answer(parameters={"user": s})),
    "prediction": lambda s: exchange(V1, body=v1([1]), got=json.dumps({"predictions": [s]}).encode()),
    "prediction key": lambda s: exchange(V1, body=v1([1]), got=json.dumps({"predictions": [{s: 1}]}).encode()),
    "error body": lambda s: exchange(body=v2(), got=json.dumps({"error": f"no user {s}"}).encode(), status=400),
    "error page": lambda s: exchange(body=v2(), got=f"<h1>{s}</h1>".encode(), status=502),
    "event stream": lambda s: exchange(
        "/v1/chat/completions",
        got=f"data: {json.dumps({'text': s}, ensure_ascii=False)}\n\n".encode(),
        got_headers=(("content-type", "text/event-stream; charset=utf-8"),),
        cut=18,
    ),
    "NDJSON": lambda s: exchange("/score", got=json.dumps({"text": s}).encode() * 2, cut=12),
    "reason phrase": lambda s: exchange(reason=wire(s)),
    "http version": lambda s: replace(
        exchange(), request=Request(method="GET", target="/", http_version=wire(s), end_ns=1)
    ),
}  # fmt: skip


@pytest.mark.parametrize("place", PLACES)
def test_no_secret_survives(place: str) -> None:
    for kind, secret in SECRETS.items():
        raw = PLACES[place](secret)
        for derived in (False, True):
            (kept,) = Pseudonymiser(Policy(), KEY, derived=derived).apply([raw])
            found = audit_exchanges([kept], [secret.encode()])
            assert found.clean, f"{kind} in {place}: {found}"


@pytest.mark.parametrize("place", sorted(set(PLACES) - {"bytes as numbers"}))
def test_the_scan_would_have_seen_it(place: str) -> None:
    """Guards the test above: what it looks for is found in the raw exchange."""
    secret = SECRETS["e-mail"]
    assert not audit_exchanges([PLACES[place](secret)], [secret.encode()]).clean


def test_text_spelled_in_numbers_is_replaced() -> None:
    """The scan does not read numbers as text, so this place has a test of its own."""
    (kept,) = Pseudonymiser(Policy(), KEY).apply([PLACES["bytes as numbers"]("ada@example.org")])
    numbers = json.loads(kept.request.body)["instances"][0]["bytes"]
    assert len(numbers) == len("ada@example.org")
    assert sum(new == old for new, old in zip(numbers, b"ada@example.org", strict=True)) < 4


@pytest.mark.slow
def test_the_same_body_shape_hides_the_next_secret_too() -> None:
    """The second body of a shape goes the fast way."""
    pseudonymiser = Pseudonymiser(Policy(), KEY)
    for place, plant in PLACES.items():
        raw = [plant(secret) for secret in ("harmless", *SECRETS.values())]
        for secret, kept in zip(SECRETS.values(), pseudonymiser.apply(raw)[1:], strict=True):
            assert audit_exchanges([kept], [secret.encode()]).clean, f"{secret} in {place}"


@pytest.mark.parametrize(
    "literal",
    ["4111111111111111", "-4111111111111111", "4111111111111111.0", "4.111111111111111e15", "4111111111111111e-5"],
)
@pytest.mark.parametrize(
    "body", ['{"inputs":[{"name":"x","shape":[1],"datatype":"FP64","data":[@]}]}', '{"inputs":[],"shape":@,"a":[[@]]}']
)
def test_numbers_that_identify_are_replaced(literal: str, body: str) -> None:
    (kept,) = Pseudonymiser(Policy(), KEY).apply([exchange(body=body.replace("@", literal).encode())])
    assert "4111111111111111" not in kept.request.body.decode().replace(".", "")
    assert Flags.RECORDED_VALID not in kept.flags
    json.loads(kept.request.body)


DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers(0, 99) | st.floats(allow_nan=False) | st.just("@") | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["@", "inputs", "a", "id"]), inner),
    max_leaves=12,
)


@given(
    DOCUMENTS, st.sampled_from(sorted(SECRETS)), st.sampled_from(["/score", V1, "/v2/models/m/infer"]), st.booleans()
)
def test_no_secret_survives_in_any_document(document: object, kind: str, target: str, ascii_only: bool) -> None:
    secret = SECRETS[kind]
    planted = json.dumps(document).replace('"@"', json.dumps(f" {secret}", ensure_ascii=ascii_only))
    body = planted.encode()
    (kept,) = Pseudonymiser(Policy(), KEY).apply([exchange(target, body=body, got=body)])
    assert audit_exchanges([kept], [secret.encode()]).clean
    if kept.request.body:
        json.loads(kept.request.body)


# -- the self-test of a recorder


def refusal(**policy: object) -> str:
    return self_test(Policy.from_data(policy), KEY)


def test_the_default_policy_passes_its_self_test() -> None:
    assert refusal() == ""


@pytest.mark.parametrize(
    "policy",
    [
        {"text": "token"},
        {"text": "scrub"},
        {"headers_kept": ["x-customer", "content-type"]},
        {"rules": [{"header": "x-customer", "do": "keep"}]},
        {"rules": [{"path": "$.inputs[*].data", "do": "keep"}]},
        {"rules": [{"path": "$.messages[*].content", "do": "scrub-text"}]},
        {"rules": [{"segment": "/users/{user}/**", "do": "keep"}]},
        {"rules": [{"role": "text", "do": "surrogate"}, {"header": "*-for", "do": "truncate-ip"}]},
    ],
)
def test_what_a_policy_names_one_by_one_is_the_users_to_decide(policy: dict[str, object]) -> None:
    assert refusal(**policy) == ""


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        (
            {"rules": [{"query": "page", "do": "keep"}, {"path": "$..*", "do": "keep"}]},
            "a planted e-mail in request body of an Open Inference call would be kept (rule 2, path $..*: keep); so would",
        ),
        ({"rules": [{"role": "text", "do": "keep"}]}, "(rule 1, role text: keep)"),
        ({"rules": [{"segment": "*", "do": "keep"}]}, "a call of another path would be kept (rule 1, segment *: keep)"),
        ({"rules": [{"header": "*-for", "do": "keep"}]}, "request header X-Forwarded-For of an Open Inference call"),
        ({"paths_kept": ["/users/*"]}, "(field paths_kept)"),
    ],
)  # fmt: skip
def test_what_a_rule_sweeps_up_is_refused_with_the_rule(policy: dict[str, object], said: str) -> None:
    found = refusal(**policy)
    assert found.startswith("self-test: ")
    assert said in found
    assert "\n" not in found
    assert not any(canary in found for canary in CANARIES.values())


def test_a_leak_that_no_rule_explains_is_our_own_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    class Forgetful(Pseudonymiser):
        def apply(self, exchanges: Sequence[Exchange]) -> list[Exchange]:
            return list(exchanges)

    monkeypatch.setattr(canaries, "Pseudonymiser", Forgetful)
    assert "this is our mistake" in refusal()
    found = leaks(Policy(), KEY)
    assert {leak.canary for leak in found} == set(CANARIES)
    places = {leak.where for leak in found}
    assert {"request header Cookie of an Open Inference call", "response body of an error page"} <= places
    assert {"request target of a model of that name", "request method of a model of that name"} <= places
    assert {
        "request body of a binary call",
        "response body of an event stream",
        "response reason of an error page",
    } <= places


def test_every_canary_is_one_that_the_audit_can_tell_or_a_plain_secret() -> None:
    told = {kind: patterns_in(canary.encode()) for kind, canary in CANARIES.items()}
    assert {kind for kind, found in told.items() if not found} == {"name", "UUID", "random letters"}
