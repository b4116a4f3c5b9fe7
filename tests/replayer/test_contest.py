"""Who is compared with whom: names of candidates, and which objectives a run can answer."""

import pytest

from captures.errors import UsageError
from replayer.contest import BUILT_IN, Contest, objectives_of, targets_of

URL = "http://127.0.0.1:8081"


@pytest.mark.parametrize(
    ("candidate", "roles"),
    [
        (URL, ["candidate"]),
        (f"v2={URL}", ["v2"]),
        (f"{URL}/a=b", ["candidate"]),
    ],
)
def test_a_candidate_may_have_a_name(candidate: str, roles: list[str]) -> None:
    assert list(targets_of(Contest(candidate=candidate))) == roles


def test_the_candidate_comes_before_the_baseline() -> None:
    targets = targets_of(Contest(candidate=f"v2={URL}", baseline="http://127.0.0.1:8080"))
    assert [(role, target.port) for role, target in targets.items()] == [("v2", 8081), ("baseline", 8080)]


@pytest.mark.parametrize("name", ["baseline", "recorded", ""])
def test_a_candidate_needs_a_name_of_its_own(name: str) -> None:
    with pytest.raises(UsageError, match="a name of its own"):
        targets_of(Contest(candidate=f"{name}={URL}"))


def test_a_url_that_is_none_is_told_by_its_flag() -> None:
    with pytest.raises(UsageError, match="--candidate"):
        targets_of(Contest(candidate="v2=nonsense"))


def test_without_objectives_the_built_in_ones_judge_what_is_seen() -> None:
    found = objectives_of((), Contest(candidate=URL))
    assert [one.text for one in found] == list(BUILT_IN)
    assert all(one.seen for one in found)


@pytest.mark.parametrize("text", ["latency.p99 < 1s", "lateness.max < 1s", "throughput > 1/s"])
def test_times_and_rates_need_recorded_timing(text: str) -> None:
    with pytest.raises(UsageError, match="add --speed 1"):
        objectives_of([text], Contest(candidate=URL))
    assert not objectives_of([text], Contest(candidate=URL, paced=True))[0].seen
