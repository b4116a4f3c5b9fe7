"""The header record."""

import msgpack
import pytest

from captures.frame import FrameError
from captures.header import Header, pack_header, source_digest, unpack_header
from captures.testing import EXAMPLE_SYNC, example_header


def test_a_header_reads_back() -> None:
    header = example_header(
        number=3,
        kind="derived",
        policy={"keep": ["a"], "deep": {"b": 1}},
        policy_digest="abc",
        key_id="k1",
        sampling_rate=0.25,
        source_digests=("aa", "bb"),
        inputs=({"path": "a.tape", "digest": "d"},),
        notes={"why": "test"},
        expires_ns=5,
        labels=("region", "tier"),
        oldest=2,
        encryption={"cipher": "AES-256-GCM", "key_id": "00"},
    )

    assert unpack_header(pack_header(header, EXAMPLE_SYNC)) == (header, EXAMPLE_SYNC)


def test_unknown_keys_are_ignored_and_optional_ones_may_be_missing() -> None:
    record = {
        "file_id": b"f" * 16,
        "recording_id": b"r" * 16,
        "wall_ns": 1,
        "producer": "p",
        "sync": b"s" * 16,
        "new": 1,
    }

    header, _ = unpack_header(msgpack.packb(record))

    assert header == Header(file_id=b"f" * 16, recording_id=b"r" * 16, wall_ns=1, producer="p")


@pytest.mark.parametrize(
    "change",
    [
        {"file_id": b"short"},
        {"file_id": None},
        {"wall_ns": "1"},
        {"policy": []},
        {"kind": "other"},
        {"sync": b"short"},
        {"sampling_rate": "all"},
        {"inputs": 5},
        {"producer": 1},
        {"labels": 5},
        {"labels": [1]},
        {"labels": ["a", "a"]},
        {"labels": [""]},
        {"oldest": "1"},
        {"encryption": []},
    ],
)
def test_a_header_of_the_wrong_shape_is_damage(change: dict[str, object]) -> None:
    record = msgpack.unpackb(pack_header(example_header(), EXAMPLE_SYNC))

    with pytest.raises(FrameError, match="header"):
        unpack_header(msgpack.packb(record | change))


@pytest.mark.parametrize("payload", [b"", b"\xc1", b"\x93\x01\x02\x03", b"\x80"])
def test_no_map_is_damage(payload: bytes) -> None:
    with pytest.raises(FrameError):
        unpack_header(payload)


def test_misuse_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="16 bytes"):
        example_header(file_id=b"short")
    with pytest.raises(ValueError, match="label"):
        example_header(labels=("a", "b", "a"))
    with pytest.raises(ValueError, match="kind"):
        example_header(kind="other")
    with pytest.raises(ValueError, match="sync"):
        pack_header(example_header(), b"short")


def test_a_source_digest_depends_on_the_recording() -> None:
    assert source_digest(b"a" * 16, "h", 1) == source_digest(b"a" * 16, "h", 1)
    assert source_digest(b"a" * 16, "h", 1) != source_digest(b"b" * 16, "h", 1)
    assert source_digest(b"a" * 16, "h", 1) != source_digest(b"a" * 16, "h", 2)
