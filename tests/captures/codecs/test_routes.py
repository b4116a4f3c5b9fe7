import pytest

from captures.codecs.codec import Claim
from captures.codecs.routes import Route, claim_path, path_of

TABLE = (Route("/v9/models/{model}:run", inference=True), Route("/v9/models/{model}/versions/{version}"))


def test_a_path_that_fits_a_row_is_claimed() -> None:
    assert claim_path("nine", TABLE, "POST", "/v9/models/a%20b:run?x=1") == Claim(
        codec="nine", route="POST /v9/models/{model}:run", model="a b"
    )


def test_only_post_is_inference() -> None:
    claim = claim_path("nine", TABLE, "GET", "/v9/models/a:run")
    assert claim is not None
    assert not claim.inference


def test_versions_are_told() -> None:
    claim = claim_path("nine", TABLE, "GET", "/v9/models/a/versions/7")
    assert claim is not None
    assert (claim.model, claim.model_version, claim.inference) == ("a", "7", False)


@pytest.mark.parametrize(
    "path", ["/v9/models/a:runs", "/x/v9/models/a:run", "/v9/models/a/b:run", "/v9/models/:run", ""]
)
def test_nothing_else_is_claimed(path: str) -> None:
    assert claim_path("nine", TABLE, "POST", path) is None


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("/a/b?c=/d#e", "/a/b"),
        ("http://host:80/a?b", "/a"),
        ("http://host", "/"),
        ("/r?to=http://x/y", "/r"),
        ("*", "*"),
        ("host:443", "host:443"),
    ],
)
def test_path_of_a_target(target: str, path: str) -> None:
    assert path_of(target) == path
