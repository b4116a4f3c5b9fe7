"""What users write for a recording, and how mistakes are told."""

from pathlib import Path

import pytest

from captures.errors import UsageError
from recorder.options import (
    Address,
    Upstream,
    numbered,
    parse_address,
    parse_duration_ns,
    parse_out,
    parse_share,
    parse_upstream,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://127.0.0.1:8000", Upstream("http", Address("127.0.0.1", 8000))),
        ("http://model", Upstream("http", Address("model", 80))),
        ("https://model.svc/", Upstream("https", Address("model.svc", 443))),
        ("http://[::1]:9", Upstream("http", Address("::1", 9))),
    ],
)
def test_upstreams_as_people_write_them(text: str, expected: Upstream) -> None:
    assert parse_upstream(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "model:8000",
        "ftp://model",
        "http://",
        "http://model/v2",
        "http://model?x=1",
        "http://model:99999",
        "",
        "http://model:x",
    ],
)
def test_an_upstream_that_cannot_work_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--upstream"):
        parse_upstream(text)


def test_a_refused_upstream_never_repeats_its_password() -> None:
    with pytest.raises(UsageError) as caught:
        parse_upstream("http://user:hunter2@model")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("127.0.0.1:8080", Address("127.0.0.1", 8080)),
        (":8080", Address("0.0.0.0", 8080)),
        ("[::1]:0", Address("::1", 0)),
    ],
)
def test_listen_addresses(text: str, expected: Address) -> None:
    assert parse_address(text) == expected


@pytest.mark.parametrize("text", ["8080", "host", "host:", "host:-1", "host:65536", "host:http", "::1:80", "host:٣"])
def test_a_listen_address_that_cannot_work_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="HOST:PORT"):
        parse_address(text)


@pytest.mark.parametrize(
    ("text", "expected"), [("25%", 0.25), ("0.25", 0.25), ("100%", 1.0), ("1", 1.0), ("0.1 %", 0.001)]
)
def test_shares(text: str, expected: float) -> None:
    assert parse_share(text) == expected


@pytest.mark.parametrize("text", ["25", "0%", "0", "-5%", "101%", "a%", "", "nan"])
def test_a_share_that_means_two_things_or_nothing_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="25%"):
        parse_share(text)


@pytest.mark.parametrize(
    ("text", "seconds"), [("60s", 60), ("500ms", 0.5), ("1.5h", 5400), ("2m", 120), ("1d", 86400), ("0.1s", 0.1)]
)
def test_durations_are_exact(text: str, seconds: float) -> None:
    assert parse_duration_ns(text) == round(seconds * 1_000_000_000)


@pytest.mark.parametrize("text", ["60", "0s", "-1s", "1 week", "s", ""])
def test_a_duration_without_a_unit_or_a_length_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="60s"):
        parse_duration_ns(text)


@pytest.mark.parametrize("text", ["x", "x.tap", ".tape", "x.tape.gz", "folder/", ""])
def test_an_output_that_is_not_a_tape_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"\.tape"):
        parse_out(text)


def test_the_next_free_name_keeps_folder_and_suffix() -> None:
    assert numbered(Path("a/x.tape"), 1) == Path("a/x.tape")
    assert numbered(Path("a/x.tape"), 3) == Path("a/x-3.tape")
