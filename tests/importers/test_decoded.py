"""Text that was bytes: by the charset its type names, and by none that a hostile file could ask for."""

import pytest

from captures.importers.decoded import bytes_of, charset_of


@pytest.mark.parametrize(
    ("content_type", "expected"),
    [
        ("text/plain", "utf-8"),
        ("text/plain; charset=UTF-8", "utf-8"),
        ('text/html; charset="ISO-8859-1"', "latin-1"),
        ("text/html;charset=windows-1252", "windows-1252"),
        ("text/plain; charset=Shift_JIS", "shift_jis"),
        ("text/plain; charset=gb18030", "gb18030"),
        ("text/plain; charset=utf-16le", "utf-16le"),
        ("text/plain; charset=x-unheard-of", "utf-8"),
        ("text/plain; charset=rot13", "utf-8"),
        ("text/plain; charset=punycode", "utf-8"),
        ("text/plain; charset=idna", "utf-8"),
        ("text/plain; charset=unicode_escape", "utf-8"),
    ],
)
def test_only_charsets_of_the_web_count(content_type: str, expected: str) -> None:
    assert charset_of(content_type) == expected


def test_a_charset_that_takes_hours_is_not_used() -> None:
    text = "".join(map(chr, range(0x4E00, 0x9000)))

    assert bytes_of(text, "text/plain; charset=punycode", -1) == text.encode()
