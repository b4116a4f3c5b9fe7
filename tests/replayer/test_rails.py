"""Each rail, and attempts to get past it."""

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from captures.errors import RefusedError
from captures.exchange import Flags
from captures.header import Header, source_digest
from captures.testing import example_header
from replayer.rails import Holder, Surroundings, check_target, is_loopback, sendable
from replayer.target import parse_target

HERE = Surroundings(("127.0.0.1",))
THERE = Surroundings(("10.0.0.7",))


def check(url: str, around: Surroundings, *headers: Header, **allowed: object) -> None:
    check_target(parse_target(url), around, headers, **allowed)  # type: ignore[arg-type]  # as the test wrote them


@pytest.mark.parametrize(
    ("addresses", "own"),
    [
        (("127.0.0.1",), True),
        (("127.9.9.9", "::1"), True),
        (("::ffff:127.0.0.1",), True),
        (("0.0.0.0",), True),
        (("::1%lo",), True),
        (("127.0.0.1", "10.0.0.7"), False),  # one name, two places
        (("::ffff:10.0.0.7",), False),
        (("10.0.0.7",), False),
        (("fe80::1%eth0",), False),
        (("nonsense",), False),
        ((), False),
    ],
)
def test_this_machine_is_where_every_address_is_its_own(addresses: tuple[str, ...], own: bool) -> None:
    assert is_loopback(addresses) is own


def test_another_machine_must_be_allowed_by_its_name() -> None:
    with pytest.raises(RefusedError, match="--allow-host model"):
        check("http://model:8080", THERE)
    check("http://model:8080", THERE, allow_hosts=["model"])
    check("http://model:8080", THERE, allow_hosts=["MODEL:8080"])
    check("http://[fd00::7]:8080", Surroundings(("fd00::7",)), allow_hosts=["[fd00::7]"])


@pytest.mark.parametrize("near", ["mode", "model.evil", "*", "", "10.0.0.7", "model:80", "evil,model"])
def test_a_name_that_is_only_like_an_allowed_one_is_not_allowed(near: str) -> None:
    with pytest.raises(RefusedError):
        check("http://model:8080", THERE, allow_hosts=[near])


def test_a_name_that_looks_local_but_resolves_elsewhere_is_refused() -> None:
    with pytest.raises(RefusedError, match="not on this machine"):
        check("http://localhost.evil.example", THERE)
    with pytest.raises(RefusedError, match="not on this machine"):
        check("http://localhost:8080", THERE)
    with pytest.raises(RefusedError, match="not on this machine"):
        check("http://localhost:8080", Surroundings(("127.0.0.1", "10.0.0.7")))


def test_a_name_without_an_address_cannot_be_reached() -> None:
    with pytest.raises(RefusedError, match="cannot be reached"):
        check("http://nowhere.invalid", Surroundings(()), allow_hosts=["nowhere.invalid"])


@pytest.mark.parametrize(
    "holder",
    [
        Holder("kubectl"),
        Holder("/usr/local/bin/kubectl"),
        Holder("ssh", ("ssh", "-L", "8080:prod:80", "jump")),
        Holder("socat"),
        Holder("session-manager-plugin"),
        Holder("python3", ("python3", "gcloud.py", "compute", "start-iap-tunnel")),
        Holder("node", ("node", "lens", "port-forward", "svc/model")),
        Holder("shadowtape", ("shadowtape", "record")),
    ],
)
def test_a_forwarder_on_this_machine_counts_as_another_machine(holder: Holder) -> None:
    around = Surroundings(("127.0.0.1",), (Holder("python3"), holder))

    with pytest.raises(RefusedError, match="forwards it elsewhere"):
        check("http://127.0.0.1:8080", around)
    check("http://127.0.0.1:8080", around, allow_hosts=["127.0.0.1"])


def test_a_server_on_this_machine_needs_no_leave() -> None:
    check("http://127.0.0.1:8080", Surroundings(("127.0.0.1",), (Holder("python3", ("python3", "-m", "kserve")),)))
    check("http://127.0.0.1:8080", HERE)


@pytest.mark.parametrize("recorded", ["localhost", "127.0.0.1", "0.0.0.0", "::1"])
@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]", "127.1"])
def test_the_captures_own_source_is_known_under_all_its_names(recorded: str, host: str) -> None:
    header = example_header(source_digests=(source_digest(example_header().recording_id, recorded, 8080),))

    with pytest.raises(RefusedError, match="--allow-source"):
        check(f"http://{host}:8080", HERE, example_header(), header)
    check(f"http://{host}:8080", HERE, header, allow_source=True)
    check(f"http://{host}:8081", HERE, header)


def test_allowing_the_host_does_not_allow_the_source() -> None:
    header = example_header(source_digests=(source_digest(example_header().recording_id, "10.0.0.7", 80),))

    with pytest.raises(RefusedError, match="--allow-source"):
        check("http://model", THERE, header, allow_hosts=["model"])


def test_a_derived_capture_still_knows_its_source() -> None:
    digest = source_digest(example_header().recording_id, "model", 80)
    derived = example_header(file_id=b"another file id!", source_digests=(digest,), kind="derived")

    with pytest.raises(RefusedError, match="--allow-source"):
        check("http://model", THERE, derived, allow_hosts=["model"])


LINES = [
    "POST /v2/models/a/infer",
    "GET /v2/health/ready",
    "POST /v2/repository/models/a/unload",
    "DELETE /v2/health/ready",
]
FLAGS = np.array([Flags.INFERENCE | Flags.REPLAYABLE, Flags.REPLAYABLE, 0, 0], dtype=np.uint32)


def sent(*allow_paths: str) -> list[str]:
    def line_of(ordinals: NDArray[np.int64]) -> Sequence[str]:
        return [LINES[place] for place in ordinals.tolist()]

    return [LINES[place] for place in np.flatnonzero(sendable(FLAGS, allow_paths, line_of))]


def test_only_what_is_inference_is_sent() -> None:
    assert sent() == LINES[:1]


def test_a_path_is_allowed_with_its_method_and_nothing_else_is() -> None:
    assert sent("GET /v2/health/*") == LINES[:2]
    assert sent("/v2/health/ready") == LINES[:1]
    assert sent("get /v2/health/ready") == LINES[:1]
    assert sent("POST /v2/repository") == LINES[:1]
    assert sent("* /v2/*") == LINES
