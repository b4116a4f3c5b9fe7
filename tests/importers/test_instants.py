import pytest
from hypothesis import given
from hypothesis import strategies as st

from captures.importers.instants import decimal_ns, instant_ns

SECOND_NS = 10**9


@pytest.mark.parametrize(
    ("text", "at_ns"),
    [
        ("2023-11-16 18:17:03.9799600", 1_700_158_623_979_960_000),
        ("2023-11-16 18:17:03", 1_700_158_623_000_000_000),
        ("2024-05-10 00:00:00.009930+00:00", 1_715_299_200_009_930_000),
        ("2024-05-10T02:00:00.5+02:00", 1_715_299_200_500_000_000),
        ("2024-05-09T19:30:00-0430", 1_715_299_200_000_000_000),
        ("2020-07-30T13:36:30Z", 1_596_116_190_000_000_000),
        ("2024-01-01T00:00:00.123456789Z", 1_704_067_200_123_456_789),
        ("2024-01-01T00:00:00.123456789999Z", 1_704_067_200_123_456_789),
        ("2016-12-31T23:59:60Z", 1_483_228_799_000_000_000),
        ("1970-01-01T00:00:00Z", 0),
    ],
)
def test_a_time_is_read_to_the_nanosecond(text: str, at_ns: int) -> None:
    assert instant_ns(text) == at_ns


@pytest.mark.parametrize(
    "text",
    [
        *("", "yesterday", "2024-13-01T00:00:00Z", "2024-01-01", "0001-01-01T00:00:00Z", "1969-12-31T23:59:59Z"),
        *(
            "2024-01-01T00:00:00+99:99",
            "9999-12-31T23:59:59Z",
            "2024-01-01T00:00:00.1234567890123Z",
            "\u0662\u0660\u0662\u0664-01-01T00:00:00Z",
        ),
    ],
)
def test_what_is_no_time_of_ours_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - its words are for nobody
        instant_ns(text)


@pytest.mark.parametrize(
    ("text", "at_ns"),
    [("61.114", 61_114_000_000), ("19440110.0", 19_440_110_000_000_000), ("5", 5 * SECOND_NS), ("0.0000000019", 1)],
)
def test_decimal_seconds_are_exact(text: str, at_ns: int) -> None:
    assert decimal_ns(text, SECOND_NS) == at_ns


@pytest.mark.parametrize(
    "text", ["", "-1", "1e9", "1_000", "nan", "inf", "9" * 20, "9" * 10_000, "1." + "0" * 31, "\u0661"]
)
def test_what_is_no_plain_number_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - its words are for nobody
        decimal_ns(text, SECOND_NS)


@given(st.integers(0, 2**63 - 1))
def test_nanoseconds_survive_as_decimal_seconds(at_ns: int) -> None:
    assert decimal_ns(f"{at_ns // SECOND_NS}.{at_ns % SECOND_NS:09d}", SECOND_NS) == at_ns
