"""The two models on the real rows, and the protocol in front of them."""

import json

import numpy as np
import pytest

from shadowtape_demo.housing import FEATURES, load
from shadowtape_demo.models import MODELS, Model, train
from shadowtape_demo.protocol import BadRequestError, infer, metadata
from shadowtape_demo.server import application

pytestmark = pytest.mark.slow  # imports scikit-learn and trains


@pytest.fixture(scope="module")
def models() -> dict[str, Model]:
    reference = load("reference")
    return {name: train(name, reference) for name in MODELS}


def request(rows: list[list[float]], names: tuple[str, ...] = FEATURES) -> bytes:
    columns = zip(names, zip(*rows, strict=True), strict=True)
    inputs = [{"name": n, "shape": [len(rows), 1], "datatype": "FP64", "data": list(column)} for n, column in columns]
    return json.dumps({"id": "7", "inputs": inputs}).encode()


def test_the_data_is_what_its_readme_says() -> None:
    assert load("reference").features.shape == (5832, 8)
    assert load("analysis").features.shape == (8232, 8)
    assert set(load("analysis").labels.tolist()) == {0, 1}


def test_both_models_learned_something_and_differ_a_little(models: dict[str, Model]) -> None:
    analysis = load("analysis")
    baseline, _ = models["baseline"].predict(analysis.features)
    columns = [FEATURES.index(name) for name in models["candidate"].features]
    candidate, _ = models["candidate"].predict(analysis.features[:, columns])

    assert all(model.accuracy(analysis) > 0.75 for model in models.values())
    assert 0.90 < (baseline == candidate).mean() < 0.995


def test_a_request_is_answered_with_a_label_and_its_score(models: dict[str, Model]) -> None:
    analysis = load("analysis")

    answer = infer(models["baseline"], request(analysis.features[:3].tolist()))

    label, score = answer["outputs"]
    labels, scores = models["baseline"].predict(analysis.features[:3])
    assert answer["id"] == "7"
    assert (label["name"], label["datatype"], label["shape"], label["data"]) == (
        "label",
        "INT64",
        [3, 1],
        labels.tolist(),
    )
    assert (score["name"], score["datatype"], score["data"]) == ("score", "FP64", scores.tolist())


def test_inputs_are_found_by_name_and_unknown_ones_ignored(models: dict[str, Model]) -> None:
    row = load("analysis").features[0].tolist()
    backwards = json.loads(request([row]))
    backwards["inputs"].reverse()
    backwards["inputs"].append({"name": "Remark", "shape": [1, 1], "datatype": "BYTES", "data": ["call back"]})

    answer = infer(models["candidate"], json.dumps(backwards).encode())

    assert answer == infer(models["candidate"], request([row]))


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (b"{", "not JSON"),
        (b"[]", "no list of inputs"),
        (b'{"inputs": 3}', "no list of inputs"),
        (request([[1.0] * 7], FEATURES[:7]), "missing inputs: Longitude"),
        (request([[1.0] * 7 + ["x"]]), "not numbers"),  # type: ignore[list-item]  # wrong on purpose
        (b'{"inputs": [' + b",".join(b'{"name": "%s"}' % name.encode() for name in FEATURES) + b"]}", "not numbers"),
    ],
)
def test_a_bad_request_gets_one_line(models: dict[str, Model], body: bytes, complaint: str) -> None:
    with pytest.raises(BadRequestError, match=complaint):
        infer(models["baseline"], body)


def test_metadata_names_the_inputs_a_model_looks_at(models: dict[str, Model]) -> None:
    assert [tensor["name"] for tensor in metadata(models["candidate"])["inputs"]] == list(models["candidate"].features)


def test_training_twice_gives_the_same_scores(models: dict[str, Model]) -> None:
    rows = load("analysis").features[:50]
    again = train("baseline", load("reference"))

    np.testing.assert_array_equal(models["baseline"].predict(rows)[1], again.predict(rows)[1])


def test_the_server_has_the_routes_of_the_protocol(models: dict[str, Model]) -> None:
    paths = {resource.canonical for resource in application(models["baseline"]).router.resources()}

    assert {"/v2/models/housing/infer", "/v2/models/housing", "/v2/health/live", "/v2/health/ready"} <= paths
