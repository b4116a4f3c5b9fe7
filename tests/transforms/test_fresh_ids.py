import json
import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from captures.codecs.oip_v2 import OipV2
from transforms.fresh_ids import FreshIds, fresh
from transforms.schedule import Rows

UUID = "123e4567-e89b-42d3-a456-426614174000"
WORDS = st.integers(0, 2**64 - 1)
BODY = '{{"id": {id}, "inputs": [{{"name": "x", "shape": [1], "datatype": "FP64", "data": [1.50]}}]}}'


def rows(body: bytes, variants: list[int], headers: tuple[tuple[str, str], ...] = ()) -> Rows:
    n = len(variants)
    return Rows(
        codec=OipV2(),
        source=np.arange(n, dtype=np.int64),
        variant=np.array(variants, dtype=np.uint32),
        targets=["/v2/models/m/infer"] * n,
        headers=[headers] * n,
        bodies=[body] * n,
    )


@given(st.text(st.characters(codec="utf-8"), max_size=70), WORDS)
def test_a_fresh_id_has_the_length_of_the_old_one(old: str, word: int) -> None:
    assert len(fresh(old, word)) == len(old)
    assert fresh(old, word) == fresh(old, word)


@given(WORDS)
def test_a_uuid_stays_a_uuid_of_its_version(word: int) -> None:
    assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-a[0-9a-f]{3}-[0-9a-f]{12}", fresh(UUID, word))


@pytest.mark.parametrize(
    ("old", "form"),
    [
        ("0012", r"\d{4}"),
        ("req-AB9", r"[a-z]{3}-[A-Z]{2}\d"),
        ("stk1_ab2c", r"stk1_[a-z2-7]{4}"),
        ("DEADBEEF0", r"[0-9A-F]{9}"),
    ],
)
def test_a_fresh_id_keeps_the_alphabet(old: str, form: str) -> None:
    for word in range(200):
        assert re.fullmatch(form, fresh(old, word))


def test_copies_get_new_ids_and_nothing_else_changes() -> None:
    body = BODY.format(id=json.dumps(UUID)).encode()
    new = FreshIds(5)(rows(body, [0, 1, 2])).bodies
    ids = [json.loads(one)["id"] for one in new]

    assert new[0] == body
    assert len({UUID, *ids}) == 3
    assert [one.split(b", ", 1)[1] for one in new] == [body.split(b", ", 1)[1]] * 3


def test_ids_that_are_equal_stay_equal_within_a_copy() -> None:
    body = BODY.format(id='"seq-1"').encode()
    given_rows = rows(body, [1, 1, 2], (("X-Request-Id", "seq-1"), ("accept", "seq-1")))
    new = FreshIds(5)(given_rows)
    ids = [json.loads(one)["id"] for one in new.bodies]

    assert ids[0] == ids[1] != ids[2]
    assert [dict(headers)["X-Request-Id"] for headers in new.headers] == ids
    assert all(dict(headers)["accept"] == "seq-1" for headers in new.headers)


def test_sequence_ids_are_fresh_too_and_stay_numbers() -> None:
    body = (
        b'{"parameters": {"sequence_id": 90071, "sequence_start": true}, '
        b'"inputs": [{"name": "x", "shape": [1], "datatype": "FP64", "data": [1]}]}'
    )
    new = json.loads(FreshIds(5)(rows(body, [1])).bodies[0])

    assert new["parameters"]["sequence_id"] != 90071
    assert 10_000 <= new["parameters"]["sequence_id"] <= 99_999
    assert new["parameters"]["sequence_start"] is True


@given(WORDS, st.integers(1, 2**64 - 1))
def test_numbers_stay_within_the_machine_integer_they_fitted(key: int, number: int) -> None:
    body = (
        b'{"parameters": {"sequence_id": %d}, "inputs": [{"name": "x", "shape": [1], "datatype": "FP64", "data": [1]}]}'
        % number
    )
    new = json.loads(FreshIds(key >> 1)(rows(body, [1])).bodies[0])["parameters"]["sequence_id"]

    assert len(str(new)) == len(str(number))
    assert all(new < 2**bits for bits in (31, 32, 53, 63, 64) if number < 2**bits)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b'{"id": "a\\u0041b", "inputs": []}',
        b'{"id": null, "inputs": []}',
        b'{"id": 1.5, "inputs": []}',
    ],
)
def test_what_cannot_be_read_as_an_id_is_left_alone(body: bytes) -> None:
    assert FreshIds(5)(rows(body, [1])).bodies == [body]


def test_opaque_rows_keep_their_bodies() -> None:
    body = BODY.format(id='"a"').encode()
    opaque = replace(rows(body, [1]), codec=None)

    assert FreshIds(5)(opaque).bodies == [body]
