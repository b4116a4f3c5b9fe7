import tomllib
from pathlib import Path

import pytest

from captures.errors import UsageError
from transforms import catalogue
from transforms.amplify import Amplify
from transforms.catalogue import build, build_all
from transforms.noise import Noise
from transforms.testing import check_transform
from transforms.time_scale import TimeScale
from transforms.transform import Transform, describe

PLUGIN = """
from dataclasses import dataclass
from typing import ClassVar

@dataclass(frozen=True)
class Later:
    name: ClassVar[str] = "later"
    by_ns: int = 5
    def __call__(self, schedule, view, rng):
        return schedule

class NotOne:
    pass
"""


@pytest.mark.parametrize(
    ("text", "transform"),
    [
        ("time_scale:factor=5", TimeScale("5")),
        ("amplify:copies=2.5,jitter=1s", Amplify("2.5", "1s")),
        (" noise:feature=MedInc,sd=0.5 ", Noise("MedInc", "0.5")),
        ("noise:feature=a,b=c,sd=1", None),
        ("noise:feature=x[0,1],sd=1", Noise("x[0,1]", "1")),
        ("noise:feature=a:b,sd=1", Noise("a:b", "1")),
    ],
)
def test_text_becomes_a_transform(text: str, transform: Transform | None) -> None:
    if transform is None:
        with pytest.raises(UsageError, match="unknown option 'b'"):
            build(text)
    else:
        assert build(text) == transform


@pytest.mark.parametrize("text", ["time_scale:factor=5", "amplify:copies=2.5", "noise:feature=MedInc,sd=0.5,share=25%"])
def test_a_transform_survives_being_written_down(text: str) -> None:
    assert describe(build(text)) == text


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("noize:sd=1", r"no transform named 'noize' \(did you mean noise\?\); there are: .*amplify, noise, time_scale"),
        ("", "no transform named ''"),
        ("noise:feature=a,sdd=1", r"noise: unknown option 'sdd' \(did you mean sd\?\); it takes feature, sd, share"),
        ("noise:sd=1", "noise: option 'feature' is required; it takes feature, sd, share"),
        ("noise:feature", "noise: 'feature' is not option=value; it takes feature, sd, share"),
        ("noise:sd=1,sd=2", "noise: option 'sd' is given twice"),
        ("noise:feature=a,sd=-1", "noise: sd is -1; it counts"),
        ("time_scale:factor=fast", "time_scale: factor is 'fast', not a number"),
        ("time_scale:name=x", "time_scale: unknown option 'name'"),
        ("/no/such/file.py:X", "/no/such/file.py: cannot be loaded: FileNotFoundError"),
        ("/no/such/file.py", "which class"),
    ],
)
def test_what_cannot_be_built_is_explained_in_one_line(text: str, complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint) as raised:
        build(text)

    assert "\n" not in str(raised.value)


def test_a_transform_may_come_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(PLUGIN, encoding="utf-8")

    assert describe(build(f"{file}:Later:by_ns=7")) == "later:by_ns=7"
    assert describe(build(f"{file}:Later")) == "later"
    with pytest.raises(UsageError, match=r"Later: by_ns: Input should be a valid integer"):
        build(f"{file}:Later:by_ns=soon")
    with pytest.raises(UsageError, match=r"no class named 'Sooner'; there are: Later, NotOne"):
        build(f"{file}:Sooner")
    with pytest.raises(UsageError, match="'NotOne' is not a dataclass with a name"):
        build(f"{file}:NotOne")


def test_a_file_that_cannot_be_run_says_why(tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text("1 / 0", encoding="utf-8")

    with pytest.raises(UsageError, match="cannot be loaded: ZeroDivisionError"):
        build(f"{tmp_path / 'bad.py'}:X")


def test_a_name_that_leads_nowhere_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "names", lambda: {"gone": "transforms.nowhere:Gone"})

    with pytest.raises(UsageError, match=r"'gone' cannot be loaded from transforms\.nowhere:Gone"):
        build("gone")


def test_built_ins_stand_without_metadata(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "entry_points", lambda group: ())

    assert [type(one) for one in build_all(["time_scale:factor=2", "amplify:copies=2"])] == [TimeScale, Amplify]


def test_the_table_of_built_ins_is_the_one_of_the_distribution() -> None:
    project = tomllib.loads(Path(__file__).parents[2].joinpath("pyproject.toml").read_text(encoding="utf-8"))

    assert project["project"]["entry-points"]["shadowtape.transforms"] == catalogue.BUILT_IN


@pytest.mark.parametrize("name", sorted(catalogue.BUILT_IN))
def test_a_name_is_the_name_the_class_says(name: str) -> None:
    module, _, attribute = catalogue.BUILT_IN[name].partition(":")

    assert getattr(__import__(module, fromlist=[attribute]), attribute).name == name


@pytest.mark.parametrize("name", sorted(catalogue.BUILT_IN))
def test_every_transform_is_explained(name: str) -> None:
    docs = Path(__file__).parents[2].joinpath("docs", "transforms.md").read_text(encoding="utf-8")

    assert f"### {name}" in docs


def test_the_example_of_the_docs_is_a_transform(tmp_path: Path) -> None:
    docs = Path(__file__).parents[2].joinpath("docs", "transforms.md").read_text(encoding="utf-8")
    example = docs.split("```python\n")[1].split("```")[0]
    (tmp_path / "delay.py").write_text(example, encoding="utf-8")
    delay = build(f"{tmp_path / 'delay.py'}:Delay:by=2s")

    check_transform(delay)
    assert describe(delay) == "delay:by=2s"
