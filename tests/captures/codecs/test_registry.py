from importlib.metadata import EntryPoint

import pytest

from captures.codecs import registry
from captures.codecs.registry import classify, codec_named, codecs
from captures.errors import UsageError
from captures.exchange import Request


def test_built_ins_stand_with_and_without_entry_points(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(**_: str) -> tuple[object, ...]:
        return ()

    assert {codec.name for codec in codecs()} >= {"oip-v2", "kserve-v1", "opaque"}
    monkeypatch.setattr(registry, "entry_points", nothing)
    assert [codec.name for codec in codecs.__wrapped__()] == ["oip-v2", "kserve-v1", "opaque"]


def test_a_plugin_that_cannot_be_loaded_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(**_: str) -> tuple[EntryPoint, ...]:
        return (EntryPoint("toy", "no_such_package.toy:Toy", "shadowtape.codecs"),)

    monkeypatch.setattr(registry, "entry_points", broken)
    with pytest.raises(
        UsageError, match=r"codec 'toy' cannot be loaded from no_such_package\.toy:Toy: ModuleNotFoundError"
    ):
        codecs.__wrapped__()


def test_the_fallback_comes_last() -> None:
    assert codecs()[-1].name == "opaque"


def test_codecs_are_found_by_name() -> None:
    found = codec_named("oip-v2")
    assert found is not None
    assert found.name == "oip-v2"
    assert codec_named("unheard of") is None


@pytest.mark.parametrize(
    ("method", "target", "codec", "route", "inference"),
    [
        ("POST", "/v2/models/m/infer?a=b", "oip-v2", "POST /v2/models/{model}/infer", True),
        ("POST", "/v2/models/m/versions/3/infer", "oip-v2", "POST /v2/models/{model}/versions/{version}/infer", True),
        ("GET", "/v2/models/m/infer", "oip-v2", "GET /v2/models/{model}/infer", False),
        ("GET", "/v2/health/ready", "oip-v2", "GET /v2/health/ready", False),
        ("POST", "/v2/repository/index", "oip-v2", "POST /v2/repository/index", False),
        ("POST", "/v1/models/m:predict", "kserve-v1", "POST /v1/models/{model}:predict", True),
        (
            "POST",
            "/v1/models/m/labels/blue:predict",
            "kserve-v1",
            "POST /v1/models/{model}/labels/{label}:predict",
            True,
        ),
        ("GET", "/v1/models", "kserve-v1", "GET /v1/models", False),
        ("POST", "/v1/chat/completions", "opaque", "POST /v1/chat/completions", False),
        ("POST", "/users/ada", "opaque", "POST /{}/{}", False),
        ("ADA", "/", "opaque", "OTHER /", False),
    ],
)
def test_the_path_says_whose_protocol_it_is(method: str, target: str, codec: str, route: str, inference: bool) -> None:
    claim = classify(Request(method=method, target=target))
    assert (claim.codec, claim.route, claim.inference) == (codec, route, inference)


def test_very_long_paths_are_classified_but_not_remembered() -> None:
    before = registry._cached_claim.cache_info().currsize
    assert classify(Request(method="POST", target=f"/v2/models/{'m' * 1000}/infer")).codec == "oip-v2"
    assert registry._cached_claim.cache_info().currsize == before
