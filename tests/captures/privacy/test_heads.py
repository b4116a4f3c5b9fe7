import pytest

from captures.privacy.heads import Heads, http_version, reason_phrase
from captures.privacy.policy import Policy
from captures.privacy.surrogate import Surrogates, is_token

SURROGATES = Surrogates(b"k" * 32)
HEADS = Heads(Policy(), SURROGATES, derived=False)
DERIVED = Heads(Policy(), SURROGATES, derived=True)
V2 = "/v2/models/{model}/infer"


def identity(text: str) -> str:
    return SURROGATES.token("identity", text)


def test_headers_keep_order_and_spelling_of_names() -> None:
    headers = (("X-B", ""), ("content-TYPE", "text/csv"), ("X-A", "ada"), ("x-a", "ada"))
    assert HEADS.headers(headers).of_body(0) == (
        ("X-B", ""),
        ("content-TYPE", "text/csv"),
        ("X-A", identity("ada")),
        ("x-a", identity("ada")),
    )


@pytest.mark.parametrize(
    "name", ["Authorization", "cookie", "X-Vault-Token", "My-Api-Key", "X-Password", "X-Hub-Signature"]
)
def test_credentials_are_redacted_and_never_tokens(name: str) -> None:
    assert HEADS.headers(((name, "secret"),)).of_body(0) == ((name, "redacted"),)
    assert DERIVED.headers(((name, "redacted"),)).of_body(0) == ((name, "redacted"),)


def test_headers_of_other_names_are_left_out() -> None:
    assert HEADS.headers(((":authority", "x"), ("x_y", "1"), ("user-12345", "1"), ("a" * 42, "1"))).of_body(0) == ()


def test_content_length_says_what_is_kept() -> None:
    assert HEADS.headers((("Content-Length", "078051120"),)).of_body(77) == (("Content-Length", "77"),)


def test_a_header_of_the_users_choice_is_kept_where_it_reads_like_a_name() -> None:
    heads = Heads(Policy(headers_kept=("x-region", "x-token-kind")), SURROGATES, derived=False)
    headers = (("X-Region", "eu-west-1"), ("X-Region", "ada@example.org"), ("X-Token-Kind", "short"))
    assert heads.headers(headers).of_body(0) == (
        ("X-Region", "eu-west-1"),
        ("X-Region", identity("ada@example.org")),
        ("X-Token-Kind", "short"),
    )


def test_the_same_id_joins_across_header_query_and_path() -> None:
    ((_, value),) = HEADS.headers((("X-User", "ada lovelace"),)).of_body(0)
    assert HEADS.target("/ada%20lovelace?u=ada+lovelace", "/{}") == (f"/{value}?u={value}", True)


@pytest.mark.parametrize(
    ("target", "template", "kept"),
    [
        ("/v2/models/iris/infer", V2, "/v2/models/iris/infer"),
        ("/v1/models/iris:predict", "/v1/models/{model}:predict", "/v1/models/iris:predict"),
        ("/v2/models/iris/infer?", V2, "/v2/models/iris/infer"),
        ("/v2/models/iris/infer#x", V2, "/v2/models/iris/infer"),
        ("http://ada/v2/models/iris/infer", V2, "/v2/models/iris/infer"),
        ("*", "/*", "*"),
        ("/", "/", "/"),
    ],
)
def test_paths_that_stay(target: str, template: str, kept: str) -> None:
    assert HEADS.target(target, template) == (kept, False)


def test_segments_are_replaced_one_by_one() -> None:
    kept, altered = HEADS.target(
        "/v1/models/a%40b.org/versions/1718123456:predict", "/v1/models/{model}/versions/{version}:predict"
    )
    assert altered
    version = SURROGATES.token("name", "1718123456")
    assert kept == f"/v1/models/{SURROGATES.token('name', 'a@b.org')}/versions/{version}:predict"


def test_query_names_stay_where_they_read_like_names() -> None:
    kept, altered = HEADS.target("/v2/models/iris/infer?limit=3&ada%40x=1&flag&x=&", V2)
    assert not altered
    named = SURROGATES.token("name", "ada@x")
    assert kept == f"/v2/models/iris/infer?limit={identity('3')}&{named}={identity('1')}&{identity('flag')}&x=&"


def test_paths_of_the_users_choice_are_kept() -> None:
    heads = Heads(Policy(paths_kept=("/score/*",)), SURROGATES, derived=False)
    assert heads.target("/score/blue", "/score/{}") == ("/score/blue", False)
    assert heads.target("/other/blue", "/{}/{}")[1]


def test_tokens_stay_where_the_source_was_a_recording() -> None:
    token = identity("ada")
    assert DERIVED.headers((("X-User", token), ("X-Shadowtape-Run", "run-1"))).of_body(0) == (
        ("X-User", token),
        ("X-Shadowtape-Run", "run-1"),
    )
    assert DERIVED.target(f"/{token}?u={token}", "/{}") == (f"/{token}?u={token}", False)
    assert HEADS.headers((("X-User", token),)).of_body(0) != (("X-User", token),)


def test_model_names_stay_where_they_read_like_names() -> None:
    assert HEADS.name("iris-v2") == "iris-v2"
    assert HEADS.name("") == ""
    assert is_token(HEADS.name("ada@example.org"))


@pytest.mark.parametrize(
    ("status", "reason", "kept"),
    [
        (200, "OK", "OK"),
        (200, "ada", "OK"),
        (413, "Request Entity Too Large", "Request Entity Too Large"),
        (799, "ada", ""),
        (200, "", ""),
    ],
)
def test_reason_phrases_are_the_standard_ones(status: int, reason: str, kept: str) -> None:
    assert reason_phrase(status, reason) == kept


def test_http_versions_are_the_known_ones() -> None:
    assert [http_version(version) for version in ("HTTP/1.0", "HTTP/2", "ada")] == ["HTTP/1.0", "HTTP/2", "HTTP/1.1"]
