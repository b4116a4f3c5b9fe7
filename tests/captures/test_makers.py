"""What is made fast is what is made slowly."""

from dataclasses import FrozenInstanceError, fields
from typing import Any

import pytest

from captures import makers
from captures.columns import Head
from captures.exchange import Chunk, Exchange, Flags, Request, Response

REQUEST = Request(method="GET", target="/")


@pytest.mark.parametrize(
    ("noun", "make"),
    [
        (Chunk, makers.make_chunk),
        (Request, makers.make_request),
        (Response, makers.make_response),
        (Exchange, makers.make_exchange),
        (Head, makers.make_head),
    ],
)
def test_every_field_has_its_place(noun: Any, make: Any) -> None:
    cells = {each.name: f"cell {position}" for position, each in enumerate(fields(noun))}
    made = make(*cells.values())
    assert type(made) is noun
    assert made == noun(**cells)
    assert hash(made) == hash(noun(**cells))
    assert repr(made) == repr(noun(**cells))
    with pytest.raises(FrozenInstanceError):
        setattr(made, next(iter(cells)), "another")


def test_an_exchange_that_was_made_is_one() -> None:
    made = makers.make_exchange(1, REQUEST, None, None, "", "opaque", "", 0, 7, Flags(0), (), None)
    assert made == Exchange(arrival_ns=1, request=REQUEST, connection=7)
