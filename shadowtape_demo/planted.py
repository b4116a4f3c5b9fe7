"""Invented secrets, planted where real ones are found: headers, query, ids, string fields and JSON keys. Pure and seeded.

Every person, number and key here is made up (example domains, reserved phone numbers). Whatever is planted is also listed: the demo
looks for every one of them in the capture afterwards.
"""

import base64
import json
from dataclasses import dataclass, fields
from itertools import product

import numpy as np

GIVEN = ("Anna", "Bilal", "Chiara", "Dmitri", "Esra", "Farid", "Grete", "Hiroko", "Ines", "Jürgen")
FAMILY = ("Abernathy", "Brandvold", "Castellanos", "Dombrowski", "Eilertsen", "Fitzwilliam", "Grünewald")
PEOPLE = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """One invented customer; every field is a secret."""

    name: str
    email: str
    phone: str
    account: str  # sixteen digits, as a card number has
    jwt: str
    session: str
    api_key: str
    query_token: str
    remark: str

    def secrets(self) -> list[str]:
        """What must not be found: each field whole, and the parts of the JWT, which are base64 of JSON with the e-mail in it."""
        whole = [getattr(self, field.name) for field in fields(self)]
        return [*whole, *self.jwt.split(".")[1:], self.email.split("@")[0], self.name.split()[1]]


def people(rng: np.random.Generator, count: int = PEOPLE) -> list[Person]:
    """``count`` different people, at most 70."""
    names = list(product(GIVEN, FAMILY))
    chosen = [names[i] for i in rng.permutation(len(names))[:count]]
    return [_person(given, family, rng) for given, family in chosen]


def all_secrets(everybody: list[Person]) -> list[str]:
    """Every planted secret once, longest first."""
    return sorted(
        {secret for person in everybody for secret in person.secrets()}, key=lambda secret: (-len(secret), secret)
    )


def _person(given: str, family: str, rng: np.random.Generator) -> Person:
    number = "".join(map(str, rng.integers(0, 10, 4)))
    email = f"{given}.{family}{number}@mail.example.com".lower().replace("ü", "ue")
    phone = f"+1 {rng.integers(200, 999)} 555 01{rng.integers(10, 99)}"
    return Person(
        name=f"{given} {family}{number}",
        email=email,
        phone=phone,
        account="4" + "".join(map(str, rng.integers(0, 10, 15))),
        jwt=_jwt(email, rng),
        session=rng.bytes(16).hex(),
        api_key=f"sk_live_{base64.b32encode(rng.bytes(15)).decode()}",
        query_token=base64.urlsafe_b64encode(rng.bytes(18)).decode(),
        remark=f"{given} {family}{number} phoned from {phone} about the mortgage, wants a call back",
    )


def _jwt(email: str, rng: np.random.Generator) -> str:
    def part(data: bytes) -> str:
        return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

    claims = {"sub": email, "scope": "housing:infer", "jti": rng.bytes(6).hex()}
    return ".".join([part(b'{"alg":"HS256","typ":"JWT"}'), part(json.dumps(claims).encode()), part(rng.bytes(32))])
