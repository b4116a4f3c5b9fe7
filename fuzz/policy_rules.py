"""Any body under any policy: what is kept parses and has the shape it had, a string that is kept is one that something keeps, and
`explain` tells of every leaf what was done; nothing raises.

Rules are drawn over the names that bodies of the grammar have. That a string is kept is allowed by one of: the action keep or
one that leaves parts (scrub-text, generalise, …), a name that reads like one, a word of the protocol, a label.
"""

import json
import random

from captures.codecs.codec import Codec, Side
from captures.codecs.kserve_v1 import KServeV1
from captures.codecs.oip_v2 import OipV2
from captures.codecs.opaque import OpaqueCodec
from captures.errors import UsageError
from captures.privacy.leaves import Bodies
from captures.privacy.policy import Policy
from captures.privacy.policy_rule import ACTIONS
from captures.privacy.surrogate import Surrogates
from fuzz import documents

STEPS = ("inputs", "instances", "data", "name", "a", "b", "f0", "f1", "id", "parameters", "datatype", "shape")
CODECS: tuple[Codec, ...] = (OipV2(), KServeV1(), OpaqueCodec())
SIDES: tuple[Side, ...] = ("request", "response")
ROLES = ("feature", "prediction", "text", "identity", "name", "other")
LEAVES_PARTS = frozenset(
    ("scrub-text", "generalise", "truncate-ip", "shift-time", "blur", "mask", "surrogate", "redact", "words")
)
PARAMETERS: dict[str, dict[str, object]] = {
    "generalise": {"step": "7"},
    "mask": {"keep_last": 3},
    "blur": {"by": "20%"},
}


def case(rng: random.Random) -> None:
    policy = _policy(rng)
    trained = Bodies(policy, Surrogates(bytes(32)), derived=False)
    for _ in range(4):
        body = rng.choice([documents.v2, documents.v1])(rng)
        if rng.random() < 0.3:
            body = documents.broken(body, rng)
        codec: Codec = rng.choice(CODECS)
        side: Side = rng.choice(SIDES)
        kept = trained.keep(codec, body, side, "p")
        told = trained.explained(codec, body, side)
        assert (told is None) == kept.dropped, "explain and keep differ in what is dropped"
        if told is None:
            continue
        parts, at = [], 0
        for leaf, old, _, new in told:
            parts += [body[at : leaf.start], new]
            at = leaf.stop
            assert body[leaf.start : leaf.stop] == old
        assert b"".join([*parts, body[at:]]) == kept.body, "explain tells of another body"
        for leaf, old, decision, new in told:
            if leaf.kind == "string" and old == new and old != b'""':
                assert decision.keeps or decision.do.action in LEAVES_PARTS, f"{old!r} is kept"
        _same_shape(_loaded(body), _loaded(kept.body))


def _policy(rng: random.Random) -> Policy:
    written = [_rule(rng) for _ in range(rng.randrange(0, 5))]
    try:
        return Policy.from_data({
            "rules": written,
            "text": rng.choice(["words", "token", "scrub", "redact"]),
            "labels": ["cat"] if rng.random() < 0.3 else [],
        })  # fmt: skip
    except UsageError:
        return Policy()


def _rule(rng: random.Random) -> dict[str, object]:
    action = rng.choice(ACTIONS)
    rule: dict[str, object] = {"do": action, **PARAMETERS.get(action, {})}
    if rng.random() < 0.25:
        rule["role"] = rng.choice(ROLES)
    else:
        steps = (rng.choice([f".{rng.choice(STEPS)}", f"..{rng.choice(STEPS)}", "[*]", f"[{rng.randrange(3)}]", ".*", "..*"])
                 for _ in range(rng.randrange(0, 4)))  # fmt: skip
        rule["path"] = "$" + "".join(steps)
    if rng.random() < 0.2:
        rule["side"] = rng.choice(["request", "response"])
    if "domain" not in rule and action in ("token", "surrogate", "words") and rng.random() < 0.3:
        rule["domain"] = rng.choice(["user", "text"])
    return rule


def _loaded(body: bytes) -> object:
    return json.loads(body, object_pairs_hook=lambda pairs: [value for _, value in pairs])


def _same_shape(before: object, after: object) -> None:
    if isinstance(before, list):
        assert isinstance(after, list), "an array is none any more"
        assert len(before) == len(after), "an array has another length"
        for one, other in zip(before, after, strict=True):
            _same_shape(one, other)
    elif isinstance(before, str):
        assert isinstance(after, str) or after is None, "a string became something else"
    elif isinstance(before, bool) or before is None:
        assert isinstance(after, bool) or after is None, "a literal became something else"
    else:
        assert isinstance(after, (int, float)) or after is None, "a number became something else"
        if isinstance(before, int) and after is not None:
            assert isinstance(after, int), "an integer became a fraction"
