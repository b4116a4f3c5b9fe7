"""A KServe Python model server with one custom model, for test_kserve_peer.py. Started as a process of its own:

``python kserve_server.py --http_port PORT --enable_grpc false --enable_latency_logging false`` (KServe reads sys.argv itself).
The model is a fixed linear classifier over three features, small enough to check by hand; the server around it is the real one.
"""

from uuid import uuid4

import numpy as np
from kserve import InferOutput, InferRequest, InferResponse, Model, ModelServer

WEIGHTS = np.array([0.9, -0.02, 0.15])
BIAS = -3.2


class Housing(Model):  # type: ignore[misc]  # kserve ships no types
    """Answers V1 (``instances``: rows of three numbers) and V2 (one FP64 tensor ``x`` of shape [n, 3])."""

    def __init__(self) -> None:
        super().__init__("housing")
        self.ready = True

    def predict(
        self,
        payload: dict[str, list[list[float]]] | InferRequest,
        headers: object = None,
        response_headers: object = None,
    ) -> dict[str, list[int]] | InferResponse:
        if not isinstance(payload, InferRequest):
            labels, _ = answer(np.array(payload["instances"], dtype=np.float64))
            return {"predictions": labels.tolist()}
        labels, scores = answer(payload.inputs[0].as_numpy())
        label = InferOutput(name="label", shape=[len(labels), 1], datatype="INT64", data=labels.tolist())
        score = InferOutput(name="score", shape=[len(scores), 1], datatype="FP64", data=scores.tolist())
        # As KServe's own servers do where the client sent no id: a fresh one with every answer.
        return InferResponse(response_id=payload.id or str(uuid4()), model_name="housing", infer_outputs=[label, score])


def answer(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    scores = 1 / (1 + np.exp(-(rows @ WEIGHTS + BIAS)))
    return (scores > 0.5).astype(np.int64), scores


if __name__ == "__main__":
    ModelServer().start([Housing()])
