"""What a body means: ``Body`` = Tensors | Document | TokenStream | Opaque, with the role of every value.

Nouns only. A `Tensor` is as in the Open Inference Protocol (name, shape, datatype, data); ``data`` is a flat or shaped
numpy array, object dtype for BYTES and strings.
"""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray


class Role(StrEnum):
    FEATURE = "feature"
    PREDICTION = "prediction"
    NAME = "name"  # what the model's schema calls things: tensors, features, models
    CONTROL = "control"  # closed vocabulary of the protocol: datatypes, content types, flags
    TEXT = "text"
    IDENTITY = "identity"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Tensor:
    name: str
    datatype: str  # as in the Open Inference Protocol: FP32, INT64, BOOL, BYTES, …
    shape: tuple[int, ...]
    data: NDArray[np.generic]
    role: Role

    @property
    def batch(self) -> int:
        """The first axis; 1 for a scalar."""
        return self.shape[0] if self.shape else 1


@dataclass(frozen=True, slots=True)
class Tensors:
    tensors: tuple[Tensor, ...]
    model: str = ""
    model_version: str = ""


@dataclass(frozen=True, slots=True)
class Document:
    """JSON no codec of ours gives meaning to: an error body, metadata."""

    value: object


@dataclass(frozen=True, slots=True)
class TokenStream:
    """Reassembled text of a streamed answer (filled by later codecs)."""

    text: str
    at_ns: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Opaque:
    """Bytes nobody claims to understand, and why."""

    why: str
    size: int


type Body = Tensors | Document | TokenStream | Opaque
