"""A stretch of a batch, a batch made longer, a batch at another time: what reading does to decoded segments. Pure."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from captures.batches import chunk_counts, column_dtype
from captures.columns import COLUMNS, LABEL_DTYPE, Batch

_ABSENT = {column.name: column.absent for column in COLUMNS}


def stretch(batch: Batch, low: int, high: int) -> Batch:
    """Rows ``low`` up to ``high``; nothing is copied but what a list must copy."""
    if (low, high) == (0, len(batch)):
        return batch
    ends = np.concatenate((np.zeros(1, dtype=np.int64), np.cumsum(chunk_counts(batch))))
    chunks = slice(int(ends[low]), int(ends[high]))
    return Batch(
        columns={name: values[low:high] for name, values in batch.columns.items()},
        names=batch.names,
        heads=batch.heads[low:high],
        chunk_at_ns=batch.chunk_at_ns[chunks],
        chunk_bytes=batch.chunk_bytes[chunks],
        bodies=batch.bodies[2 * low : 2 * high],
    )


def padded(batch: Batch, n: int, arrival_ns: int) -> Batch:
    """The columns of a batch with rows behind it that have none of them (and no flags), up to ``n`` in all."""
    more = n - len(batch)
    if not more:
        return batch
    columns = {
        name: np.concatenate((values, np.full(more, _ABSENT.get(name, 0), dtype=column_dtype(name))))
        for name, values in batch.columns.items()
    }
    columns["arrival_ns"][len(batch) :] = arrival_ns
    return replace(batch, columns=columns)


def with_labels(batch: Batch, labels: Sequence[str]) -> Batch:
    """The batch with all of these label columns; without a value where it lacks one."""
    missing = [label for label in labels if label not in batch.columns]
    if not missing:
        return batch
    none = np.zeros(len(batch), dtype=LABEL_DTYPE)
    return replace(batch, columns={**batch.columns, **dict.fromkeys(missing, none)})


def later(batch: Batch, by_ns: int) -> Batch:
    """Every time that counts from the capture's zero, moved."""
    if not by_ns:
        return batch
    columns = dict(batch.columns)
    of_a_run = columns["row"] != -1
    intended = columns["intended_ns"].astype(np.int64)
    columns["arrival_ns"] = columns["arrival_ns"].astype(np.int64) + by_ns
    columns["intended_ns"] = np.where(of_a_run & (intended != -1), intended + by_ns, intended)
    return replace(batch, columns=columns, chunk_at_ns=batch.chunk_at_ns + by_ns)
