"""The beginning of a file: magic, version, header, and whether the key that was given fits."""

from dataclasses import dataclass

from captures.cipher import CIPHER, PieceCipher, fingerprint
from captures.errors import CaptureError
from captures.frame import FORMAT_VERSION, MAGIC, MAGIC_SIZE, FrameError, Kind, Piece
from captures.header import Header, unpack_header
from captures.pieces import CutError, PieceReader

_HOW = "give it with --tape-key FILE, SHADOWTAPE_TAPE_KEY_FILE or SHADOWTAPE_TAPE_KEY"


@dataclass(frozen=True, slots=True)
class Beginning:
    """``piece``: of the header, ``payload`` its bytes. ``sync``: the marker in front of every segment."""

    version: int
    header: Header
    piece: Piece
    payload: bytes
    sync: bytes


def read_beginning(name: str, reader: PieceReader) -> Beginning:
    """Raises CaptureError: not a capture, a newer format, header damaged."""
    try:
        return _read(name, reader)
    except CutError:
        raise CaptureError(f"{name}: header damaged (the file ends inside it)") from None
    except FrameError as error:
        raise CaptureError(f"{name}: header damaged ({error}, at byte {MAGIC_SIZE})") from error


def cipher_of(name: str, beginning: Beginning, key: bytes | None) -> PieceCipher | None:
    """What decrypts the file's pieces; None: they are in clear. Raises CaptureError: no key, another key, an unknown cipher."""
    if not beginning.header.encryption or beginning.version < 2:
        return None
    cipher, wanted = (beginning.header.encryption.get(what) for what in ("cipher", "key_id"))
    if cipher != CIPHER:
        raise CaptureError(f"{name}: encrypted with {cipher}; this shadowtape knows {CIPHER}: update it")
    if key is None:
        raise CaptureError(f"{name}: encrypted, and no key was given: it needs key {wanted}; {_HOW}")
    if fingerprint(key) != wanted:
        raise CaptureError(f"{name}: encrypted with key {wanted}, and the key given is {fingerprint(key)}; {_HOW}")
    return PieceCipher(key, beginning.payload)


def _read(name: str, reader: PieceReader) -> Beginning:
    """Raises CaptureError, FrameError, CutError."""
    magic = reader.bytes_at(0, MAGIC_SIZE)
    if not magic:
        raise CaptureError(f"{name}: empty; a capture starts with a header")
    if len(magic) < MAGIC_SIZE or not magic.startswith(MAGIC):
        raise CaptureError(f"{name}: not a capture; recordings of other tools become captures by `shadowtape import`")
    version = magic[-1]
    if version > FORMAT_VERSION:
        raise CaptureError(f"{name}: format version {version}; this shadowtape reads up to {FORMAT_VERSION}: update it")
    if version == 0:
        raise CaptureError(f"{name}: header damaged (format version 0)")
    piece = reader.piece(MAGIC_SIZE, reader.size)
    payload = reader.payload(piece) if piece.kind == Kind.HEADER else b""
    header, sync = unpack_header(payload)
    return Beginning(version, header, piece, payload, sync)
