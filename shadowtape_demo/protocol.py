"""The Open Inference Protocol V2 as the demo's server reads it: one FP64 input tensor per feature, each of shape [n, 1]. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from shadowtape_demo.models import Model


class BadRequestError(ValueError):
    """What the client sent is not an inference request of this model; the message is the answer's ``error``."""


def infer(model: Model, body: bytes) -> dict[str, Any]:
    """Answer one request. Unknown inputs are ignored, as most servers do. Raises BadRequestError, nothing else."""
    try:
        request = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise BadRequestError("the body is not JSON") from None
    if not isinstance(request, Mapping) or not isinstance(request.get("inputs"), list):
        raise BadRequestError("the body has no list of inputs")
    labels, scores = model.predict(_matrix(model.features, request["inputs"]))
    answer: dict[str, Any] = {
        "model_name": "housing",
        "model_version": model.name,
        "outputs": [
            {"name": "label", "shape": [len(labels), 1], "datatype": "INT64", "data": labels.tolist()},
            {"name": "score", "shape": [len(scores), 1], "datatype": "FP64", "data": scores.tolist()},
        ],
    }
    if "id" in request:
        answer["id"] = request["id"]
    return answer


def metadata(model: Model) -> dict[str, Any]:
    return {
        "name": "housing",
        "versions": [model.name],
        "platform": "scikit-learn",
        "inputs": [{"name": name, "datatype": "FP64", "shape": [-1, 1]} for name in model.features],
        "outputs": [
            {"name": "label", "datatype": "INT64", "shape": [-1, 1]},
            {"name": "score", "datatype": "FP64", "shape": [-1, 1]},
        ],
    }


def _matrix(features: Sequence[str], inputs: list[Any]) -> NDArray[np.float64]:
    named = {tensor.get("name"): tensor for tensor in inputs if isinstance(tensor, Mapping)}
    if missing := [name for name in features if name not in named]:
        raise BadRequestError(f"missing inputs: {', '.join(missing)}")
    try:
        columns = [np.asarray(named[name]["data"], dtype=np.float64).reshape(-1) for name in features]
        rows = np.stack(columns, axis=1)
    except (KeyError, TypeError, ValueError):
        raise BadRequestError("inputs are not numbers of one length") from None
    if not len(rows) or not np.isfinite(rows).all():
        raise BadRequestError("inputs are empty, or not finite")
    return rows
