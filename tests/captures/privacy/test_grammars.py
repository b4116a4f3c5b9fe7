import pytest

from captures.privacy.grammars import GRAMMARS


@pytest.mark.parametrize(
    ("name", "value", "kept"),
    [
        ("content-type", "application/json", "application/json"),
        ("content-type", "Application/JSON; Charset=UTF-8; user=ada", "application/json; charset=utf-8"),
        ("content-type", "application/x-ada", None),
        ("content-type", "*/*", None),
        ("content-type", "multipart/form-data; boundary=ada", "multipart/form-data"),
        ("accept", "text/html, application/x-ada, */*;q=0.8;ada=1", "text/html, */*; q=0.8"),
        ("accept", "ada", None),
        ("accept-encoding", "gzip, deflate;q=0.5, ada", "gzip, deflate; q=0.5"),
        ("connection", "Keep-Alive, X-Ada", "keep-alive"),
        ("transfer-encoding", "chunked", "chunked"),
        ("inference-header-content-length", "120", "120"),
        ("grpc-status", "14", "14"),
        ("inference-header-content-length", "12345678", None),
        ("user-agent", "python-requests/2.31.0 (ada)", "python-requests"),
        ("user-agent", "Mozilla/5.0 (X11; Ada)", "mozilla"),
        ("user-agent", "AdaClient/1", "other"),
    ],
)
def test_only_the_vocabulary_passes(name: str, value: str, kept: str | None) -> None:
    assert GRAMMARS[name](value) == kept


@pytest.mark.parametrize("name", sorted(GRAMMARS))
def test_what_is_kept_is_kept_again_as_it_is(name: str) -> None:
    for value in ("application/json;charset=utf-8", "gzip;q=0.5, br", "keep-alive", "7", "curl/8", "x"):
        once = GRAMMARS[name](value)
        if once is not None:
            assert GRAMMARS[name](once) == once
