"""`shadowtape import`: the policy holds for every format, every unit is accounted for, and OUT is whole or not there."""

import gzip
import io
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import shadowtape
from captures.confessions import Confessions
from captures.exchange import RUN_HEADER, Flags
from captures.exporters.jsonl import JsonlExporter
from captures.importers.account import Account
from captures.opening import open_capture
from captures.privacy.policy import Policy
from captures.privacy.scan import scan
from captures.reader import Capture
from captures.testing import example_exchanges, example_header

SAMPLES = Path(__file__).resolve().parents[1] / "golden/import"
SEP = "\n🐵🙈🙉\n".encode()
T = 1_700_000_000_000_000_000
SECRETS = (
    b"Ada.Lovelace@mail.example.com",
    b"4111111111111111",
    b"sk_live_51H8a9fQx",
    b"Lovelace",
    b"+44 20 7946 0958",
)
PLANTED = (
    b'{"id":"Ada.Lovelace@mail.example.com","parameters":{"card":"4111111111111111"},'
    b'"inputs":[{"name":"note","datatype":"BYTES","shape":[1],"data":["Lovelace phoned from +44 20 7946 0958"]}]}'
)


def run(*arguments: object) -> int:
    return shadowtape.run([str(argument) for argument in arguments])


def imported(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, Any]:
    assert run("import", *arguments, "--json") == 0
    told: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert told["read"] == told["written"] + sum(told["dropped"].values())
    return told


def gor(*targets: str, at_ns: int = T, body: bytes = b"{}", extra: bytes = b"") -> bytes:
    head = b"POST %s HTTP/1.1\r\nAuthorization: Bearer sk_live_51H8a9fQx\r\nX-User: Lovelace\r\n%sContent-Length: %d\r\n\r\n"
    return b"".join(
        b"1 %024x %d 0\n" % (number + 1, at_ns + number) + head % (target.encode(), extra, len(body)) + body + SEP
        for number, target in enumerate(targets)
    )


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out.tape"


@pytest.mark.parametrize("sample", sorted(path.name for path in SAMPLES.iterdir()))
def test_every_format_becomes_a_sound_capture(sample: str, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    template = ("--path-template", "/v2/models/{model}/infer") if sample.startswith("kserve") else ()
    told = imported(capsys, SAMPLES / sample, out, "--model", "house", *template)

    assert told["format"] == sample.partition(".")[0]
    with open_capture(out) as capture:
        assert len(capture) == told["written"] > 0
        assert capture.header.kind == "recording"
        assert int(capture.columns().columns["arrival_ns"].min()) >= 0
    assert run("verify", out) == 0
    assert run("audit", out) == 0


def planted(sample: str) -> bytes:
    """A sample of each format with secrets where a request of its has room for them."""
    content = (SAMPLES / sample).read_bytes()
    return content.replace(b"house", b"Lovelace").replace(b"model.example", b"Ada.Lovelace@mail.example.com")


@pytest.mark.parametrize("sample", ["har.har", "sagemaker.jsonl", "jsonl.by-hand.jsonl", "envoy-tap.streamed.json"])
def test_nothing_leaks_from_what_samples_hold(sample: str, out: Path, tmp_path: Path) -> None:
    source = tmp_path / sample
    source.write_bytes(planted(sample).replace(b"/v2/models/Lovelace/infer", b"/users/Lovelace/4111111111111111"))

    assert run("import", source, out) == 0

    assert_clean(out)


def test_nothing_leaks_from_a_recording_full_of_secrets(out: Path, tmp_path: Path) -> None:
    source = tmp_path / "x.gor"
    targets = ["/v2/models/house/infer?user=Lovelace", "/users/Ada.Lovelace@mail.example.com", "/v2/models/house/infer"]
    source.write_bytes(gor(*targets, body=PLANTED, extra=b"Cookie: sid=Lovelace\r\n") + b"1 Lovelace 17" + SEP)

    assert run("import", source, out) == 0

    assert_clean(out)
    with open_capture(out) as capture:
        assert [exchange.codec for exchange in capture.exchanges()] == ["oip-v2", "opaque", "oip-v2"]


def assert_clean(path: Path) -> None:
    with open_capture(path) as capture:
        assert scan(capture, SECRETS) == ()
        assert len(capture) > 0
    data = path.read_bytes()
    assert not [secret for secret in SECRETS if secret in data]


def test_the_header_says_where_it_came_from(out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.gor").write_bytes(gor("/a", "/b"))
    told = imported(capsys, tmp_path / "x.gor", out, "--seed", 3, "--expire", "30d")

    with open_capture(out) as capture:
        header = capture.header
        assert [exchange.arrival_ns for exchange in capture.exchanges()] == [0, 1]
        assert capture.confessions == Confessions(seen=2)
    assert header.wall_ns == T
    assert header.producer.endswith(" import gor")
    assert header.notes == {"import": {"format": "gor", "notes": told["notes"], "seed": 3, "files": 1}}
    assert (header.policy_digest, header.sampling_rate) == (Policy().digest, 1.0)
    assert header.expires_ns > time.time_ns() + 29 * 86_400 * 10**9
    assert "x.gor" not in repr(header)


def test_what_arrived_before_the_first_batch_has_a_negative_time(out: Path, tmp_path: Path) -> None:
    """Files are not in the order of time; the zero is the least arrival of the first few hundred exchanges."""
    late = [gor("/a", at_ns=T + 1000 * i) for i in range(300)]
    (tmp_path / "1.gor").write_bytes(b"".join(late))
    (tmp_path / "2.gor").write_bytes(gor("/early", at_ns=T - 5000))

    assert run("import", tmp_path, out) == 0

    with open_capture(out) as capture:
        assert len(capture) == 301
        assert int(capture.columns().columns["arrival_ns"].min()) == -5000
    assert run("verify", out) == 0


def test_what_is_dropped_is_counted_and_confessed(
    out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = gor("/a", "/b", "/c") + b"rubbish" + SEP + gor("/mine", extra=f"{RUN_HEADER}: x\r\n".encode())
    (tmp_path / "x.gor").write_bytes(data)
    packed = gzip.compress(gor("/d", at_ns=T + 99), mtime=0)
    (tmp_path / "y.gor.gz").write_bytes(packed[:-6])

    told = imported(capsys, tmp_path, out)

    assert (told["read"], told["written"]) == (7, 4)
    assert told["dropped"] == {"damaged": 2, "own_run": 1}
    assert told["where"]["damaged"].startswith("x.gor byte ")
    with open_capture(out) as capture:
        assert capture.confessions == Confessions(seen=7, shed=2, own=1)


def test_a_person_is_told_what_was_dropped(out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.gor").write_bytes(gor("/a") + b"[red]" + SEP)

    assert run("import", tmp_path / "x.gor", out) == 0

    said = capsys.readouterr().out
    assert "1 exchange of 2 read, gor, 1 file" in said
    assert "damaged" in said
    assert "x.gor byte" in said


def test_an_exchange_no_capture_can_hold_costs_itself(
    out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = {"arrival_ns": T, "connection": 1, "request": {"method": "GET", "target": "/"}}
    lines = [line, line | {"connection": 1 << 40}, line | {"response": {"status": 70_000}}, line]
    (tmp_path / "x").write_bytes(b"\n".join(json.dumps(each).encode() for each in lines))

    assert imported(capsys, tmp_path / "x", out)["dropped"] == {"damaged": 2}


def test_what_was_made_up_is_kept_as_it_is_and_never_valid(out: Path) -> None:
    assert run("import", SAMPLES / "mooncake.jsonl", out, "--model", "some/Model-1") == 0

    with open_capture(out) as capture:
        found = list(capture.exchanges())
    assert all(Flags.SYNTHETIC | Flags.REPLAYABLE in exchange.flags for exchange in found)
    assert not any(Flags.RECORDED_VALID in exchange.flags for exchange in found)
    assert all(b"some/Model-1" in exchange.request.body for exchange in found)


def test_the_same_seed_makes_up_the_same(out: Path, tmp_path: Path) -> None:
    again, other = tmp_path / "again.tape", tmp_path / "other.tape"
    for path, seed in ((out, 7), (again, 7), (other, 8)):
        assert run("import", SAMPLES / "azure-llm.csv", path, "--model", "m", "--seed", seed) == 0

    assert contents(out) == contents(again) != contents(other)


def contents(path: Path) -> list[bytes]:
    with open_capture(path) as capture:
        return [exchange.request.body for exchange in capture.exchanges()]


def test_a_key_file_makes_tokens_that_join(out: Path, tmp_path: Path) -> None:
    (tmp_path / "x.gor").write_bytes(gor("/v2/models/house/infer", body=PLANTED))
    (tmp_path / "keys").mkdir()
    again = tmp_path / "again.tape"
    for path in (out, again):
        assert run("import", tmp_path / "x.gor", path, "--key", tmp_path / "keys/k") == 0

    assert contents(out) == contents(again)


def test_a_capture_can_be_encrypted(out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.gor").write_bytes(gor("/a"))
    (tmp_path / "keys").mkdir()
    imported(capsys, tmp_path / "x.gor", out, "--encrypt", tmp_path / "keys/k")

    assert run("inspect", out) == 5
    assert run("inspect", out, "--tape-key", tmp_path / "keys/k") == 0


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("missing",), 5, "missing: no such file"),
        (("unknown",), 5, "unknown: its format is not recognised; say --format: azure-llm"),
        (("empty",), 5, "empty: nothing in it"),
        (
            ("rubbish", "--format", "gor"),
            5,
            "nothing that could be imported as gor; dropped: 1 damaged (first: rubbish",
        ),
        (("good", "--format", "goor"), 2, "did you mean gor?"),
        (("good", "--policy", "missing.yaml"), 2, "missing.yaml: cannot be read"),
        (("good", "--key", "beside"), 2, "keep the key away from the capture"),
        (("good", "--expire", "soon"), 2, "not a duration"),
        (("good", "--expire", "0"), 2, "write a duration with its unit"),
        (("trace",), 2, "--model"),
    ],
)
def test_what_a_user_can_get_wrong_is_one_line(
    arguments: tuple[str, ...],
    code: int,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    contents = {"unknown": b"hello", "empty": b"", "rubbish": b"rubbish", "good": gor("/a")}
    for name, content in (contents | {"trace": (SAMPLES / "mooncake.jsonl").read_bytes()}).items():
        Path(name).write_bytes(content)

    assert run("import", arguments[0], "out.tape", *arguments[1:]) == code

    complaint = capsys.readouterr().err
    assert said in complaint
    assert complaint.count("\n") == 1
    assert not Path("out.tape").exists()


@pytest.mark.parametrize("name", ["taken.tape", "out.gor", "no/folder.tape"])
def test_out_is_checked_before_anything_is_read(name: str, tmp_path: Path) -> None:
    (tmp_path / "taken.tape").write_bytes(b"mine")

    assert run("import", tmp_path / "missing", tmp_path / name) == 2

    assert (tmp_path / "taken.tape").read_bytes() == b"mine"


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("bug")])
def test_half_a_capture_is_removed(
    error: BaseException, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "x.gor").write_bytes(gor("/a"))

    def fail(*_: object) -> None:
        assert out.exists()
        raise error

    monkeypatch.setattr(Account, "write", fail)

    assert run("import", tmp_path / "x.gor", out) == (130 if isinstance(error, KeyboardInterrupt) else 70)
    assert not out.exists()


def test_an_account_that_does_not_add_up_is_our_crash(
    out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "x.gor").write_bytes(gor("/a"))
    monkeypatch.setattr(Account, "write", lambda *_: None)

    assert run("import", tmp_path / "x.gor", out) == 70
    assert "read 1, wrote 0, dropped 0" in capsys.readouterr().err
    assert not out.exists()


# -- what was exported


def export(path: Path, **header: Any) -> Path:
    told = example_header(policy={"version": 1}, policy_digest="digest", key_id="k", labels=("region",), **header)
    found = [replace(exchange, labels=(("region", "eu"),)) for exchange in example_exchanges(3)]
    confessions = Confessions(seen=7, shed=2, sampled_out=2, sampling_rate=0.5)
    pieces = JsonlExporter(confessions=confessions, exchanges=3).write(told, found, {})
    path.write_bytes(b"".join(pieces))
    return path


def opened(path: Path) -> Capture:
    return open_capture(path)


def test_an_export_becomes_the_capture_it_was(out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    imported(capsys, export(tmp_path / "x.jsonl", kind="derived", expires_ns=2**62), out)

    with opened(out) as capture:
        assert [replace(exchange, labels=()) for exchange in capture.exchanges()] == example_exchanges(3)
        assert [exchange.labels for exchange in capture.exchanges()] == [(("region", "eu"),)] * 3
        assert capture.confessions == Confessions(seen=7, shed=2, sampled_out=2, sampling_rate=0.5)
        told = example_header(
            kind="derived",
            policy={"version": 1},
            policy_digest="digest",
            key_id="k",
            labels=("region",),
            expires_ns=2**62,
        )
        assert replace(capture.header, file_id=told.file_id) == told
        assert capture.header.file_id != told.file_id


def test_an_export_that_was_changed_loses_what_was_changed(
    out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = export(tmp_path / "x.jsonl")
    path.write_bytes(path.read_bytes().replace(b'"session":2', b'"session":3'))

    assert imported(capsys, path, out)["dropped"] == {"changed": 1}
    with opened(out) as capture:
        assert capture.confessions.shed == 3


@pytest.mark.parametrize("option", ["--policy", "--key"])
def test_an_export_is_under_its_policy_already(
    option: str, out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("import", export(tmp_path / "x.jsonl"), out, option, tmp_path / "file") == 2
    assert "leave --policy and --key out" in capsys.readouterr().err


def test_an_export_of_an_expired_capture_is_refused(
    out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("import", export(tmp_path / "x.jsonl", expires_ns=1), out) == 5
    assert "expired; delete it" in capsys.readouterr().err


def test_an_empty_export_is_an_empty_capture(out: Path, tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    told = example_header(policy={"version": 1}, policy_digest="digest")
    path.write_bytes(b"".join(JsonlExporter(confessions=Confessions(), exchanges=0).write(told, [], {})))

    assert run("import", path, out) == 0
    with opened(out) as capture:
        assert len(capture) == 0


def test_labels_and_flags_of_a_file_made_by_hand_are_not_believed(out: Path, tmp_path: Path) -> None:
    line = {
        "arrival_ns": T,
        "flags": ["synthetic", "recorded_valid"],
        "labels": {"who": "Lovelace"},
        "request": {"method": "POST", "target": "/v2/models/house/infer", "body": PLANTED.decode()},
        "failure": {"kind": "reset", "detail": "Lovelace"},
    }
    (tmp_path / "x.jsonl").write_text(json.dumps(line))

    assert run("import", tmp_path / "x.jsonl", out) == 0

    assert_clean(out)


def test_stdin_is_a_source(out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x").write_bytes(gor("/a", "/b"))
    with (tmp_path / "x").open("rb") as file:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(file))
        assert run("import", "-", out) == 0
    with opened(out) as capture:
        assert len(capture) == 2
