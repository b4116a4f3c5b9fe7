"""Tell a compressed body by its first bytes. Compressed bodies are not read yet: they stay Opaque, "content-encoding"."""

_GZIP = b"\x1f\x8b"  # RFC 1952 §2.3.1
_ZSTD = b"\x28\xb5\x2f\xfd"  # RFC 8878 §3.1.1
_ZLIB = tuple(bytes((0x78, flags)) for flags in (0x01, 0x5E, 0x9C, 0xDA))  # RFC 1950 §2.2, 32 KiB window


def is_compressed(body: bytes) -> bool:
    """No JSON text starts with any of these. Brotli has no magic number: it is just not JSON."""
    return body.startswith((_GZIP, _ZSTD, *_ZLIB))
