"""The .gor file against GoReplay's grammar, read by a reader of its own; and through our importer, field by field."""

import io
import re
from dataclasses import replace
from typing import Any

import pytest

from captures.exchange import Chunk, Exchange, Failure, FailureKind, Flags, Origin, Request, Response, header
from captures.exporters.gor import GorExporter
from captures.importers.gor import Gor
from captures.importers.importer import ImportOptions, SourceFile
from captures.importers.moved import moved
from captures.testing import example_exchange, example_exchanges, example_header

HEADER = example_header()
PLAIN = example_exchange(session=0).request
ASKED = replace(PLAIN, headers=(*PLAIN.headers, ("Content-Length", str(PLAIN.size))))
MONKEYS = "🐵🙈🙉\n".encode()
TWICE = (Chunk(5_000_000, b"ab"), Chunk(5_000_000, b"cde"))


def exported(found: list[Exchange]) -> tuple[bytes, dict[str, int]]:
    losses: dict[str, int] = {}
    return b"".join(GorExporter().write(HEADER, found, losses)), losses


def imported(data: bytes) -> list[Exchange]:
    items = Gor().read([SourceFile("x", io.BytesIO(data))], ImportOptions())
    found = [moved(item, -HEADER.wall_ns) for item in items if isinstance(item, Exchange)]
    return sorted(found, key=lambda exchange: exchange.arrival_ns)


def records(data: bytes) -> list[tuple[list[bytes], bytes]]:
    """As goreplay's input_file.go: lines up to one of three monkeys, the first of them meta data."""
    found, buffer = [], b""
    for line in re.findall(rb"[^\n]*\n", data):
        if line != MONKEYS:
            buffer += line
            continue
        content = buffer.removesuffix(b"\n")
        meta, _, payload = content.partition(b"\n")
        found.append((meta.split(b" "), payload))
        buffer = b""
    assert not buffer, "a record without its separator, which goreplay drops"
    return found


def chunked(exchange: Exchange) -> Exchange:
    assert exchange.response is not None
    headers = (("Content-Type", "text/plain"), ("Transfer-Encoding", "chunked"))
    response = replace(exchange.response, headers=headers, chunks=TWICE, size=5)
    return replace(exchange, response=response)


def kept(exchange: Exchange) -> Exchange:
    """What the format can hold."""
    response = exchange.response
    flags = Flags(0)
    if response and header(response.headers, "transfer-encoding"):
        flags = Flags.STREAM
    return replace(exchange, route="", codec="opaque", model="", session=0, flags=flags)


def test_the_file_follows_goreplays_grammar() -> None:
    data, _ = exported([*example_exchanges(2), chunked(example_exchange(arrival_ns=0))])

    found = records(data)

    assert [meta[0] for meta, _ in found] == [b"1", b"2"] * 3
    for (asked, request), (answered, response) in zip(found[::2], found[1::2], strict=True):
        assert re.fullmatch(rb"[0-9a-f]{24}", asked[1])
        assert asked[1] == answered[1]
        assert [len(asked), len(answered)] == [4, 4]
        assert all(field.isdigit() for field in (*asked[2:], *answered[2:]))
        assert request.startswith(b"POST /v2/models/house/infer HTTP/1.1\r\n")
        assert response.startswith(b"HTTP/1.1 200 OK\r\n")
        assert int(answered[2]) + int(answered[3]) - int(asked[2]) == 5_000_000
    assert found[-1][1].endswith(b"\r\n\r\n2\r\nab\r\n3\r\ncde\r\n0\r\n\r\n")
    assert len({meta[1] for meta, _ in found}) == 3


@pytest.mark.parametrize(
    "exchange",
    [
        example_exchange(request=ASKED),
        example_exchange(request=ASKED, response=None),
        example_exchange(request=ASKED, connection=0),
        chunked(example_exchange(arrival_ns=0, request=Request(method="GET", target="/", end_ns=0))),
        example_exchange(
            arrival_ns=5,
            request=Request(method="GET", target="/v2/health/ready?x", http_version="HTTP/1.0", end_ns=5),
            response=Response(status=503, reason="", first_ns=7, end_ns=7),
        ),
        example_exchange(
            arrival_ns=0,
            request=Request(
                method="POST",
                target="/",
                headers=(("Content-Length", "19"), ("X", "é")),
                chunks=(Chunk(9, "a\n🐵🙈🙉\nb".encode() + b"xyz"),),
                end_ns=9,
                size=19,
            ),
        ),
    ],
)
def test_what_the_format_holds_comes_back(exchange: Exchange) -> None:
    (found,) = imported(exported([exchange])[0])

    assert found == kept(exchange)


def test_connections_stay_apart() -> None:
    connections = [7, 9, 7, 0]
    found = imported(exported([example_exchange(arrival_ns=i, connection=c) for i, c in enumerate(connections)])[0])

    assert [exchange.connection for exchange in found] == [1, 2, 1, 0]


def test_nothing_is_lost_of_a_plain_exchange_but_its_session() -> None:
    assert exported([example_exchange(request=ASKED), example_exchange(request=ASKED, session=0)])[1] == {"sessions": 1}


def test_a_body_without_a_length_gets_one() -> None:
    data, losses = exported([example_exchange(session=0)])

    assert losses == {"lengths": 1}
    assert imported(data)[0].request.body == PLAIN.body


def test_nothing_breaks_out_of_a_head() -> None:
    request = Request(method="GET", target="/a b\r\nX: y\u1234", end_ns=1_000_000, headers=(("A", "b\r\nC: d"),))
    response = Response(status=200, reason="x\r\nE: f", first_ns=1_000_000, end_ns=1_000_000)
    data, losses = exported([example_exchange(session=0, request=request, response=response)])

    assert losses == {"odd_heads": 1}
    assert data.splitlines()[1] == b"GET /a%20b%0D%0AX:%20y%E1%88%B4 HTTP/1.1"
    assert not any(line.startswith((b"X:", b"C:", b"E:")) for line in data.splitlines())


@pytest.mark.parametrize(
    ("what", "changes"),
    [
        ("failures", {"failure": Failure(FailureKind.RESET, 2_000_000)}),
        ("labels", {"labels": (("region", "eu"),)}),
        ("origins", {"origin": Origin(row=1, source=2, variant=0, target="target")}),
        ("flags", {"flags": Flags.REQUEST_ALTERED}),
        ("flags", {"flags": Flags.SYNTHETIC}),
        ("incomplete_bodies", {"flags": Flags.RESPONSE_DROPPED}),
        ("unfinished_requests", {"request": Request(method="POST", target="/")}),
        ("unfinished_responses", {"response": Response(status=200, first_ns=1_000_000)}),
        ("unknown_first_bytes", {"response": Response(status=200, end_ns=1_000_000)}),
        ("chunk_times", {"response": Response(status=200, first_ns=1, end_ns=9_000_000, chunks=(*TWICE,))}),
    ],
)
def test_what_is_lost_is_counted(what: str, changes: dict[str, Any]) -> None:
    data, losses = exported([replace(example_exchange(session=0, request=ASKED), **changes)])

    assert losses == {what: 1}
    assert len(imported(data)) == 1
