import base64
import json

import numpy as np

from shadowtape_demo.planted import PEOPLE, all_secrets, people


def test_people_are_different_and_the_same_with_the_same_seed() -> None:
    one, other = (people(np.random.default_rng(3)) for _ in range(2))

    assert one == other
    assert len({person.email for person in one}) == len({person.account for person in one}) == PEOPLE


def test_the_token_is_a_jwt_about_the_person() -> None:
    (person,) = people(np.random.default_rng(1), 1)
    claims = person.jwt.split(".")[1]

    assert json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))["sub"] == person.email


def test_every_secret_is_listed_once_and_long_enough_never_to_be_found_by_chance() -> None:
    everybody = people(np.random.default_rng(1))
    secrets = all_secrets(everybody)

    assert len(secrets) == len(set(secrets))
    assert min(map(len, secrets)) >= 8
    for person in everybody:
        assert {person.email, person.jwt, person.jwt.split(".")[1], person.remark, person.account} <= set(secrets)


def test_no_secret_holds_a_line_break() -> None:
    """They are handed to the audit one a line."""
    assert all("\n" not in secret for secret in all_secrets(people(np.random.default_rng(5))))
