"""What users write for a recording, and how mistakes are told."""

from pathlib import Path

import pytest

from captures.errors import UsageError
from captures.rotation import Rotation
from recorder.options import (
    Address,
    Storage,
    Upstream,
    numbered,
    parse_address,
    parse_admin,
    parse_duration_ns,
    parse_limits,
    parse_log,
    parse_share,
    parse_storage,
    parse_upstream,
    parse_workers,
)
from recorder.recording import Limits


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://127.0.0.1:8000", Upstream("http", Address("127.0.0.1", 8000))),
        ("http://model", Upstream("http", Address("model", 80))),
        ("https://model.svc/", Upstream("https", Address("model.svc", 443))),
        ("http://[::1]:9", Upstream("http", Address("::1", 9))),
    ],
)
def test_upstreams_as_people_write_them(text: str, expected: Upstream) -> None:
    assert parse_upstream(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "model:8000",
        "ftp://model",
        "http://",
        "http://model/v2",
        "http://model?x=1",
        "http://model:99999",
        "",
        "http://model:x",
    ],
)
def test_an_upstream_that_cannot_work_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--upstream"):
        parse_upstream(text)


def test_a_refused_upstream_never_repeats_its_password() -> None:
    with pytest.raises(UsageError) as caught:
        parse_upstream("http://user:hunter2@model")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("127.0.0.1:8080", Address("127.0.0.1", 8080)),
        (":8080", Address("0.0.0.0", 8080)),
        ("[::1]:0", Address("::1", 0)),
    ],
)
def test_listen_addresses(text: str, expected: Address) -> None:
    assert parse_address(text) == expected


@pytest.mark.parametrize("text", ["8080", "host", "host:", "host:-1", "host:65536", "host:http", "::1:80", "host:٣"])
def test_a_listen_address_that_cannot_work_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="HOST:PORT"):
        parse_address(text)


@pytest.mark.parametrize(
    ("text", "expected"), [("25%", 0.25), ("0.25", 0.25), ("100%", 1.0), ("1", 1.0), ("0.1 %", 0.001)]
)
def test_shares(text: str, expected: float) -> None:
    assert parse_share(text) == expected


@pytest.mark.parametrize("text", ["25", "0%", "0", "-5%", "101%", "a%", "", "nan"])
def test_a_share_that_means_two_things_or_nothing_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="25%"):
        parse_share(text)


@pytest.mark.parametrize(
    ("text", "seconds"), [("60s", 60), ("500ms", 0.5), ("1.5h", 5400), ("2m", 120), ("1d", 86400), ("0.1s", 0.1)]
)
def test_durations_are_exact(text: str, seconds: float) -> None:
    assert parse_duration_ns(text) == round(seconds * 1_000_000_000)


@pytest.mark.parametrize("text", ["60", "0s", "-1s", "1 week", "s", ""])
def test_a_duration_without_a_unit_or_a_length_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="60s"):
        parse_duration_ns(text)


STATE = Path("/home/u/.local/state")


def test_one_file_is_never_rotated() -> None:
    assert parse_storage("a/x.tape", state=STATE) == Storage(out="a/x.tape", path=Path("a/x.tape"), min_free=256 << 20)


@pytest.mark.parametrize("out", ["tapes", "tapes/", "a/tapes", ".tapes", "tapes-2026.11/"])
def test_a_folder_always_rotates(out: str) -> None:
    storage = parse_storage(out, state=STATE)
    assert (storage.path, storage.rotation) == (Path(out), Rotation(size_bytes=256 << 20))


def test_what_is_written_for_a_folder_is_what_is_done() -> None:
    storage = parse_storage(
        "tapes",
        state=STATE,
        rotate_size="64MiB",
        rotate_every="30m",
        keep="20GiB",
        keep_for="7d",
        min_free="0",
        expire="30d",
        fsync=True,
        encrypt=Path("k"),
        labels=("a=path:1",),
    )
    day = 86_400_000_000_000
    assert storage.rotation == Rotation(size_bytes=64 << 20, every_ns=day // 48, keep_bytes=20 << 30, keep_ns=7 * day)
    assert (storage.expire_ns, storage.min_free, storage.fsync) == (30 * day, 0, True)
    assert (storage.encrypt, storage.labels) == (Path("k"), ("a=path:1",))


@pytest.mark.parametrize(
    ("options", "seconds"),
    [
        ({"keep_for": "7d"}, 3600),
        ({"expire": "2h"}, 1800),
        ({"keep_for": "1h", "expire": "1d"}, 900),
        ({"expire": "1s"}, 1),
    ],
)
def test_files_that_are_to_go_at_some_time_end_before_it(options: dict[str, str], seconds: int) -> None:
    rotation = parse_storage("tapes", state=STATE, **options).rotation  # type: ignore[arg-type]  # as a user wrote them
    assert rotation is not None
    assert rotation.every_ns == seconds * 1_000_000_000


def test_what_goes_to_a_bucket_waits_in_a_folder_of_its_url() -> None:
    one, same, other = (parse_storage(out, state=STATE) for out in ("s3://b/p", "s3://b/p/", "s3://b/q"))
    assert (one.url, one.rotation) == ("s3://b/p", Rotation())
    assert one.path == same.path != other.path
    assert one.path.parent == STATE / "shadowtape" / "staging"
    assert parse_storage("s3://b/p", state=STATE, staging=Path("/s")).path == Path("/s") / one.path.name


MISTAKES: dict[str, tuple[str, dict[str, object], str]] = {
    "a suffix of something else": ("x.tap", {}, r"write x\.tape, or x\.tap/ for a folder"),
    "two suffixes": ("x.tape.gz", {}, r"captures end in \.tape"),
    "a suffix alone": (".tape", {}, "name a capture"),
    "nothing": ("", {}, "name a capture"),
    "a file with a slash": ("x.tape/", {}, "one file"),
    "a bucket of somebody else": ("gs://b/p", {}, "s3://BUCKET"),
    "credentials in a URL": ("s3://AKIA:word@b/p", {}, "^--out: leave credentials"),
    "a query in a URL": ("s3://b/p?versionId=1", {}, "^--out: leave credentials, . and # out"),
    "no bucket": ("s3://", {}, "s3://BUCKET"),
    "a file by size": ("x.tape", {"rotate_size": "1MiB"}, "--rotate-size: x.tape is one file; name a folder: --out x/"),
    "a file by time": ("x.tape", {"rotate_every": "1h"}, "--rotate-every: .* one file"),
    "a file and its sum": ("x.tape", {"keep": "1GiB"}, "--keep: .* one file"),
    "a file and its age": ("x.tape", {"keep_for": "7d"}, "--keep-for: .* one file"),
    "a staging of nothing": ("tapes", {"staging": Path("s")}, "--staging: it is for"),
    "retention in a bucket": ("s3://b", {"keep": "1GiB"}, "lifecycle"),
    "less than one file": ("tapes", {"keep": "100MiB"}, "--keep 100MiB: less than one file of --rotate-size 256.0 MiB"),
    "nothing kept": ("tapes", {"keep": "0"}, "--keep 0: less than one file"),
    "no size": ("tapes", {"rotate_size": "0"}, "--rotate-size '0'"),
    "no such unit": ("tapes", {"rotate_size": "1M"}, "256MiB or 20GiB"),
    "no such floor": ("tapes", {"min_free": "lots"}, "--min-free 'lots'"),
    "no such time": ("tapes", {"rotate_every": "60"}, "--rotate-every '60'"),
    "an age of nothing": ("tapes", {"keep_for": "0s"}, "--keep-for '0s'"),
    "an end of nothing": ("x.tape", {"expire": "0"}, "--expire '0'"),
    "expired while written": ("tapes", {"expire": "1h", "rotate_every": "1h"}, "expire while it is written"),
    "no label": ("x.tape", {"labels": ("a",)}, "NAME=WHERE"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_place_that_cannot_work_is_refused(mistake: str) -> None:
    out, options, why = MISTAKES[mistake]
    with pytest.raises(UsageError, match=why):
        parse_storage(out, state=STATE, **options)  # type: ignore[arg-type]  # as a user wrote them


def test_the_next_free_name_keeps_folder_and_suffix() -> None:
    assert numbered(Path("a/x.tape"), 1) == Path("a/x.tape")
    assert numbered(Path("a/x.tape"), 3) == Path("a/x-3.tape")


@pytest.mark.parametrize("out", ["tapes", "s3://b/p"])
def test_workers_write_into_one_folder(out: str) -> None:
    assert parse_workers(8, parse_storage(out, state=STATE)) == 8


def test_one_file_has_one_worker() -> None:
    storage = parse_storage("a/x.tape", state=STATE)

    assert parse_workers(1, storage) == 1
    with pytest.raises(UsageError, match=r"--workers 2: a/x\.tape is one file, .* --out a/x/$"):
        parse_workers(2, storage)


@pytest.mark.parametrize("count", [0, -1, 65])
def test_a_number_of_workers_that_helps_nobody_is_refused(count: int) -> None:
    with pytest.raises(UsageError, match="1 to 64"):
        parse_workers(count, parse_storage("tapes", state=STATE))


def test_limits_are_sizes_and_a_body_fits_into_memory() -> None:
    assert parse_limits("1MiB", "1MiB") == Limits(body=1 << 20, memory=1 << 20)
    with pytest.raises(UsageError, match="--memory 1MiB: less than one body of --body-limit 2MiB"):
        parse_limits("2MiB", "1MiB")
    with pytest.raises(UsageError, match="--body-limit 'much'"):
        parse_limits("much", "1MiB")


def test_metrics_stay_on_this_machine_unless_a_host_is_named() -> None:
    assert parse_admin(":9090") == Address("127.0.0.1", 9090)
    assert parse_admin("0.0.0.0:9090") == Address("0.0.0.0", 9090)
    with pytest.raises(UsageError, match="--admin '9090'"):
        parse_admin("9090")


def test_the_log_is_text_or_json() -> None:
    assert [parse_log("text"), parse_log("json")] == ["text", "json"]
    with pytest.raises(UsageError, match="--log 'yaml': write text or json"):
        parse_log("yaml")
