"""Planted secrets: one of each class in each place, through the very code that will record, before anything is recorded.

What a policy keeps in a place that it names one by one is the user's decision and no leak. What a rule sweeps up with a glob, or
what gets through without any rule, is.
"""

import gzip
import json
import re
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from urllib.parse import quote

from captures.exchange import Chunk, Exchange, Headers, Request, Response
from captures.privacy.patterns import pattern_of
from captures.privacy.policy import HEADERS_KEPT, Policy
from captures.privacy.policy_rule import PolicyRule, is_spelled_out
from captures.privacy.pseudonymise import Pseudonymiser
from captures.privacy.scan import planted_in
from captures.privacy.scan_needles import Needles

CANARIES: Mapping[str, str] = {
    "e-mail": "ada.lovelace@canary.example.org",
    "card number": "4111 1111 1111 1111",
    "card digits": "5555555555554444",
    "IBAN": "GB82WEST12345698765432",
    "social security number": "078-05-1120",
    "phone number": "+1-202-555-0147",
    "JSON Web Token": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJjYW5hcnkifQ.c2lnbmF0dXJl",
    "AWS access key": "AKIAIOSFODNN7CANARYX",
    "API key": "sk-proj-c4n4ryC4N4RYc4n4ryC4N4RY",
    "name": "Ada Lovelace-Canary",
    "UUID": "123e4567-e89b-12d3-a456-426614174000",
    "IP address": "203.0.113.77",
    "random letters": "qZbTkWvXpLmRsYcN",
}
"""class: a made-up value of it. Each is something no rule of form may take for a name."""

PARTLY_KEPT = frozenset(("name", "UUID", "random letters", "IP address", "phone number"))
"""Classes that scrub-text need not recognise: nothing in their form proves what they are."""


_HEADER = re.compile(r"((?:request|response) header) ([0-9]+)")


@dataclass(frozen=True, slots=True)
class Leak:
    """``rule``: what of the policy lets it through, in words; "" where nothing does. ``chosen``: it names the place one by one."""

    canary: str
    where: str
    rule: str
    chosen: bool

    def __str__(self) -> str:
        because = self.rule or "no rule says so: this is our mistake, please report it"
        return f"{self.canary} in {self.where} would be kept ({because})"


def self_test(policy: Policy, key: bytes) -> str:
    """What a recorder asks before it is ready: "" if no planted secret gets through ``policy``, else one line that says which and
    where, and which rule lets it through. The recorder then refuses to record (exit 2). In memory, below 100 ms.
    """
    bad = [leak for leak in leaks(policy, key) if not leak.chosen]
    if not bad:
        return ""
    more = f"; so would {len(bad) - 1} others" if len(bad) > 1 else ""
    return f"self-test: a planted {bad[0]}{more}"


def leaks(policy: Policy, key: bytes) -> list[Leak]:
    """Every canary that survives, once for each place."""
    extra = tuple(name for name in policy.headers_kept if name not in HEADERS_KEPT)
    planted = _planted(extra)
    needles = _needles()
    survivors = _survivors(policy, key, planted, needles)
    if not survivors:
        return []
    blamed: dict[tuple[int, str], _Reason] = {}
    for reason in _reasons(policy):
        without = {(number, where) for number, where in _survivors(reason.without, key, planted, needles)}
        for survivor in survivors:
            if survivor not in without:
                blamed.setdefault(survivor, reason)
    found: list[Leak] = []
    for number, where in survivors:
        canary, probe, _ = planted[number]
        blame = blamed.get((number, where))
        chosen = blame is not None and blame.allows(canary)
        found.append(Leak(canary, f"{where} of {probe}", blame.text if blame else "", chosen))
    return found


def _survivors(
    policy: Policy, key: bytes, planted: Sequence[tuple[str, str, Exchange]], needles: Needles
) -> list[tuple[int, str]]:
    """(number of the planted exchange, where a canary stands in what is kept of it)."""
    kept = Pseudonymiser(policy, key).apply([exchange for _, _, exchange in planted])
    return [(number, _in_words(where, kept[number])) for number, where in planted_in(kept, needles)]


def _in_words(where: str, exchange: Exchange) -> str:
    """Headers by their names: what was planted there were made-up ones, and names of the policy."""
    match = _HEADER.fullmatch(where)
    message = exchange.request if where.startswith("request") else exchange.response
    return f"{match[1]} {message.headers[int(match[2])][0]}" if match and message is not None else where


# -- why


@dataclass(frozen=True, slots=True)
class _Reason:
    """One thing a policy says, the policy that does not say it, and whether it names its place one by one."""

    text: str
    without: Policy
    named: bool
    does: str

    def allows(self, canary: str) -> bool:
        return self.named and (self.does != "scrub-text" or canary in PARTLY_KEPT)


def _reasons(policy: Policy) -> Iterator[_Reason]:
    data = policy.as_data()
    rules = data.get("rules", [])
    for number, rule in enumerate(policy.rules):
        without = Policy.from_data({**data, "rules": rules[:number] + rules[number + 1 :]})
        text = f"rule {number + 1}, {rule.place} {rule.where}: {rule.do}"
        yield _Reason(text, without, _names_one(rule), rule.do)
    default = Policy().as_data()
    for field in ("headers_kept", "headers_dropped", "features_kept", "paths_kept", "labels"):
        if data[field] != default[field]:
            written = {**data, field: default[field]}
            named = field != "paths_kept" or all(map(is_spelled_out, policy.paths_kept))
            yield _Reason(f"field {field}", Policy.from_data(written), named and field != "headers_kept", "keep")
    if policy.text == "scrub":
        written = {name: value for name, value in data.items() if name != "text"}
        yield _Reason("text: scrub", Policy.from_data(written), named=True, does="scrub-text")


def _names_one(rule: PolicyRule) -> bool:
    """Indexes may be any: every row of a tensor is the same place."""
    if rule.place == "role":
        return False
    if rule.place == "path":
        last = pattern_of(rule.where).steps[-1:]
        return bool(pattern_of(rule.where).keys) and all(step.what is not None or step.indexes for step in last)
    if rule.place == "segment" and rule.where.startswith("/"):
        return True
    return is_spelled_out(rule.where)


# -- where they are planted


@cache
def _needles() -> Needles:
    return Needles([canary.encode() for canary in CANARIES.values()])


@cache
def _planted(extra: tuple[str, ...]) -> tuple[tuple[str, str, Exchange], ...]:
    """(class, what kind of call it is, the call), with the canary of the class in every place of it."""
    return tuple(
        (kind, name, exchange) for kind, canary in CANARIES.items() for name, exchange in _calls(canary, extra)
    )


def _calls(canary: str, extra: tuple[str, ...]) -> Iterator[tuple[str, Exchange]]:
    escaped = quote(canary, safe="")
    coded = b64encode(b"x" + canary.encode()).decode()
    strings = {
        "city": canary,
        "note": f"call {canary} at noon",
        "json": json.dumps({"user": canary, "inner": json.dumps([canary])}),
        "base64": coded,
        "hex": canary.encode().hex(),
        "percent": escaped,
        f"key {canary}": 1.5,
    }
    head = _headers(canary, extra)
    tensor = {"name": f"x {canary}", "shape": [2], "datatype": "BYTES", "data": [canary, coded]}
    v2 = {
        "id": canary,
        "inputs": [tensor],
        "parameters": {"tenant": canary, f"p {canary}": 1},
        "outputs": [{"name": f"y {canary}"}],
    }
    answer = {"id": canary, "model_name": f"m {canary}", "outputs": [{**tensor, "data": [canary, escaped]}]}
    chat = {
        "model": f"m {canary}",
        "user": canary,
        "messages": [{"role": "user", "content": f"I am {canary}, write me"}],
    }
    said = {"choices": [{"message": {"role": "assistant", "content": f"Dear {canary}"}}], "id": canary}
    v2_path, v1_path = "/v2/models/house/infer", "/v1/models/house:predict"
    yield (
        "an Open Inference call",
        _call(
            f"{v2_path}?user={escaped}&{escaped}=1&{escaped}",
            _json(v2),
            _json(answer),
            (*head, *_JSON),
            (*head, *_JSON),
        ),
    )
    yield (
        "a KServe V1 call",
        _call(v1_path, _json({"instances": [strings, canary]}), _json({"predictions": [canary, strings]})),
    )
    yield "a chat call", _call("/v1/chat/completions", _json(chat), _json(said), _JSON, _JSON)
    yield "a completion", _call("/v1/completions", _json({"prompt": f"of {canary}", "suffix": [canary]}), b"")
    yield (
        "a call of another path",
        _call(f"/users/{escaped}/{coded}", _json({"a": [strings, [canary]], canary: {}}), b"", _JSON),
    )
    yield "an error", _call(v2_path, _json(v2)[:-1], _json({"error": f"no {canary}", "detail": [strings]}), status=400)
    yield "an error page", _call(v2_path, _json(canary), f"<p>{canary}</p>".encode(), status=502, reason=canary)
    yield "a form", _call("/score", f"user={escaped}&b={coded}".encode(), canary.encode(), (("Content-Type", _FORM),))
    yield (
        "a multipart form",
        _call("/score", _multipart(canary, coded), b"", (("Content-Type", "multipart/form-data; boundary=x"),)),
    )
    yield (
        "a compressed call",
        _call(v2_path, gzip.compress(_json(v2), 1, mtime=0), b"", (*_JSON, ("Content-Encoding", "gzip"))),
    )
    yield "a binary call", _binary(v2_path, canary)
    yield (
        "an event stream",
        _call(
            "/v1/chat/completions", _json(chat), _events(said, canary), _JSON, (("Content-Type", "text/event-stream"),)
        ),
    )
    yield "a model of that name", _call(f"/v2/models/{escaped}/versions/{escaped}/infer", _json(v2), b"", method=canary)


_JSON: Headers = (("Content-Type", "application/json"),)
_FORM = "application/x-www-form-urlencoded"


def _headers(canary: str, extra: tuple[str, ...]) -> Headers:
    return (
        ("X-Customer", canary),
        ("Authorization", f"Bearer {canary}"),
        ("X-Api-Key", canary),
        ("Cookie", f"a=b; user={canary}"),
        ("Set-Cookie", f"user={canary}"),
        ("User-Agent", f"curl/8 ({canary})"),
        ("Accept", f"text/html;q={canary}"),
        ("X-Forwarded-For", f"{canary}, 10.0.0.1"),
        ("Referer", f"https://a.example/?q={quote(canary)}"),
        ("Location", f"/users/{canary}"),
        ("X-Request-Id", canary),
        (f"X-{canary}", "1"),
        *((name, canary) for name in extra),
    )


def _json(value: object) -> bytes:
    return json.dumps(value).encode()


def _multipart(canary: str, coded: str) -> bytes:
    parts = f'--x\r\nContent-Disposition: form-data; name="u"; filename="{canary}"\r\n\r\n{canary}\r\n'
    return f"{parts}--x\r\nContent-Transfer-Encoding: base64\r\n\r\n{coded}\r\n--x--\r\n".encode()


def _events(said: object, canary: str) -> bytes:
    half = len(canary) // 2
    return b"".join(b"data: " + _json(each) + b"\n\n" for each in (said, {"t": canary[:half]}, {"t": canary[half:]}))


def _binary(path: str, canary: str) -> Exchange:
    text = canary.encode()
    tail = len(text).to_bytes(4, "little") + text
    tensor = {"name": "x", "shape": [1], "datatype": "BYTES", "parameters": {"binary_data_size": len(tail)}}
    head = _json({"inputs": [tensor]})
    headers = (("Content-Type", "application/octet-stream"), ("Inference-Header-Content-Length", str(len(head))))
    return _call(path, head + tail, head.replace(b"inputs", b"outputs") + tail, headers, headers)


def _call(
    target: str,
    body: bytes,
    got: bytes,
    headers: Headers = (),
    got_headers: Headers = (),
    *,
    status: int = 200,
    reason: str = "OK",
    method: str = "POST",
) -> Exchange:
    half = len(got) // 2
    request = Request(method=method, target=target, headers=headers, chunks=(Chunk(1, body),), end_ns=1, size=len(body))
    response = Response(
        status=status,
        headers=got_headers,
        chunks=(Chunk(2, got[:half]), Chunk(3, got[half:])),
        first_ns=2,
        end_ns=3,
        size=len(got),
        reason=reason,
    )
    return Exchange(arrival_ns=0, request=request, response=response)
