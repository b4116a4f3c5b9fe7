"""Ten thousand secrets planted over every place and spelling, recorded as `record` would: none is on the tape.

fuzz/leaks.py plants them, and goes on where this stops.
"""

import random
from itertools import product

import pytest

from captures.privacy.policy import Policy
from captures.privacy.pseudonymise import Pseudonymiser
from captures.privacy.scan import scan_exchange
from captures.privacy.scan_needles import Needles
from fuzz.leaks import PATHS, holds, leaks, on_tape, plant
from fuzz.planted_bodies import BODIES
from fuzz.planting import SECRETS, SPELLINGS
from recorder.frames import pack_wire
from recorder.unpack import unpack_wire

KEY = b"k" * 32
SEED = 20261124


@pytest.mark.slow
def test_none_of_ten_thousand_planted_secrets_is_on_the_tape() -> None:
    rng = random.Random(SEED)
    planted = [plant(rng) for _ in range(320)]
    assert sum(len(plants) for _, plants in planted) >= 10_000

    assert leaks(planted, Policy(), KEY) == []


@pytest.mark.slow
def test_no_class_survives_in_any_spelling_whatever_the_body() -> None:
    """Every class in every spelling, every path with every body."""
    rng = random.Random(SEED)
    planted = [plant(rng, kind=kind, spelling=spelling) for kind, spelling in product(SECRETS, SPELLINGS)]
    planted += [plant(rng, path=path, body=body) for path, body in product(PATHS, BODIES)]
    seen = {(each.kind, each.spelling) for _, plants in planted for each in plants}
    assert seen >= set(product(SECRETS, SPELLINGS))

    assert leaks(planted, Policy(), KEY) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "policy", [{"text": "token"}, {"text": "redact"}, {"features_kept": []}, {"headers_kept": ["x-customer"]}]
)
def test_stricter_policies_leak_as_little(policy: dict[str, object]) -> None:
    rng = random.Random(SEED)
    assert leaks([plant(rng) for _ in range(40)], Policy.from_data(policy), KEY) == []


@pytest.mark.slow
def test_the_search_would_have_seen_what_was_planted() -> None:
    """Guards the tests above: before it is pseudonymised, all of it is found."""
    rng = random.Random(SEED)
    for _ in range(6):
        wire, plants = plant(rng)
        raw = unpack_wire(pack_wire(wire))
        assert [each for each in plants if not holds(raw, each)] == []


def test_what_is_kept_of_a_run_holds_none_either() -> None:
    """What a replay writes goes the same way once more, as derived."""
    rng = random.Random(SEED)
    planted = [plant(rng) for _ in range(5)]
    raw = [unpack_wire(pack_wire(wire)) for wire, _ in planted]
    once = Pseudonymiser(Policy(), KEY).apply(raw)
    twice = on_tape(Pseudonymiser(Policy(), KEY, derived=True).apply(once))
    needles = Needles([each.secret.encode() for _, plants in planted for each in plants])
    assert [found for exchange in twice for found in scan_exchange(exchange, needles)] == []
