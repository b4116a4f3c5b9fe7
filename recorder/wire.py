"""An exchange as it stood on the wire: what a source that frames bytes hands on, and the spool decodes.

Heads are kept as the bytes they came as, from the first of the start line to the last of the empty line. Bodies are without their
transfer coding: a chunk of ours is body bytes that arrived together, not a chunk of HTTP/1.1.
"""

from dataclasses import dataclass, field

from captures.exchange import FailureKind

type Chunks = list[tuple[int, bytes]]


@dataclass(slots=True)
class WireBody:
    """``size``: bytes on the wire, without transfer coding; ``held``: those kept. ``end_ns`` -1: the end never came."""

    chunks: Chunks = field(default_factory=list)
    size: int = 0
    held: int = 0
    end_ns: int = -1
    truncated: bool = False


@dataclass(slots=True)
class WireExchange:
    """In the making, then handed on once and not touched again. ``response_head`` b"": none came. ``failed_ns`` is the time of
    ``failure``.
    """

    arrival_ns: int
    connection: int
    request_head: bytes
    request: WireBody = field(default_factory=WireBody)
    response_head: bytes = b""
    first_ns: int = -1
    response: WireBody = field(default_factory=WireBody)
    failure: FailureKind = FailureKind.NONE
    failed_ns: int = -1
