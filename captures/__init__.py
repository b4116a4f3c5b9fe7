"""What was said on the wire, how it is kept and read. Imports no other package of the project.

Exchange: one request and what came back, with the time of every chunk · Chunk: body bytes that arrived together ·
Capture: a file of exchanges · Segment: a compressed, checksummed run of exchanges, the unit of loss, seek and memory ·
Codec: an inference protocol · Body: what a codec made of bytes · Tensor: as in the Open Inference Protocol ·
Policy, Surrogate, Token: what may be kept, what replaces it (pseudonymisation; never called anonymous or safe).

``captures.open(path)`` reads a capture; see `captures.reader.Capture`.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from captures.opening import open_capture as open  # noqa: A004 - `captures.open(path)` is how a notebook reads one
    from captures.reader import Capture

__all__ = ["Capture", "open"]

_WHERE = {"Capture": ("captures.reader", "Capture"), "open": ("captures.opening", "open_capture")}


def __getattr__(name: str) -> object:
    # Lazily: the command line imports captures.errors at every start, and should not wait for numpy.
    if name not in _WHERE:
        raise AttributeError(f"module 'captures' has no attribute {name!r}")
    module, attribute = _WHERE[name]
    return getattr(importlib.import_module(module), attribute)
