"""The header of a capture: who wrote it, from what, under which policy, and when its clock started."""

import hashlib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Literal

import msgpack

from captures.frame import LIMITS, SYNC_SIZE, FrameError
from captures.index import MOST_CONTAINERS, few_containers

ID_SIZE = 16
KINDS = ("recording", "derived", "run")


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """``wall_ns`` and ``expires_ns`` are unix time in ns; every other time in the file counts from the monotonic zero
    that ``wall_ns`` anchors. Raises ValueError.
    """

    file_id: bytes
    recording_id: bytes
    number: int = 1
    kind: Literal["recording", "derived", "run"] = "recording"
    wall_ns: int
    producer: str
    policy: Mapping[str, object] = field(default_factory=dict)
    policy_digest: str = ""
    key_id: str = ""
    sampling_rate: float = 1.0
    source_digests: tuple[str, ...] = ()
    inputs: tuple[Mapping[str, object], ...] = ()
    notes: Mapping[str, object] = field(default_factory=dict)
    expires_ns: int = 0
    labels: tuple[str, ...] = ()  # names of the label columns, sorted
    oldest: int = 1  # the lowest number of the recording that was still kept when this file was begun
    oldest_of: Mapping[str, int] = field(default_factory=dict)  # the same of other recordings, by their id in hex
    encryption: Mapping[str, object] = field(default_factory=dict)  # {"cipher": …, "key_id": …}; empty: in clear

    def __post_init__(self) -> None:
        if len(self.file_id) != ID_SIZE or len(self.recording_id) != ID_SIZE:
            raise ValueError(f"file_id and recording_id are {ID_SIZE} bytes")
        if self.kind not in KINDS:
            raise ValueError(f"kind is one of {', '.join(KINDS)}")
        if len(set(self.labels)) != len(self.labels) or "" in self.labels:
            raise ValueError("a label has a name, and no two have the same")
        if abs(self.wall_ns) >= LIMITS["time"]:
            raise ValueError("wall_ns is beyond what a capture can hold")


def source_digest(recording_id: bytes, host: str, port: int) -> str:
    """Recognises a server without naming it: the same host and port give another digest in every recording, and the same one in
    what is derived from it.
    """
    return hashlib.blake2b(recording_id + f"{host}:{port}".encode(), digest_size=16).hexdigest()


def pack_header(header: Header, sync: bytes) -> bytes:
    """The payload of the header piece. ``sync``: the marker in front of every segment."""
    if len(sync) != SYNC_SIZE:
        raise ValueError(f"a sync marker is {SYNC_SIZE} bytes")
    record = {item.name: getattr(header, item.name) for item in fields(Header)}
    packed: bytes = msgpack.packb(record | {"sync": sync}, unicode_errors="surrogatepass")
    return packed


def unpack_header(payload: bytes) -> tuple[Header, bytes]:
    """The header and the sync marker. Unknown keys are ignored. Raises FrameError."""
    try:
        record = msgpack.unpackb(
            payload, unicode_errors="surrogatepass", strict_map_key=False, **few_containers(MOST_CONTAINERS)
        )
        known = {item.name: record[item.name] for item in fields(Header) if item.name in record or _required(item.name)}
        for name in ("source_digests", "inputs", "labels"):
            known[name] = tuple(known.get(name, ()))
        header = Header(**known)
        sync = record["sync"]
        checked = (
            all(isinstance(known.get(name, 0), int) for name in ("number", "wall_ns", "expires_ns", "oldest"))
            and all(isinstance(known.get(name, {}), dict) for name in ("policy", "notes", "oldest_of", "encryption"))
            and all(type(lowest) is int for lowest in header.oldest_of.values())
            and all(isinstance(known.get(name, ""), str) for name in ("producer", "policy_digest", "key_id"))
            and all(isinstance(name, str) for name in header.labels)
            and isinstance(header.sampling_rate, int | float)
            and isinstance(sync, bytes)
            and len(sync) == SYNC_SIZE
        )
    except (ValueError, TypeError, KeyError, msgpack.UnpackException) as error:
        raise FrameError(f"the header record is not one: {error}") from error
    if not checked:
        raise FrameError("the header record has a key of the wrong type")
    return header, sync


def _required(name: str) -> bool:
    return any(
        item.name == name and item.default is MISSING and item.default_factory is MISSING for item in fields(Header)
    )
