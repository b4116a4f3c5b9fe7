"""How clients reach a relay, as a user chose it."""

from pathlib import Path

import pytest

from captures.errors import UsageError
from recorder.modes import Mode, Tls, chosen_mode, parse_mode
from recorder.options import Address, Upstream

SERVER = Upstream("http", Address("model", 8000))


@pytest.mark.parametrize(
    ("mode", "upstream", "expected"),
    [
        ("reverse", "http://model:8000", Mode("reverse", SERVER)),
        ("reverse:http://model:8000", None, Mode("reverse", SERVER)),
        ("regular", None, Mode("regular")),
        ("transparent", None, Mode("transparent")),
        ("upstream:http://model:8000", None, Mode("upstream", SERVER)),
    ],
)
def test_modes_as_people_write_them(mode: str, upstream: str | None, expected: Mode) -> None:
    assert chosen_mode(mode, upstream) == expected


@pytest.mark.parametrize(
    ("mode", "upstream", "why"),
    [
        ("reverse", None, "^--upstream: name the server"),
        ("reverse", "model:8000", "^--upstream 'model:8000'"),
        ("regular", "http://model", "^--upstream http://model: with --mode regular clients say where to"),
        ("upstream:http://proxy:1", "http://model", "^--upstream http://model: with --mode upstream"),
        ("upstream", None, "^--mode 'upstream': write"),
        ("regular:http://model", None, "^--mode 'regular:http://model': write"),
        ("socks5", None, "^--mode 'socks5': write"),
        ("upstream:model", None, "^--mode 'model': write http://HOST:PORT"),
    ],
)
def test_a_mode_that_cannot_work_is_refused(mode: str, upstream: str | None, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        chosen_mode(mode, upstream)


def test_mitmproxy_is_not_asked_to_listen_for_http3() -> None:
    assert parse_mode("reverse:https://model").spec == "reverse:tls://model:443"
    assert parse_mode("upstream:https://proxy:1").spec == "upstream:https://proxy:1"
    assert parse_mode("regular").spec == "regular"


def test_who_does_not_check_is_warned() -> None:
    assert "not checked" in Tls(insecure=True).warning
    assert not Tls().warning


@pytest.mark.parametrize("field", ["key", "upstream_key"])
def test_a_key_without_its_certificate_is_refused(field: str) -> None:
    with pytest.raises(UsageError, match=r"-key k\.pem: it is the key of --\w+-cert; name that too"):
        Tls(**{field: Path("k.pem")})  # type: ignore[arg-type]  # the field is one of paths
