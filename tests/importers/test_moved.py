from captures.exchange import Failure, FailureKind, Origin, Request, Response
from captures.importers.moved import moved
from captures.testing import example_exchange


def test_every_time_moves() -> None:
    origin = Origin(row=1, source=2, variant=0, target="t", intended_ns=7)
    at = example_exchange(arrival_ns=0, failure=Failure(FailureKind.RESET, 3), origin=origin)

    found = moved(at, 1000)

    expected = example_exchange(arrival_ns=1000, failure=Failure(FailureKind.RESET, 1003), origin=moved_origin(origin))
    assert found == expected
    assert moved(found, -1000) == at


def moved_origin(origin: Origin) -> Origin:
    return Origin(row=1, source=2, variant=0, target="t", intended_ns=origin.intended_ns + 1000)


def test_what_never_came_does_not_move() -> None:
    request, response = Request(method="GET", target="/"), Response(status=200)
    found = moved(example_exchange(arrival_ns=0, request=request, response=response), 5)

    assert (found.request, found.response) == (request, response)


def test_no_time_becomes_the_number_that_means_never() -> None:
    found = moved(example_exchange(arrival_ns=5, request=Request(method="GET", target="/", end_ns=9)), -10)

    assert found.request.end_ns == 0
