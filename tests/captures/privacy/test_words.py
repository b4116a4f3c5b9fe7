"""The list, what stays and what goes, and the number of tokens.

Tokens are counted with `tiktoken` where it is installed and TIKTOKEN_CACHE_DIR holds the vocabulary (a test never downloads
one); by a small table of counts everywhere.
"""

import os
import re
from importlib import resources

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from captures.privacy import words
from captures.privacy.scan_patterns import patterns_in
from captures.privacy.surrogate import Surrogates
from captures.privacy.words import has_several_words, in_words

KEY = Surrogates(b"k" * 32)
PROSE = """Dear Ms Lovelace,

Thank you for your letter of 12 May. We're sorry that the engine's documentation isn't complete yet; the missing chapters (4 to 7)
will be published in October. Until then, please write to the address below, or visit us in Cambridge.

    1. Bring the original contract.
    2. Bring a copy - it'll be stamped.

Yours sincerely, NASA & Co.
"""


def test_words_lines_spaces_and_punctuation_stay() -> None:
    other = in_words(PROSE, KEY, "text")

    assert re.sub(r"[A-Za-z0-9]+", "w", other) == re.sub(r"[A-Za-z0-9]+", "w", PROSE)


def test_capitals_stay_where_they_were() -> None:
    def pattern(text: str) -> list[tuple[bool, bool]]:
        return [(word[0].isupper(), word.isupper()) for word in re.findall(r"[A-Za-z]+", text)]

    assert pattern(in_words(PROSE, KEY, "text")) == pattern(PROSE)


def test_no_word_of_the_text_is_left_but_by_chance() -> None:
    before = {word.lower() for word in re.findall(r"[A-Za-z]{5,}", PROSE)}
    after = {word.lower() for word in re.findall(r"[A-Za-z]{5,}", in_words(PROSE, KEY, "text"))}

    assert len(before & after) <= 2


def test_equal_words_of_a_text_get_unrelated_ones() -> None:
    assert len(set(in_words("ada " * 50, KEY, "text").split())) > 20


def test_it_is_a_function_of_key_domain_and_text() -> None:
    assert in_words(PROSE, KEY, "text") == in_words(PROSE, Surrogates(b"k" * 32), "text")
    assert in_words(PROSE, KEY, "text") != in_words(PROSE, KEY, "other")
    assert in_words(PROSE, KEY, "text") != in_words(PROSE, Surrogates(b"o" * 32), "text")


def test_texts_that_begin_with_the_same_lines_still_do() -> None:
    """Caches of prefixes are as warm as they were."""
    one, other = in_words(PROSE + "Why is that?", KEY, "text"), in_words(PROSE + "How come?", KEY, "text")

    assert one.splitlines()[:-1] == other.splitlines()[:-1]
    assert one.splitlines()[-1].split()[0] != other.splitlines()[-1].split()[0]


def test_a_line_elsewhere_is_another_line() -> None:
    assert (
        in_words("a\nthe same words here\n", KEY, "text").splitlines()[1]
        != (in_words("b\nthe same words here\n", KEY, "text").splitlines()[1])
    )


@pytest.mark.parametrize(
    ("text", "several"),
    [
        ("hello", False),
        ("ada@x.org", False),
        ("a1b2-c3d4_e5", False),
        ("two words", True),
        ("one,\ntwo", True),
        (" padded ", False),
        ("你好世界朋友", True),
        ("你好", False),
        ("", False),
    ],
)
def test_prose_is_told_from_ids(text: str, several: bool) -> None:
    assert has_several_words(text) is several


@pytest.mark.parametrize(
    ("text", "script"),
    [
        ("Привет, как дела сегодня?", r"[\u0400-\u04ff]"),
        ("你好世界。今天天气很好。", r"[\u4e00-\u9fff]"),
        ("今日はとても良い天気です", r"[\u3040-\u30ff\u4e00-\u9fff]"),
        ("안녕하세요 반갑습니다", r"[\uac00-\ud7af]"),
        ("كيف حالك اليوم", r"[\u0600-\u06ff]"),
    ],
)
def test_a_script_stays_and_its_words_go(text: str, script: str) -> None:
    other = in_words(text, KEY, "text")

    assert re.search(script, other)
    assert not re.search(r"[A-Za-z]", other)
    assert other != text
    assert 0.5 * len(text) <= len(other) <= 2 * len(text)


def test_what_could_hide_a_message_is_left_out() -> None:
    other = in_words("one\u200btwo\x07three\ue000 \U0001f600 \ud800", KEY, "text")

    assert not re.search("[\u200b\x07\ue000\U0001f600\ud800]", other)


@given(st.text(max_size=300))
@settings(deadline=None)
def test_no_text_makes_it_fail(text: str) -> None:
    in_words(text, KEY, "text").encode()


SECRETS = (
    "ada@x.org 4111 1111 1111 1111 GB82WEST12345698765432 078-05-1120 "
    "phone +1-202-555-0147 client 203.0.113.77 key AKIAIOSFODNN7CANARYX"
)


def test_audit_finds_nothing_in_what_comes_out() -> None:
    assert patterns_in(SECRETS.encode())
    for number in range(50):
        assert not patterns_in(in_words(f"{SECRETS} {number}", KEY, "text").encode())


def test_the_list_has_no_doubles_and_nothing_that_sounds_like_a_secret() -> None:
    listed = words._lists()
    assert set(words._SCRIPTS) | {"latin"} == set(listed)
    for each in listed.values():
        assert len(each) == len(set(each)) >= 30
    assert len(listed["latin"]) >= 1000
    assert all(re.fullmatch(r"[a-z]{3,10}", word) for word in listed["latin"])
    assert not {"token", "key", "password", "secret", "phone", "access"} & set(listed["latin"])
    assert resources.files("captures.privacy").joinpath("words.txt").is_file()


# Counted once with the vocabulary of cl100k_base: words that are more than one token in it; all others are one.
COUNTED_TEXT = """
the committee has not yet published its recommendations on the postponement of the excavation because unprecedented
rainfall had damaged the surrounding villages and volunteers were needlessly reassigned while the bookkeeper
misplaced two receipts nobody remembered who refurbished the lighthouse or when its caretaker resigned but the
townspeople suspected mismanagement and an ombudsman was appointed to investigate the allegations thoroughly before
the harvest festival
"""
COUNTED = {
    "postponement": 2, "needlessly": 2, "reassigned": 2, "bookkeeper": 2, "lighthouse": 2, "caretaker": 2, "townspeople": 2,
    "mismanagement": 2, "ombudsman": 4,
}  # fmt: skip


def test_about_as_many_tokens_as_the_table_counts() -> None:
    """A proxy: a word of the list is one token, words in a row are what `_OF_ROW` was measured to be."""
    wanted = 40 * sum(COUNTED.get(word, 1) for word in COUNTED_TEXT.split())
    listed = words._lists()["latin"]
    starts = re.compile("|".join(sorted(listed, key=len, reverse=True)))
    ours = sum(words._of_row(len(starts.findall(word))) for word in in_words(COUNTED_TEXT * 40, KEY, "text").split())

    assert ours == pytest.approx(wanted, rel=0.06)


@pytest.mark.skipif("TIKTOKEN_CACHE_DIR" not in os.environ, reason="TIKTOKEN_CACHE_DIR names no vocabulary")
def test_about_as_many_tokens_as_a_vocabulary_counts() -> None:
    vocabulary = pytest.importorskip("tiktoken").get_encoding("cl100k_base")
    text = PROSE * 20

    assert len(vocabulary.encode(in_words(text, KEY, "text"))) == pytest.approx(len(vocabulary.encode(text)), rel=0.05)
