"""Whatever happened to a file: what is recovered from it is a sound capture of exchanges that were written, and the counts add up.

Verifying the damaged file never contradicts itself either, and neither raises anything but CaptureError.
"""

import random

from captures.errors import CaptureError
from captures.reader import Capture
from captures.recovery import recovered_confessions, recovered_header, survey, survivors
from captures.testing import capture_bytes, capture_of, cut, example_exchange, flip, zero
from captures.verification import check, verdict
from captures.writer import CaptureWriter

WRITTEN = [example_exchange(arrival_ns=number * 1_000_000, connection=number) for number in range(30)]


def case(rng: random.Random) -> None:
    flushes = [WRITTEN[at : at + 5] for at in range(0, len(WRITTEN), 5)]
    data = capture_bytes(flushes, seal=rng.random() < 0.7, segment_bytes=rng.choice([700, 3000, 8 << 20]))
    for _ in range(rng.randrange(1, 4)):
        data = _mutated(data, rng)
    try:
        capture = capture_of(data)
    except CaptureError:
        return  # the header is gone
    _verify(capture)
    try:
        found = survey(capture)
    except CaptureError:
        return  # nothing survived
    assert found.whole + found.lost == found.read, "exchanges are neither written nor lost"
    assert found.whole <= len(WRITTEN) or found.damage, "more than was written, and no damage"
    made = bytearray()
    header = recovered_header(capture, found, file_id=rng.randbytes(16), producer="fuzz")
    writer = CaptureWriter(made.extend, header, sync_marker=rng.randbytes(16))
    for batch in survivors(capture):
        writer.append(batch)
    writer.seal(recovered_confessions(capture, found))
    recovered = capture_of(bytes(made))
    assert _verify(recovered)["sound"], "what was recovered is not sound"
    survived = list(recovered.exchanges())
    assert len(survived) == found.whole, "not what the survey promised"
    assert all(exchange in WRITTEN for exchange in survived), "an exchange was never written"


def _verify(capture: Capture) -> dict[str, object]:
    found = verdict([capture], sum(check(capture)))
    assert found["readable"] + found["unreadable"] == found["exchanges"], "the counts contradict each other"
    assert found["sound"] == (found["sealed"] and not found["damage"]), "sound and damaged"
    assert found["readable"] == len(list(capture.numbered())), "what is readable cannot be read"
    return found


def _mutated(data: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(data) or 1)
    end = min(len(data), at + rng.choice([1, 8, 64, 512, 4096]))
    match rng.randrange(5):
        case 0:
            return flip(data, at, rng.randrange(1, 256)) if data else data
        case 1:
            return zero(data, at, end)
        case 2:
            return cut(data, at)
        case 3:
            return data[:at] + data[end:]
        case _:
            return data[:at] + rng.randbytes(end - at) + data[at:]
