"""The receipt for people: a few lines and one table, from the same numbers as the JSON."""

from collections.abc import Iterator, Mapping
from typing import Any

# (heading, key in a feature's numbers, how it is written)
COLUMNS = (
    ("n", "n", "{:d}"),
    ("mean before", "mean_before", "{:.4g}"),
    ("after", "mean_after", "{:.4g}"),
    ("Δmean/sd", "delta_mean_sd", "{:+.3f}"),
    ("change/sd", "change_sd", "{:.3f}"),
    ("changed", "share", "{:.1%}"),
    ("PSI", "psi", "{:.3f}"),
    ("KS", "ks", "{:.3f}"),
    ("W1/sd", "wasserstein_sd", "{:.3f}"),
    ("Δmissing", "delta_missing", "{:+.1%}"),
)
NOT_DEFINED = "-"


def text(receipt: Mapping[str, Any]) -> str:
    return "\n".join(_lines(receipt))


def _lines(receipt: Mapping[str, Any]) -> Iterator[str]:
    rows, contents, size = receipt["rows"], receipt["contents"], receipt["effective_sample_size"]
    yield f"chain      {' → '.join(receipt['chain']) or 'nothing'}  (seed {receipt['seed']})"
    left_out = ", ".join(f"{count:,} {reason}" for reason, count in rows["dropped"].items())
    yield f"rows       {rows['in']:,} in, {rows['out']:,} out{'; dropped: ' + left_out if left_out else ''}"
    for name, label in (("before", "before"), ("after", "after")):
        yield f"{label:<10} {_timing(receipt['time'][name])}"
    yield (
        f"contents   {contents['value_touched']:,} rows ask something new (value), "
        f"{contents['identity_touched']:,} differ in ids only (identity)"
    )
    if dropped := contents.get("responses_dropped"):
        yield f"           {dropped:,} recorded responses dropped: they answer what is no longer asked"
    everything = "all" if contents["sampled"] == contents["of"] else "a sample of"
    yield f"measured   on {everything} {contents['sampled']:,} rows, bodies decoded again"
    yield f"sample     worth {_number(size['size'], '{:,.1f}')} of {size['sources']:,} sources"
    yield from _table(receipt["features"])
    if names := receipt["unchanged_features"]["names"]:
        yield f"identical  {', '.join(names)}"


def _timing(timing: Mapping[str, Any]) -> str:
    return (
        f"{timing['duration_s']:,.3f} s, mean {_number(timing['mean_rps'], '{:,.1f}')}/s, "
        f"peak {timing['peak_rps']:,}/s, gap variation {_number(timing['gap_cv'], '{:.2f}')}"
    )


def _table(features: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    if not features:
        return
    cells = [["feature", *(heading for heading, _, _ in COLUMNS), "asked"]]
    for name, numbers in features.items():
        asked = ", ".join(f"{key} {value:g}" for key, value in numbers["asked"].items())
        cells.append([name, *(_number(numbers[key], form) for _, key, form in COLUMNS), asked])
    widths = [max(len(row[at]) for row in cells) for at in range(len(cells[0]))]
    for row in cells:
        padded = [
            cell.ljust(width) if at in {0, len(widths) - 1} else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield "  ".join(padded).rstrip()


def _number(value: float | None, form: str) -> str:
    return NOT_DEFINED if value is None else form.format(value)
