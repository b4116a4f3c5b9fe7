"""Which exchanges of a sampled recording are kept: a hash decides, so bursts are sampled like everything else."""

from hashlib import blake2b


def kept(seed: int, ordinal: int, rate: float) -> bool:
    """Whether the exchange that arrived as number ``ordinal`` is kept at ``rate`` (0..1). The same seed decides the same."""
    return kept_value(seed.to_bytes(8, "little"), ordinal.to_bytes(8, "little"), rate)


def kept_value(key: bytes, value: bytes, rate: float) -> bool:
    """The same of everything that shares a value, such as a session. ``key``: 64 bytes at most."""
    return int.from_bytes(blake2b(value, key=key, digest_size=8).digest(), "little") < rate * 2**64
