"""The writer keeps to what a reader refuses, and to what strings can be."""

from dataclasses import replace

import pytest

from captures.batches import batch_of
from captures.confessions import Confessions
from captures.frame import LIMITS
from captures.testing import (
    EXAMPLE_SYNC,
    capture_bytes,
    capture_of,
    example_exchange,
    example_exchanges,
    example_header,
)
from captures.writer import HEAD_LIMIT, SEGMENT_BYTES, CaptureWriter


def test_a_head_above_the_limit_is_refused_before_anything_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("captures.writer.HEAD_LIMIT", 200)
    data = bytearray()
    writer = CaptureWriter(data.extend, example_header(), sync_marker=EXAMPLE_SYNC)
    request = replace(example_exchange().request, headers=(("cookie", "x" * 200),))

    with pytest.raises(ValueError, match="headers is above the limit of 200"):
        writer.append(batch_of([example_exchange(), example_exchange(request=request)]))
    writer.seal(Confessions())

    assert len(capture_of(bytes(data))) == 0
    assert LIMITS["heads"] >= HEAD_LIMIT + SEGMENT_BYTES


def test_a_segment_never_has_more_pieces_than_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LIMITS, "pieces", 12)
    flushes = [example_exchanges(1), [], [], example_exchanges(1), example_exchanges(1), example_exchanges(1)]
    data = bytearray()
    writer = CaptureWriter(data.extend, example_header(), sync_marker=EXAMPLE_SYNC)
    for seen, flush in enumerate(flushes):
        writer.append(batch_of(flush))
        writer.flush(Confessions(seen=seen))
    writer.seal(Confessions(seen=len(flushes)))
    capture = capture_of(bytes(data))

    pieces = [sum(len(flush.pieces) for flush in segment.flushes) for segment in capture.segments]
    assert (len(capture), capture.damage) == (4, ())
    assert len(pieces) > 1
    assert max(pieces) <= 12


def test_a_label_may_have_any_name_that_a_string_can_be() -> None:
    name, labels = "t\ud800\xe9", (("t\ud800\xe9", "g\udfff"),)
    data = capture_bytes([[example_exchange(labels=labels)]], labels=(name,))

    assert [exchange.labels for exchange in capture_of(data).exchanges()] == [labels]
