"""Captures of every format version, read as they always were."""

import json
import runpy
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest

from captures.confessions import Confessions
from captures.errors import CaptureError
from captures.exchange import Exchange, Request, Response
from captures.frame import FORMAT_VERSION, Kind
from captures.header import Header
from captures.opening import open_capture
from captures.testing import flip

GOLDEN = Path(__file__).parents[1] / "golden"
SCRIPT = runpy.run_path(str(GOLDEN / "regenerate.py"))
NAMES = sorted(path.stem for path in GOLDEN.glob("*.json"))
WRITTEN_THEN = {
    "v1-labels.tape": 0x413DE6AC,
    "v1-run.tape": 0x6070983E,
    "v1-small.tape": 0x3E3715DE,
    "v1-tiny.tape": 0x754B2680,
    "v1-unsealed.tape": 0x0AAFAAA2,
    "v1-rotated/20231114T221320Z-000002.tape": 0x9C7BDD83,
    "v1-rotated/20231114T221320Z-000003.tape": 0xB3B6B376,
    "v1-rotated/20231114T221320Z-000004.tape": 0x9C7BDD83,
}


def stored(name: str) -> Path:
    return next(path for path in (GOLDEN / f"{name}.tape", GOLDEN / name) if path.exists())


def defaults(noun: type[Any]) -> dict[str, Any]:
    """What a sidecar that is older than a field must be taken to say of it, as JSON."""
    found = {}
    for item in fields(noun):
        if item.default_factory is not MISSING:
            found[item.name] = item.default_factory()
        elif item.default is not MISSING:
            found[item.name] = item.default
    plain: dict[str, Any] = json.loads(json.dumps(found))
    return plain


def completed(sidecar: dict[str, Any]) -> dict[str, Any]:
    for exchange in sidecar["exchanges"]:
        exchange["request"] = defaults(Request) | exchange["request"]
        exchange["response"] = exchange["response"] and defaults(Response) | exchange["response"]
    return sidecar | {
        "header": defaults(Header) | sidecar["header"],
        "confessions": defaults(Confessions) | sidecar["confessions"],
        "exchanges": [defaults(Exchange) | exchange for exchange in sidecar["exchanges"]],
    }


@pytest.mark.parametrize("name", NAMES)
def test_a_golden_capture_reads_as_its_sidecar_says(name: str) -> None:
    sidecar = json.loads((GOLDEN / f"{name}.json").read_text(encoding="utf-8"))
    key = bytes.fromhex(sidecar["key"]) if "key" in sidecar else None

    with open_capture(stored(name), key=key) as capture:
        found = SCRIPT["sidecar"](capture)
        for position in range(len(capture.segments)):
            capture.check(position)

        assert found == completed(sidecar)
        assert capture.damage == ()


def test_the_golden_captures_of_older_versions_are_the_ones_that_were_written_then() -> None:
    """Nothing can write them again."""
    found = {path.relative_to(GOLDEN).as_posix(): crc32(path.read_bytes()) for path in GOLDEN.rglob("v1*/*.tape")}
    found |= {path.name: crc32(path.read_bytes()) for path in GOLDEN.glob("v1*.tape")}

    assert found == WRITTEN_THEN


@pytest.mark.parametrize("name", [*SCRIPT["FILES"], *SCRIPT["FOLDERS"]])
def test_every_example_has_its_files_and_reads_the_same_when_written_today(name: str, tmp_path: Path) -> None:
    """Not byte for byte: another zstd may compress better. The digest covers compressed bytes."""
    key = SCRIPT["key_of"](name)

    with open_capture(SCRIPT["write"](name, tmp_path), key=key) as today, open_capture(stored(name), key=key) as golden:
        assert SCRIPT["sidecar"](today) | {"digest": ""} == SCRIPT["sidecar"](golden) | {"digest": ""}


def test_there_is_one_of_every_version_and_shape() -> None:
    versions = {(path.relative_to(GOLDEN).parts[0][:3], path.read_bytes()[7]) for path in GOLDEN.rglob("*.tape")}

    assert versions == {(f"v{version}-", version) for version in range(1, FORMAT_VERSION + 1)}
    assert {path.parent.name for path in GOLDEN.rglob("*.tape")} == {"golden", "v1-rotated", "v2-rotated"}


@pytest.mark.parametrize("shape", ["tiny", "small", "unsealed", "labels", "run", "rotated"])
def test_the_same_was_written_in_every_version(shape: str) -> None:
    old, new = (json.loads((GOLDEN / f"v{version}-{shape}.json").read_text(encoding="utf-8")) for version in (1, 2))

    assert completed(old)["exchanges"] == completed(new)["exchanges"]


def test_the_encrypted_one_opens_with_its_key_only_and_not_where_it_was_changed(tmp_path: Path) -> None:
    path, key = stored("v2-encrypted"), bytes(range(32))
    with pytest.raises(CaptureError, match="no key was given"):
        open_capture(path)
    with pytest.raises(CaptureError, match="encrypted with key"):
        open_capture(path, key=bytes(32))

    with open_capture(path, key=key) as capture:
        body = next(piece for piece in capture.segments[0].flushes[0].pieces if piece.kind == Kind.MESSAGES)
    data = flip(path.read_bytes(), body.payload_offset, 1)
    payload = data[body.payload_offset : body.end - 4]
    (tmp_path / "a.tape").write_bytes(data[: body.end - 4] + crc32(payload).to_bytes(4, "little") + data[body.end :])
    with open_capture(tmp_path / "a.tape", key=key) as capture:
        assert len(list(capture.exchanges())) == len(capture) - capture.segments[0].exchanges
        assert ["does not decrypt" in damage.reason for damage in capture.damage] == [True]
