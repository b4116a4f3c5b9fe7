"""The codec seam: an inference wire format, bytes <-> Body. Compression is never called a codec.

A codec takes batches of one route (design.md §3); ``captures.testing.check_codec`` proves that a batch gives what its rows
give one by one. Offsets in a `Leaf` point into the body as it came, so that whoever replaces a value (the policy,
a rewrite) leaves every other byte alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from captures.codecs.body import Body, Role
from captures.exchange import Request

type Side = Literal["request", "response"]


@dataclass(frozen=True, slots=True)
class Claim:
    """What a path says: whose protocol, which route, which model, and whether the call is inference at all."""

    codec: str
    route: str  # "POST /v2/models/{model}/infer"
    model: str = ""
    model_version: str = ""
    inference: bool = True


@dataclass(frozen=True, slots=True)
class Leaf:
    """A span of a JSON body: ``body[start:stop]``. ``kind`` says what stands there: "string" (quotes included),
    "key" (an object's key, quotes included), "number", "literal" (true, false, null, NaN, Infinity),
    "numbers" (a whole nested array of nothing but numbers and literals). ``name`` is the feature, tensor or key the value
    belongs to, where it has one.

    Roles of strings: CONTROL only for a word of the protocol's closed vocabulary, NAME for what the model's schema calls things;
    keys: CONTROL is the protocol's own, NAME a feature's or tensor's, OTHER unknown. A role may depend on the path, on keys,
    names and control words and on how many numbers an array holds up to four, never on a number or on a string of another
    role: policies are compiled once per shape of body.
    """

    path: tuple[str | int, ...]
    start: int
    stop: int
    kind: Literal["string", "key", "number", "literal", "numbers"]
    role: Role
    name: str = ""


class Codec(Protocol):
    """Closed error contract: ``decode``, ``leaves`` and ``encode_features`` raise `CodecError` and nothing else."""

    name: str
    """Part of the data: rename it when its meaning changes."""

    # Optional: ``control_words: frozenset[str]``, every text that makes a string CONTROL. With it, bodies that differ in other
    # strings are pseudonymised by a plan; without it, each leaf by leaf.

    def claims(self, request: Request) -> Claim | None:
        """Cheap: method, path and content type only. None: not mine."""
        ...

    def decode(self, bodies: Sequence[bytes], side: Side) -> list[Body | Exception]:
        """One entry per body; a body that cannot be read gives a `CodecError` in its place."""
        ...

    def leaves(self, body: bytes, side: Side) -> list[Leaf]:
        """Every leaf and key of the body with its role, in order of ``start``, none overlapping."""
        ...

    def features(self, bodies: Sequence[Body]) -> Mapping[str, tuple[NDArray[np.float64], NDArray[np.int64]]]:
        """Numeric feature columns by name (``name``, ``name[i]`` or ``[i]``): (values, owner), where ``owner[k]`` is the
        position in ``bodies`` that ``values[k]`` belongs to; a body of batch b owns b consecutive values.
        """
        ...

    def encode_features(
        self, bodies: Sequence[bytes], columns: Mapping[str, Sequence[NDArray[np.float64]]]
    ) -> list[bytes]:
        """Each body with its values of the named columns replaced (``columns[name][i]`` has body i's batch length;
        an empty array leaves body i alone). Only the touched numbers differ; untouched bodies are byte-identical.
        Integer datatypes are rounded and clipped to their range.
        """
        ...
