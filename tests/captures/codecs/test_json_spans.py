import json
from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from captures.codecs import json_spans
from captures.codecs.json_spans import MAX_DEPTH, SPLIT, load, numbers_in, scan, text_of
from captures.errors import CodecError

DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=25,
)

NOT_JSON = [
    b"", b" ", b"{", b"[", b"]", b"[1", b"[1,", b"[1,]", b"[,1]", b"[1 2]", b"{}x", b"{,}", b'{"a"}', b'{"a":}', b'{"a":1,}',
    b"{'a':1}", b'{"a":1 "b":2}', b"01", b"1.", b".5", b"+1", b"1e", b"--1", b"tru", b"nul", b'"', b'"\\q"', b'"\\u12"',
    b'"a\x01b"', b'"\xff"', b"[1]]", b"[1}", b'{"a":1]', b"\xef\xbb\xbf{}", b"{1:2}", b"[[1,2],[3,4]", b"NaN0",
]  # fmt: skip


def kinds(body: bytes) -> list[tuple[object, bytes, str]]:
    return [(path, body[start:stop], kind) for path, start, stop, kind in scan(body)]


def test_every_key_and_value_has_a_span_with_its_path() -> None:
    assert kinds(b'{"a": "x", "b": [1, {"c": null}], "d": {}}') == [
        (("a",), b'"a"', "key"),
        (("a",), b'"x"', "string"),
        (("b",), b'"b"', "key"),
        (("b", 0), b"1", "number"),
        (("b", 1, "c"), b'"c"', "key"),
        (("b", 1, "c"), b"null", "literal"),
        (("d",), b'"d"', "key"),
    ]


@pytest.mark.parametrize(
    "array",
    [b"[]", b"[1]", b"[[1, 2],\n[3.5e-7, null]]", b"[[[[[-0]]]]]", b"[NaN,Infinity,-Infinity]", b"[true, false]"],
)
def test_an_array_of_numbers_and_literals_is_one_span(array: bytes) -> None:
    assert kinds(b'{"data":' + array + b"}")[1:] == [(("data",), array, "numbers")]


def test_an_array_with_anything_else_is_taken_apart() -> None:
    assert kinds(b'[[1, 2], ["x", 3]]') == [
        ((0,), b"[1, 2]", "numbers"),
        ((1, 0), b'"x"', "string"),
        ((1, 1), b"3", "number"),
    ]


def test_repeated_keys_keep_all_their_spans() -> None:
    assert [text for _, text, kind in kinds(b'{"a":1,"a":2}') if kind == "number"] == [b"1", b"2"]


@pytest.mark.parametrize("body", NOT_JSON)
def test_what_is_not_json_is_an_error(body: bytes) -> None:
    with pytest.raises(CodecError):
        scan(body)


@given(DOCUMENTS, st.sampled_from([None, 1]), st.booleans())
def test_spans_hold_what_the_standard_library_reads(document: object, indent: int | None, ascii_only: bool) -> None:
    text = json.dumps(document, indent=indent, ensure_ascii=ascii_only)
    body = text.encode("utf-8", "replace")  # lone surrogates only exist escaped
    spans = scan(body)
    assert [start for _, start, _, _ in spans] == sorted({start for _, start, _, _ in spans})
    value = json.loads(body)
    for path, start, stop, kind in spans:
        found = value
        for part in path:
            found = found[part]
        read = text_of(body[start:stop]) if kind in ("key", "string") else json.loads(body[start:stop])
        assert repr(read) == repr(path[-1] if kind == "key" else found)


@given(st.binary(max_size=40) | st.text(alphabet='{}[]",:\\0123456789.eE-+ntrue ', max_size=40).map(str.encode))
def test_scan_accepts_exactly_what_the_standard_library_does(body: bytes) -> None:
    try:
        json.loads(body.decode())
        readable = True
    except ValueError:
        readable = False
    try:
        scan(body)
        scanned = True
    except CodecError:
        scanned = False
    assert scanned == readable


@pytest.mark.parametrize(
    "hostile",
    [
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'"' + b"a" * 1_000_000,
        b'"' + b'\\"' * 100_000,
        b'["' + b'\\"' * 100_000 + b"\x01",
        b"[[[[[[" + b"1," * 100_000 + b'"a"',
        b"[" * 60 + b"1" * 100_000 + b"x",
        b"1" * 200_000 + b".",
        b" " * 200_000 + b"x",
    ],
    ids=lambda hostile: repr(hostile[:12]),
)
def test_hostile_bodies_cost_linear_time(hostile: bytes) -> None:
    before = process_time()
    with pytest.raises(CodecError):
        scan(hostile)
    SPLIT.split(hostile)
    assert process_time() - before < 5  # seconds; the quadratic versions took minutes


def test_depth_is_limited() -> None:
    deepest = b'{"a":' * MAX_DEPTH + b"1" + b"}" * MAX_DEPTH
    assert len(scan(deepest)) == MAX_DEPTH + 1
    with pytest.raises(CodecError, match="too deeply"):
        scan(b'{"a":' + deepest + b"}")


def test_the_number_of_spans_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_spans, "MAX_SPANS", 3)
    assert len(scan(b'["a",2,3]')) == 3
    with pytest.raises(CodecError, match="too many"):
        scan(b'["a",2,3,4]')


def test_numbers_of_an_array_are_found_in_row_major_order() -> None:
    body = b'{"d": [[1, -2.5e3], [null, NaN]]}'
    (_, start, stop, _) = scan(body)[1]
    assert [body[a:b] for a, b in numbers_in(body, start, stop)] == [b"1", b"-2.5e3", b"null", b"NaN"]


def test_text_of_undoes_escapes() -> None:
    assert text_of(rb'"a\u00e9\n\ud83d\ude00"') == "aé\n😀"
    assert text_of('"é"'.encode()) == "é"


def test_load_reads_nan_and_refuses_the_rest_with_a_codec_error() -> None:
    assert repr(load(b'{"a":[NaN,-Infinity]}')) == "{'a': [nan, -inf]}"
    for body in (b"", b"{NaN", "NaN".encode("utf-16"), b"[" * 100_000 + b"NaN", b"\xffNaN"):
        with pytest.raises(CodecError):
            load(body)


def test_split_gives_strings_and_numbers_at_odd_places() -> None:
    pieces = SPLIT.split(b'{"a": [1, 2], "b": -3.5, "c": [1, "x"]}')
    assert pieces[1::2] == [b'"a"', b"[1, 2]", b'"b"', b"-3.5", b'"c"', b"1", b'"x"']
