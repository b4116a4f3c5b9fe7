"""Any head is admitted or counted, the same again, and the session it belongs to decides alone; no head is gone over twice.

A head of thousands of characters that almost fit is decided as quickly as any other: a pattern that tried every way would not end.
"""

import random

from captures.errors import UsageError
from recorder.admission import admission_of
from recorder.board import Count
from recorder.filters import parse_filters

_PIECES = [
    "a",
    "ab",
    "b*",
    "*",
    " ",
    "\t",
    "; ",
    ";",
    "sid=",
    "s=",
    "&",
    "?",
    "/",
    "\r\n",
    "\n",
    "x:",
    "Cookie: ",
    "\xff",
    "#",
    "%",
]
_RULES = [
    "POST /v2/*a*b",
    "GET",
    "*b/*",
    "header:x=*a*b*",
    "header:cookie",
    "header:y=b",
    "/*a*a*a",
    "status:5xx",
    "model:a*",
]
_VERDICTS = {None, Count.OWN, Count.FILTERED, Count.SAMPLED_OUT}


def case(rng: random.Random) -> None:
    session = rng.choice(["", "header:x", "cookie:sid", "query:s"])
    only, without = (rng.sample(_RULES, rng.randrange(3)) for _ in range(2))
    rules = [*only, *without, "".join(rng.choices(_PIECES, k=3))]
    try:
        filters = parse_filters(only, [*without, rules[-1]] if rng.random() < 0.5 else without)
    except UsageError:
        return
    workers = [
        admission_of(rng.choice([0.5, 1.0]), key=b"k" * 32, worker=0, session=session, filters=filters),
    ]
    workers.append(admission_of(workers[0].rate, key=b"k" * 32, worker=0, session=session, filters=filters))
    for _ in range(20):
        head = _head(rng)
        verdicts = [worker.verdict(head) for worker in workers]
        assert verdicts[0] == verdicts[1], "the same head was decided in two ways"
        assert verdicts[0] in _VERDICTS
    if session == "header:x":
        fixed = b"POST /v2/ab?s=1 HTTP/1.1\r\nx: user\r\n\r\n"
        assert len({worker.verdict(fixed) for worker in workers * 5}) == 1, "a session was torn apart"


def _head(rng: random.Random) -> bytes:
    """Mostly like a request, with runs of one piece."""
    runs = [rng.choice(_PIECES) * rng.choice([1, 1, 2, 2000]) for _ in range(6)]
    first = rng.choice(["POST /v2/", "GET /", "GET http://h/", ""]) + runs[0] + " HTTP/1.1\r\n"
    fields = "".join(rng.choice(["Cookie: ", "x: ", "y:", ""]) + run + "\r\n" for run in runs[1:])
    return (first + fields + rng.choice(["\r\n", ""])).encode("latin-1")
