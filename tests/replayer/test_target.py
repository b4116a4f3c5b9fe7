import pytest

from captures.errors import UsageError
from replayer.target import parse_target


@pytest.mark.parametrize(
    ("text", "url", "port"),
    [
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080", 8080),
        ("http://LocalHost/", "http://localhost", 80),
        ("https://model.example./v2/", "https://model.example/v2", 443),
        ("http://[::1]:9000/a/b", "http://[::1]:9000/a/b", 9000),
        ("https://model.example:443", "https://model.example", 443),
        ("http://bücher.example", "http://xn--bcher-kva.example", 80),
    ],
)
def test_a_target_is_read_and_written_in_one_form(text: str, url: str, port: int) -> None:
    target = parse_target(text, "baseline")

    assert (target.url, target.port, target.role) == (url, port, "baseline")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "127.0.0.1:8080",
        "localhost",
        "ftp://host",
        "file:///etc/passwd",
        "http://",
        "http:///path",
        "http://host:99999",
        "http://host:0",
        "http://host:port",
        "http://ho st",
        "http://host/a b",
        "http://host?x=1",
        "http://host/#x",
        "http://[::1",
        "http://[nonsense]:80",
        "http://a..b",
        "http://127.0.0.1\\@evil.example/",
        "http://host%2eevil/",
    ],
)
def test_anything_else_is_refused_with_one_line(text: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse_target(text)

    assert "\n" not in str(refused.value)
    assert str(refused.value).startswith("--target")


def test_a_password_in_a_url_is_refused_and_not_repeated() -> None:
    with pytest.raises(UsageError, match="from the environment") as refused:
        parse_target("http://user:hunter2@host")

    assert "hunter2" not in str(refused.value)
    with pytest.raises(UsageError) as refused:
        parse_target("ftp://user:hunter2@host")
    assert "hunter2" not in str(refused.value)
