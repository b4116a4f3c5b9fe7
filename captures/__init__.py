"""What was said on the wire, how it is kept and read. Imports no other package of the project.

Exchange: one request and what came back, with the time of every chunk · Chunk: body bytes that arrived together · Capture: a file of
exchanges · Segment: a compressed, checksummed run of exchanges, the unit of loss, seek and memory · Codec: an inference protocol ·
Body: what a codec made of bytes · Tensor: as in the Open Inference Protocol · Policy, Surrogate, Token: what may be
kept, what replaces it (pseudonymisation; never called anonymous or safe).
"""

from captures.exchange import Chunk, Exchange, Failure, FailureKind, Flags, Origin, Request, Response
from captures.reader import Capture, Damage
from captures.store import open_capture as open  # noqa: A004 - `captures.open(path)` is how a notebook reads one

__all__ = [
    "Capture",
    "Chunk",
    "Damage",
    "Exchange",
    "Failure",
    "FailureKind",
    "Flags",
    "Origin",
    "Request",
    "Response",
    "open",
]
