from fractions import Fraction

import pytest

from captures.amounts import Number, duration_ns, exact, share_of, size_bytes
from captures.wording import size_text


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("5", Fraction(5)),
        (0.1, Fraction(1, 10)),
        ("2.50", Fraction(5, 2)),
        ("1/3", Fraction(1, 3)),
        (Fraction(2, 7), Fraction(2, 7)),
    ],
)
def test_a_number_is_the_fraction_of_its_decimal_text(written: Number, meant: Fraction) -> None:
    assert exact(written, "factor") == meant


@pytest.mark.parametrize("written", ["", "five", "1/0", "nan", "inf"])
def test_what_is_no_number_is_named(written: str) -> None:
    with pytest.raises(ValueError, match=r"factor is .* not a number"):
        exact(written, "factor")


@pytest.mark.parametrize(("written", "meant"), [("25%", 0.25), (0.3, 0.3), ("1", 1.0), ("0 %", 0.0)])
def test_a_share_is_written_as_people_write_it(written: Number, meant: float) -> None:
    assert share_of(written, "share") == meant


@pytest.mark.parametrize("written", ["101%", -0.1, 2])
def test_a_share_lies_between_nothing_and_all(written: Number) -> None:
    with pytest.raises(ValueError, match="share is"):
        share_of(written, "share")


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("50ms", 50_000_000),
        ("1.5s", 1_500_000_000),
        ("0", 0),
        ("1h30m", 5_400_000_000_000),
        ("2 min", 120_000_000_000),
        ("3us", 3000),
    ],
)
def test_a_duration_carries_its_unit(written: str, meant: int) -> None:
    assert duration_ns(written, "jitter") == meant


@pytest.mark.parametrize("written", ["50", "ms", "-5ms", "5 parsecs", "", "1e3s"])
def test_a_duration_without_unit_is_no_duration(written: str) -> None:
    with pytest.raises(ValueError, match=r"jitter is .* such as 50ms"):
        duration_ns(written, "jitter")


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("256MiB", 256 * 1024**2),
        ("20GiB", 20 * 1024**3),
        ("1GB", 1_000_000_000),
        ("1.5 KiB", 1536),
        ("0.1kB", 100),
        ("2tib", 2 * 1024**4),
        ("512B", 512),
        ("1048576", 1_048_576),
        ("0", 0),
    ],
)
def test_a_size_is_exact(written: str, meant: int) -> None:
    assert size_bytes(written, "--keep") == meant


@pytest.mark.parametrize("written", ["", "MiB", "256M", "-1MiB", "1.5", "0.1B", "1 GiB MiB", "1e3", "٣MiB", "1iB"])
def test_what_is_no_size_is_named(written: str) -> None:
    with pytest.raises(ValueError, match=r"--keep is .* such as 256MiB"):
        size_bytes(written, "--keep")


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1536, "1.5 KiB"),
        (256 << 20, "256.0 MiB"),
        (5 << 40, "5.0 TiB"),
        (5 << 50, "5120.0 TiB"),
    ],
)
def test_a_size_is_told_in_the_largest_unit(size: int, text: str) -> None:
    assert size_text(size) == text
