import io

from captures.importers.lines import Line, lines


def test_lines_have_numbers_and_offsets_and_no_ends() -> None:
    found = list(lines(io.BytesIO(b"a\r\n\nbc")))

    assert found == [Line(1, 0, b"a"), Line(2, 3, b""), Line(3, 4, b"bc", ended=False)]


def test_a_byte_order_mark_is_no_part_of_the_first_line() -> None:
    found = list(lines(io.BytesIO(b"\xef\xbb\xbfa\n\xef\xbb\xbfb\n")))

    assert found == [Line(1, 0, b"a"), Line(2, 5, b"\xef\xbb\xbfb")]


def test_nothing_of_a_line_above_the_limit_is_kept() -> None:
    found = list(lines(io.BytesIO(b"x" * 50 + b"\nb\n" + b"y" * 50), limit=4))

    assert found == [
        Line(1, 0, b"", too_long=True),
        Line(2, 51, b"b"),
        Line(3, 53, b"", ended=False, too_long=True),
    ]


def test_a_line_as_long_as_the_limit_is_kept() -> None:
    assert [line.too_long for line in lines(io.BytesIO(b"abc\nabcd\nabcde\nabc"), limit=4)] == [
        *(False, False, True, False)
    ]
