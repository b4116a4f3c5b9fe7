"""Which exchanges of a sampled recording are kept: a hash decides, so bursts are sampled like everything else."""

from hashlib import blake2b


def kept(seed: int, ordinal: int, rate: float) -> bool:
    """Whether the exchange that arrived as number ``ordinal`` is kept at ``rate`` (0..1). The same seed decides the same."""
    digest = blake2b(ordinal.to_bytes(8, "little"), key=seed.to_bytes(8, "little"), digest_size=8).digest()
    return int.from_bytes(digest, "little") < rate * 2**64
