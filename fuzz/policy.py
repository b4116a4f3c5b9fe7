"""No secret planted in an exchange survives the default policy, in any encoding; numbers of feature tensors pass unchanged.

Planted in path, query, header values, reason phrase, JSON strings and keys; a name (of a header, a parameter, a key)
is a secret only where it does not read like one: an e-mail address, words, not abc-123.

The search is written again here, without our own scanner: the two have to be wrong together to miss something.
"""

import base64
import json
import random
import re
from collections.abc import Iterator
from urllib.parse import quote, unquote

import numpy as np

from captures.codecs.body import Role, Tensors
from captures.codecs.oip_v2 import OipV2
from captures.exchange import Chunk, Exchange, Flags, Headers, Request, Response
from captures.privacy.policy import Policy
from captures.privacy.pseudonymise import Pseudonymiser
from fuzz import documents

PATHS = (
    "/v2/models/house/infer",
    "/v1/models/house:predict",
    "/v2/models/{}/infer",
    "/users/{}/score",
    "/v1/chat/completions",
    "/{}",
)
HEADERS = (
    "Authorization",
    "Cookie",
    "X-User",
    "User-Agent",
    "Content-Type",
    "Accept",
    "traceparent",
    "X-Request-Id",
    "Set-Cookie",
    "Date",
)
TYPES = (
    "application/json",
    "application/json; charset=utf-8",
    "text/plain",
    "text/event-stream",
    "multipart/form-data; boundary={}",
)


def case(rng: random.Random) -> None:
    secrets = [_secret(rng) for _ in range(rng.randrange(1, 6))]
    raw = _exchange(secrets, rng)
    (kept,) = Pseudonymiser(Policy(), rng.randbytes(32)).apply([raw])
    leaks = [secret for secret in secrets if _found(secret, kept)]
    assert not leaks, f"{leaks} survive in {kept}"
    _numbers_pass(raw, kept)


def _secret(rng: random.Random) -> str:
    return (
        "".join(rng.choice("abcdefghjkmnpqrstuvwxyz") for _ in range(9))
        + rng.choice(["ü", "-", "@x.", " "])
        + str(rng.randrange(100, 999))
    )


def _exchange(secrets: list[str], rng: random.Random) -> Exchange:
    asked, answered = _body(secrets, rng), _body(secrets, rng)
    target = rng.choice(PATHS).format(quote(_as_name(rng.choice(secrets)), safe=""))
    if rng.random() < 0.5:
        target += f"?{quote(_as_name(rng.choice(secrets)))}={quote(rng.choice(secrets))}&limit=3"
    return Exchange(
        arrival_ns=0,
        request=Request(
            method="POST",
            target=target,
            headers=_headers(secrets, rng),
            chunks=_chunks(asked, rng),
            end_ns=1,
            size=len(asked),
        ),
        response=Response(
            status=rng.choice([200, 400, 500]),
            reason=rng.choice(["OK", *secrets]),
            headers=_headers(secrets, rng),
            chunks=_chunks(answered, rng),
            first_ns=2,
            end_ns=3,
            size=len(answered),
        ),
        flags=Flags(rng.choice([0, Flags.REQUEST_TRUNCATED, Flags.RESPONSE_TRUNCATED])),
    )


def _headers(secrets: list[str], rng: random.Random) -> Headers:
    headers = [
        (
            rng.choice(HEADERS),
            rng.choice(["{}", "Bearer {}", "a={}; b={}", "text/{}"]).replace("{}", rng.choice(secrets)),
        )
        for _ in range(3)
    ]
    headers.append(("Content-Type", rng.choice(TYPES).format(rng.choice(secrets))))
    latin = [(name.encode().decode("latin-1"), value.encode().decode("latin-1")) for name, value in headers]
    return tuple(rng.sample(latin, len(latin)))


def _body(secrets: list[str], rng: random.Random) -> bytes:
    """A document whose strings and keys are replaced by secrets, plain or encoded; sometimes broken, sometimes no JSON."""
    if rng.random() < 0.1:
        return rng.choice(secrets).encode() * 3
    document = json.loads(rng.choice([documents.v2, documents.v1])(rng))
    body = documents.written(_planted(document, secrets, rng), rng)
    return documents.broken(body, rng) if rng.random() < 0.4 else body


def _as_name(secret: str) -> str:
    return secret if "-" not in secret else f"field {secret}"


def _planted(value: object, secrets: list[str], rng: random.Random) -> object:
    if isinstance(value, dict):
        fixed = {"inputs", "instances", "name", "shape", "datatype", "data", "id", "parameters"}
        pairs = [(key, _planted(item, secrets, rng)) for key, item in value.items()]
        return {
            key if key in fixed or rng.random() < 0.5 else _as_name(rng.choice(secrets)): item for key, item in pairs
        }
    if isinstance(value, list):
        return [_planted(item, secrets, rng) for item in value]
    if isinstance(value, str) and value not in documents.DATATYPES and rng.random() < 0.5:
        secret = rng.choice(secrets)
        coded = rng.choice(
            [
                secret,
                secret,
                f"Dear {secret},",
                quote(secret),
                base64.b64encode(secret.encode()).decode(),
                secret.upper(),
            ]
        )
        # A tensor's name is the model's, not the customer's: it stays. Names of this grammar are f0, f1, …
        return value if re.fullmatch(r"f\d", value) else coded
    return value


def _chunks(body: bytes, rng: random.Random) -> tuple[Chunk, ...]:
    at = rng.randrange(len(body) + 1)
    return (Chunk(1, body[:at]), Chunk(1, body[at:]))


def _found(secret: str, kept: Exchange) -> bool:
    forms = {secret.lower(), secret.encode().hex(), quote(secret).lower()}
    plain = secret.encode()
    coded = {
        base64.b64encode(b"\0" * pad + plain)[4 if pad else 0 :].rstrip(b"=")[: len(plain)].decode()
        for pad in (0, 1, 2)
    }
    for text in _texts(kept):
        low = text.lower()
        if any(form in low for form in forms) or any(form in text for form in coded):
            return True
    return False


def _texts(kept: Exchange) -> Iterator[str]:
    """Everything that is kept, as it is and decoded once."""
    assert kept.response is not None
    heads = [kept.request.target, kept.request.method, kept.route, kept.model, kept.codec, kept.response.reason]
    for headers in (kept.request.headers, kept.response.headers):
        heads += [part.encode("latin-1", "replace").decode("utf-8", "replace") for pair in headers for part in pair]
    bodies = [kept.request.body.decode("utf-8", "replace"), kept.response.body.decode("utf-8", "replace")]
    for text in (*heads, *bodies):
        yield text
        yield unquote(text)
        yield re.sub(r"\\u([0-9a-fA-F]{4})", lambda match: chr(int(match[1], 16)), text)


def _numbers_pass(raw: Exchange, kept: Exchange) -> None:
    if kept.codec != "oip-v2" or Flags.UNPARSED in kept.flags or Flags.REQUEST_DROPPED in kept.flags:
        return
    before, after = OipV2().decode([raw.request.body, kept.request.body], "request")
    if isinstance(before, Tensors) and isinstance(after, Tensors):
        pairs = zip(before.tensors, after.tensors, strict=True)
        for one, other in pairs:
            # Integers long enough to be somebody's number are replaced, whatever tensor they stand in.
            ordinary = one.role is Role.FEATURE and one.datatype.startswith("FP") and np.all(np.abs(one.data) < 1e9)
            if ordinary:
                assert repr(one.data) == repr(other.data), f"feature {one.name} changed"
