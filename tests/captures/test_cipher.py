"""Pieces that only the key opens, and only in their place."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from captures.cipher import KEY_BYTES, OUTSIDE, PieceCipher, fingerprint
from captures.frame import CIPHER_OVERHEAD, NONCE_SIZE, FrameError, Kind
from captures.testing import flip

KEY, OTHER = bytes(range(KEY_BYTES)), bytes(KEY_BYTES)
HEADER = b"the payload of a header piece"


def sealed(payload: bytes = b"payload", cipher: PieceCipher | None = None) -> bytes:
    return (cipher or PieceCipher(KEY, HEADER)).seal(Kind.BODIES, 100, 3, 5, payload, flags=3)


@given(st.binary(max_size=100), st.integers(0, OUTSIDE), st.integers(0, 2**32 - 1), st.integers(0, 255))
def test_what_is_sealed_opens_with_the_same_key_in_the_same_place(
    payload: bytes, segment: int, piece: int, kind: int
) -> None:
    stored = PieceCipher(KEY, HEADER).seal(kind, 7, segment, piece, payload, flags=2)

    assert len(stored) == len(payload) + CIPHER_OVERHEAD
    assert PieceCipher(KEY, HEADER).open(kind, 7, segment, piece, stored, flags=2) == payload


@pytest.mark.parametrize(
    "attempt",
    [
        lambda stored: PieceCipher(OTHER, HEADER).open(Kind.BODIES, 100, 3, 5, stored, flags=3),
        lambda stored: PieceCipher(KEY, HEADER + b"!").open(Kind.BODIES, 100, 3, 5, stored, flags=3),
        lambda stored: PieceCipher(KEY, HEADER).open(Kind.HEADS, 100, 3, 5, stored, flags=3),
        lambda stored: PieceCipher(KEY, HEADER).open(Kind.BODIES, 101, 3, 5, stored, flags=3),
        lambda stored: PieceCipher(KEY, HEADER).open(Kind.BODIES, 100, 4, 5, stored, flags=3),
        lambda stored: PieceCipher(KEY, HEADER).open(Kind.BODIES, 100, 3, 6, stored, flags=3),
        lambda stored: PieceCipher(KEY, HEADER).open(Kind.BODIES, 100, 3, 5, stored, flags=2),
        lambda stored: PieceCipher(KEY, HEADER).open(Kind.BODIES, 100, 3, 5, stored[:-1], flags=3),
        lambda stored: PieceCipher(KEY, HEADER).open(Kind.BODIES, 100, 3, 5, stored + b"!", flags=3),
    ],
    ids=["key", "header", "kind", "raw", "segment", "piece", "flags", "shorter", "longer"],
)
def test_nothing_opens_with_another_key_or_in_another_place(attempt: Callable[[bytes], bytes]) -> None:
    with pytest.raises(FrameError, match="does not decrypt"):
        attempt(sealed())


def test_no_changed_byte_is_believed() -> None:
    stored = sealed()

    for offset in range(len(stored)):
        with pytest.raises(FrameError, match=r"does not decrypt.*bodies"):
            PieceCipher(KEY, HEADER).open(Kind.BODIES, 100, 3, 5, flip(stored, offset, 1), flags=3)


def test_less_than_nonce_and_tag_is_no_piece() -> None:
    with pytest.raises(FrameError, match="too short"):
        PieceCipher(KEY, HEADER).open(Kind.BODIES, 100, 3, 5, sealed()[: CIPHER_OVERHEAD - 1], flags=3)


def test_a_nonce_is_given_out_once() -> None:
    cipher = PieceCipher(KEY, HEADER)
    pieces = [sealed(cipher=cipher) for _ in range(300)]

    assert len({piece[:NONCE_SIZE] for piece in pieces}) == 300


def test_files_of_one_key_share_no_key() -> None:
    """The same nonce, place and payload in two files: nothing of the two ciphertexts agrees."""
    ours, theirs = sealed(bytes(32)), sealed(bytes(32), PieceCipher(KEY, b"another header"))

    assert ours[:NONCE_SIZE] == theirs[:NONCE_SIZE]
    assert ours[NONCE_SIZE:] != theirs[NONCE_SIZE:]


def test_a_second_implementation_can_be_checked_against_this() -> None:
    """docs/format.md, "Encryption", with the key 00 01 … 1f and an example header: changing this makes files unreadable."""
    assert fingerprint(KEY) == "27a59192eb33fe6c"
    assert sealed().hex() == "000000000000000000000000593717e73c35dc167a44e75a16c8585dd17689eb4f809d"


def test_a_key_of_another_length_is_a_misuse() -> None:
    for wrong in (b"", bytes(16), bytes(33)):
        with pytest.raises(ValueError, match="32 bytes"):
            PieceCipher(wrong, HEADER)
