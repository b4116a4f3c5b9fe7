import pytest

from captures.importers.http_message import message_end, parse_request, parse_response


def test_names_and_values_keep_order_and_spelling() -> None:
    found = parse_request(b"GET /a?b HTTP/1.0\r\nB: 1\r\na:2 \r\nB:\r\n folded\r\nno colon\r\n\r\nignored")

    assert found is not None
    assert (found.method, found.target, found.http_version) == ("GET", "/a?b", "HTTP/1.0")
    assert found.headers == (("B", "1"), ("a", "2"), ("B", " folded"))
    assert found.body.pieces == ()


def test_line_feeds_alone_end_lines_too() -> None:
    found = parse_response(b"HTTP/1.1 200\nA: 1\n\nbody")

    assert found is not None
    assert (found.status, found.reason, found.headers, found.body.pieces) == (200, "", (("A", "1"),), (b"body",))
    assert not found.body.framed


@pytest.mark.parametrize(
    "data", [b"", b"GET /\r\n\r\n", b"GET / HTTP/1.1\r\nA: 1", b"HTTP/1.1 200 OK\r\n\r\n", b"\0 / HTTP/1.1\r\n\r\n"]
)
def test_what_is_no_request_is_none(data: bytes) -> None:
    assert parse_request(data) is None


@pytest.mark.parametrize("data", [b"", b"HTTP/1.1 000 no\r\n\r\n", b"HTTP/1.1 20\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n"])
def test_what_is_no_response_is_none(data: bytes) -> None:
    assert parse_response(data) is None


@pytest.mark.parametrize(("method", "status"), [("HEAD", b"200"), ("GET", b"204"), ("GET", b"304")])
def test_some_answers_have_no_body(method: str, status: bytes) -> None:
    found = parse_response(b"HTTP/1.1 %s x\r\nContent-Length: 5\r\n\r\n" % status, method)

    assert found is not None
    assert (found.body.size, found.body.truncated) == (0, False)


@pytest.mark.parametrize(
    ("data", "end"),
    [
        (b"GET / HTTP/1.1\r\n\r\nnext", 18),
        (b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabcnext", 41),
        (b"POST / HTTP/1.1\r\nContent-Length: 30\r\n\r\nabc", 69),
        (b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\nabc", 38),
        (b"HTTP/1.1 200 OK\r\n\r\nuntil closed", None),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\nnext", 58),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nA: b\r\n\r\nnext", 64),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nno chunk\r\n", None),
        (b"HTTP/1.1 200 OK\r\n", None),
    ],
)
def test_a_message_ends_where_its_head_says(data: bytes, end: int | None) -> None:
    assert message_end(data, 0) == end


def test_a_chunked_message_that_is_not_all_there_ends_beyond_it() -> None:
    whole = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    start = whole.index(b"\r\n\r\n") + 4
    for size in range(start, len(whole)):
        end = message_end(whole[:size], 0)
        assert end is not None
        assert end > size
