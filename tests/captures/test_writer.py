"""What the writer puts where, and what a failing disk costs."""

import errno

import numpy as np
import pytest

from captures.batches import batch_of
from captures.cipher import OUTSIDE, PieceCipher, fingerprint
from captures.confessions import Confessions
from captures.frame import (
    CRC_SIZE,
    FORMAT_VERSION,
    LIMITS,
    MAGIC_SIZE,
    NONCE_SIZE,
    PIECE_HEADER_SIZE,
    SYNC_SIZE,
    TRAILER_SIZE,
    Kind,
    Piece,
    PieceFlags,
    unpack_piece_header,
)
from captures.header import unpack_header
from captures.index import start_of
from captures.reader import Capture
from captures.testing import (
    EXAMPLE_SYNC,
    capture_bytes,
    capture_of,
    example_exchange,
    example_exchanges,
    example_header,
)
from captures.writer import EXCHANGE_LIMIT, SEGMENT_BYTES, CaptureWriter, always, is_little

KEY = bytes(range(32))


class Disk:
    """Takes ``room`` bytes, then raises ENOSPC inside a write. ``mends``: torn writes are taken back, as the store does."""

    def __init__(self, room: int, *, mends: bool) -> None:
        self.data, self.room, self.mends = b"", room, mends

    def write(self, data: bytes) -> None:
        if len(self.data) + len(data) > self.room:
            if not self.mends:
                self.data += data[: self.room - len(self.data)]
            raise OSError(errno.ENOSPC, "No space left on device")
        self.data += data


def writer_on(disk: Disk) -> CaptureWriter:
    return CaptureWriter(disk.write, example_header(), sync_marker=EXAMPLE_SYNC)


def numbers(capture: Capture) -> list[int]:
    return [exchange.connection for exchange in capture.exchanges()]


def test_the_digest_of_writer_index_and_reader_agree_and_sealing_does_not_change_it() -> None:
    data = capture_bytes([example_exchanges(3), example_exchanges(2)])
    sealed, unsealed = (
        capture_of(data),
        capture_of(capture_bytes([example_exchanges(3), example_exchanges(2)], seal=False)),
    )

    assert sealed.files[0].index is not None
    assert sealed.digest == sealed.files[0].index.digest.hex() == unsealed.digest
    assert sealed.digest != capture_of(capture_bytes([example_exchanges(3), example_exchanges(3)])).digest


def test_a_segment_ends_when_it_is_full() -> None:
    capture = capture_of(capture_bytes([example_exchanges(5)] * 4, segment_bytes=900))

    assert [segment.exchanges for segment in capture.segments] == [3, 3, 3, 3, 3, 3, 2]
    assert capture.confessions == Confessions(seen=20)
    assert capture.files[0].commit.total_exchanges == len(capture) == 20


def test_a_flush_says_nothing_twice() -> None:
    disk = Disk(10**6, mends=True)
    writer = writer_on(disk)
    writer.append(batch_of(example_exchanges(1)))
    writer.flush(Confessions(seen=1))
    size = len(disk.data)
    writer.append(batch_of([]))
    writer.flush(Confessions(seen=1))
    assert len(disk.data) == size

    writer.flush(Confessions(seen=2, shed=1))

    assert capture_of(disk.data).confessions == Confessions(seen=2, shed=1)
    assert len(disk.data) - size < 60


def test_a_segment_holds_a_bounded_number_of_exchanges() -> None:
    n = LIMITS["exchanges"] + 10
    empty = batch_of([])
    columns = {"arrival_ns": np.arange(n), "status": np.full(n, 200)}
    disk = Disk(10**7, mends=True)
    writer = writer_on(disk)

    writer.append(type(empty)(columns, (), [], empty.chunk_at_ns, empty.chunk_bytes, []))
    writer.seal(Confessions(seen=n))

    assert [segment.exchanges for segment in capture_of(disk.data).segments] == [LIMITS["exchanges"], 10]


def test_an_exchange_above_the_limit_is_refused_before_anything_is_taken() -> None:
    batch = batch_of([example_exchange()])
    columns = dict(batch.columns) | {"request_kept": np.array([EXCHANGE_LIMIT + 1], "<u4")}

    class Huge(bytes):
        def __len__(self) -> int:
            return EXCHANGE_LIMIT + 1

    disk = Disk(10**6, mends=True)
    writer = writer_on(disk)
    sizes = np.array([EXCHANGE_LIMIT + 1, batch.chunk_bytes[1]], "<u4")
    with pytest.raises(ValueError, match="above the limit"):
        writer.append(
            type(batch)(columns, batch.names, batch.heads, batch.chunk_at_ns, sizes, [Huge(), batch.bodies[1]])
        )
    writer.seal(Confessions())

    assert len(capture_of(disk.data)) == 0


@pytest.mark.parametrize("mends", [True, False])
def test_a_full_disk_costs_what_did_not_fit_and_nothing_else(mends: bool) -> None:
    first, lost, last = example_exchanges(2), example_exchanges(40), [example_exchange(connection=99)]
    disk = Disk(10**6, mends=mends)
    writer = writer_on(disk)
    writer.append(batch_of(first))
    writer.flush(Confessions(seen=2))
    disk.room = len(disk.data) + 100
    writer.append(batch_of(lost))
    with pytest.raises(OSError, match="No space"):
        writer.flush(Confessions(seen=42))

    assert numbers(capture_of(disk.data)) == [1, 2]
    assert writer.committed == 2
    assert (capture_of(disk.data).tail == 0) is mends

    disk.room = 10**6
    writer.append(batch_of(last))
    writer.flush(Confessions(seen=43, shed=40))
    capture = capture_of(disk.data)

    assert numbers(capture) == [1, 2, 99]
    assert capture.confessions.shed == 40
    assert [damage.exchanges_lost for damage in capture.damage] == ([] if mends else [0])


def test_a_disk_that_is_full_while_sealing_leaves_a_readable_file() -> None:
    disk = Disk(10**6, mends=False)
    writer = writer_on(disk)
    writer.append(batch_of(example_exchanges(2)))
    writer.flush(Confessions(seen=2))
    disk.room = len(disk.data) + 30
    with pytest.raises(OSError, match="No space"):
        writer.seal(Confessions(seen=2))
    capture = capture_of(disk.data)

    assert (len(capture), capture.sealed, capture.damage) == (2, False, ())


def test_what_failed_while_sealing_can_be_sealed_again() -> None:
    disk = Disk(10**6, mends=True)
    writer = writer_on(disk)
    writer.append(batch_of(example_exchanges(2)))
    writer.flush(Confessions(seen=2))
    disk.room = len(disk.data) + 30
    with pytest.raises(OSError, match="No space"):
        writer.seal(Confessions(seen=2))
    disk.room = 10**6
    writer.seal(Confessions(seen=2))
    capture = capture_of(disk.data)

    assert (len(capture), capture.sealed, capture.damage) == (2, True, ())


def test_nothing_follows_the_seal() -> None:
    disk = Disk(10**6, mends=True)
    writer = writer_on(disk)
    writer.seal(Confessions())
    size = len(disk.data)

    with pytest.raises(ValueError, match="sealed"):
        writer.append(batch_of(example_exchanges(1)))
    with pytest.raises(ValueError, match="sealed"):
        writer.flush(Confessions(seen=1))
    with pytest.raises(ValueError, match="sealed"):
        writer.seal(Confessions())
    assert len(disk.data) == size


def test_misuse_is_a_value_error() -> None:
    for wrong in (0, -1, 1 << 30):
        with pytest.raises(ValueError, match="segment_bytes"):
            CaptureWriter(lambda data: None, example_header(), sync_marker=EXAMPLE_SYNC, segment_bytes=wrong)
    with pytest.raises(ValueError, match="32 bytes"):
        CaptureWriter(lambda data: None, example_header(), sync_marker=EXAMPLE_SYNC, key=b"short")
    promised = example_header(encryption={"cipher": "AES-256-GCM", "key_id": "00"})
    with pytest.raises(ValueError, match="there is no key"):
        CaptureWriter(lambda data: None, promised, sync_marker=EXAMPLE_SYNC)


def test_labels_are_written_as_the_header_declares_them_and_others_are_refused_before_anything_is_taken() -> None:
    header = example_header(labels=("region", "tier"))
    labelled = [example_exchange(labels=(("region", "eu"),)), example_exchange(labels=(("tier", "gold"),))]
    disk = Disk(10**6, mends=True)
    writer = CaptureWriter(disk.write, header, sync_marker=EXAMPLE_SYNC)
    writer.append(batch_of(labelled))
    writer.append(batch_of([example_exchange()]))
    with pytest.raises(ValueError, match="does not declare: zone"):
        writer.append(batch_of([example_exchange(), example_exchange(labels=(("zone", "a"),))]))
    writer.seal(Confessions(seen=3))
    capture = capture_of(disk.data)

    assert list(capture.exchanges()) == [*labelled, example_exchange()]
    assert capture.header.labels == ("region", "tier")


def pieces_of(data: bytes, *, encrypted: bool) -> list[Piece]:
    """Every piece of a sealed file of one segment."""
    at = MAGIC_SIZE
    found: list[Piece] = []
    while at < len(data) - TRAILER_SIZE:
        at += SYNC_SIZE if data[at : at + SYNC_SIZE] == EXAMPLE_SYNC else 0
        piece = unpack_piece_header(data[at : at + PIECE_HEADER_SIZE], at, encrypted=encrypted and bool(found))
        found.append(piece)
        at = piece.end
    return found


def test_every_piece_of_an_encrypted_file_but_the_header_is_encrypted_and_opens_in_its_place() -> None:
    disk = Disk(10**6, mends=True)
    writer = CaptureWriter(disk.write, example_header(), sync_marker=EXAMPLE_SYNC, key=KEY)
    for seen in (1, 2):
        writer.append(batch_of([example_exchange(connection=seen)]))
        writer.flush(Confessions(seen=seen))
    writer.seal(Confessions(seen=2))
    header, *pieces = pieces_of(disk.data, encrypted=True)
    payload = disk.data[header.payload_offset : header.end - CRC_SIZE]
    cipher = PieceCipher(KEY, payload)

    assert disk.data[MAGIC_SIZE - 1] == 2
    assert unpack_header(payload)[0].encryption == {"cipher": "AES-256-GCM", "key_id": fingerprint(KEY)}
    assert b"house" not in disk.data
    places = [(OUTSIDE, 0), *((0, i) for i in range(1, len(pieces) - 1)), (OUTSIDE, 0)]
    for piece, (segment, ordinal) in zip(pieces, places, strict=True):
        stored = disk.data[piece.payload_offset : piece.end - CRC_SIZE]
        opened = cipher.open(piece.kind, piece.raw, segment, ordinal, stored, flags=piece.flags)
        assert piece.flags & PieceFlags.ZSTD or len(opened) == piece.raw
    nonces = {disk.data[piece.payload_offset :][:NONCE_SIZE] for piece in pieces}
    assert len(nonces) == len(pieces)


def test_a_nonce_of_a_flush_that_failed_is_never_used_again() -> None:
    """Its bytes may stand on the disk, or in somebody's backup."""
    disk = Disk(10**6, mends=False)
    writer = CaptureWriter(disk.write, example_header(), sync_marker=EXAMPLE_SYNC, key=KEY)
    before = len(disk.data)
    disk.room = before + 600
    writer.append(batch_of(example_exchanges(5)))
    with pytest.raises(OSError, match="No space"):
        writer.flush(Confessions(seen=5))
    torn, disk.data, disk.room = disk.data, disk.data[:before], 10**6
    writer.append(batch_of(example_exchanges(5)))
    writer.seal(Confessions(seen=5))
    start = before + SYNC_SIZE + PIECE_HEADER_SIZE

    assert torn[start : start + NONCE_SIZE] != disk.data[start : start + NONCE_SIZE]
    assert torn[:start] == disk.data[:start]  # the same piece, but for its nonce


@pytest.mark.parametrize("key", [None, KEY])
def test_the_newest_version_is_written(key: bytes | None) -> None:
    assert capture_bytes([], key=key)[MAGIC_SIZE - 1] == FORMAT_VERSION == 2


def test_more_labels_than_a_segment_can_declare_are_refused_at_the_beginning() -> None:
    most = LIMITS["columns"] - len(start_of(0, 0, ()).columns)
    names = tuple(f"label {i:03}" for i in range(most + 1))
    exchange = example_exchange(labels=((names[most - 1], "x"),))

    assert list(capture_of(capture_bytes([[exchange]], labels=names[:most])).exchanges()) == [exchange]
    with pytest.raises(ValueError, match=f"{most + 1} labels are 1 more than"):
        capture_bytes([], labels=names)


def test_a_segment_of_as_many_exchanges_and_columns_as_there_may_be_stays_within_a_piece() -> None:
    usual = start_of(0, 0, ()).columns
    labels = ["label"] * (LIMITS["columns"] - len(usual))
    row = sum(each.width for each in start_of(0, 0, labels).columns)

    assert row * LIMITS["exchanges"] < LIMITS["raw"]


def test_a_full_segment_and_one_more_exchange_stay_within_a_piece() -> None:
    """Heads, chunks and bodies are counted together, so the messages of a segment are less."""
    assert SEGMENT_BYTES + EXCHANGE_LIMIT < LIMITS["raw"] < LIMITS["segment"]


def test_segments_of_little_traffic_are_small_and_all_are_where_there_is_time() -> None:
    exchanges = [example_exchange(session=i * 7919 % 10007, arrival_ns=i * 12347) for i in range(600)]
    sizes = {}
    for name, small in (("little", is_little), ("always", always), ("never", lambda taken: False)):
        disk = Disk(10**7, mends=True)
        writer = CaptureWriter(disk.write, example_header(), sync_marker=EXAMPLE_SYNC, small=small)
        writer.append(batch_of(exchanges))
        writer.seal(Confessions(seen=600))
        sizes[name] = len(disk.data)

    assert sizes["always"] < sizes["little"] == sizes["never"]


def test_pieces_of_unknown_kinds_are_skipped() -> None:
    """As a later version may write them: anywhere in a flush, counted by its commit."""

    def with_unknown(data: bytes) -> None:
        out.append(data)

    out: list[bytes] = []
    writer = CaptureWriter(with_unknown, example_header(), sync_marker=EXAMPLE_SYNC)
    writer.append(batch_of(example_exchanges(2)))
    encoder = writer._encoder
    assert encoder is not None
    cut = encoder.cut
    encoder.cut = lambda *, small: [(77, b"from the future", 15), *cut(small=small), (200, b"", 0)]  # type: ignore[list-item, method-assign]  # the only seam there is, and none for users
    writer.seal(Confessions(seen=2))
    capture = capture_of(b"".join(out))

    assert list(capture.exchanges()) == example_exchanges(2)
    assert (capture.damage, capture.sealed) == ((), True)


def test_every_segment_opens_with_the_sync_marker() -> None:
    data = capture_bytes([example_exchanges(3)] * 3, segment_bytes=1)
    capture = capture_of(data)

    assert len(capture.segments) == 9
    assert all(data[each.offset : each.offset + SYNC_SIZE] == EXAMPLE_SYNC for each in capture.segments)
    assert {piece.kind for piece in capture.segments[0].flushes[0].pieces} == set(Kind) - {
        Kind.HEADER,
        Kind.START,
        Kind.INDEX,
        Kind.HEADS,
        Kind.BODIES,
    }


def test_planning_finds_what_it_needs_at_the_front_of_a_flush() -> None:
    (segment,) = capture_of(capture_bytes([example_exchanges(3)])).segments

    assert [piece.kind for piece in segment.flushes[0].pieces] == [
        Kind.COLUMNS,
        Kind.NAMES,
        Kind.CHUNKS,
        Kind.MESSAGES,
        Kind.COMMIT,
    ]
