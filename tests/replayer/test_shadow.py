"""Shadow runs over real loopback servers: recorded and live, and what a run leaves behind."""

import http.server
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

import shadowtape
from captures.errors import UsageError
from captures.exchange import Chunk, Exchange, Request, Response
from captures.opening import open_capture
from captures.privacy.policy import Policy
from captures.privacy.pseudonymise import Pseudonymiser
from captures.testing import write_example
from replayer.compare.comparators import Predictions
from replayer.contest import Contest
from replayer.replay import Load, Options
from replayer.shadow import shadow
from replayer.verdict import Verdict

ROWS = 120
KEY = b"k" * 32
PATH = "/v2/models/house/infer"
ACCEPTED: set[str] = set()
type Model = Callable[[list[float]], tuple[int, bytes]]


def answer(score: float, *, label: str = "") -> bytes:
    outputs = [{"name": "price", "datatype": "FP64", "shape": [1], "data": [score]}]
    if label:
        outputs.append({"name": "band", "datatype": "INT64", "shape": [1], "data": [int(label)]})
    return json.dumps({"model_name": "house", "outputs": outputs}).encode()


def same(features: list[float]) -> tuple[int, bytes]:
    return 200, answer(features[0] * 2, label=str(int(features[0] > 0.5)))


def shifted(features: list[float]) -> tuple[int, bytes]:
    """Flips the label of a tenth of the rows: where the second feature is high."""
    flip = features[1] > 0.9
    return 200, answer(features[0] * 2 + 0.5 * flip, label=str(int(features[0] > 0.5) ^ flip))


@contextmanager
def serving(model: Model) -> Iterator[str]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = 1 << 16  # one write per answer: two would wait for a delayed acknowledgement

        def do_POST(self) -> None:
            ACCEPTED.add(self.headers.get("Accept-Encoding", ""))
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status, data = model(body["inputs"][0]["data"])
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    class Server(http.server.ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 128

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def recording(path: Path, rows: int = ROWS) -> Path:
    """Pseudonymised exchanges of `same`, two features each, a millisecond apart."""
    features = np.random.default_rng(5).random((rows, 2))
    raw = []
    for at, pair in enumerate(features.tolist()):
        at_ns = at * 1_000_000
        asked = {"inputs": [{"name": "x", "datatype": "FP64", "shape": [1, 2], "data": pair}]}
        sent, (status, body) = json.dumps(asked).encode(), same(pair)
        raw.append(
            Exchange(
                arrival_ns=at_ns,
                request=Request(
                    method="POST",
                    target=PATH,
                    headers=(("Content-Type", "application/json"),),
                    chunks=(Chunk(at_ns, sent),),
                    end_ns=at_ns,
                    size=len(sent),
                ),
                response=Response(
                    status=status,
                    headers=(("content-type", "application/json"),),
                    chunks=(Chunk(at_ns + 500_000, body),),
                    first_ns=at_ns + 400_000,
                    end_ns=at_ns + 500_000,
                    size=len(body),
                ),
            )
        )
    return write_example(path, Pseudonymiser(Policy(), KEY).apply(raw), policy=Policy().as_data())


def test_an_unchanged_candidate_passes_against_recorded_answers(tmp_path: Path) -> None:
    tape = recording(tmp_path / "a.tape")
    with serving(same) as url:
        result = shadow(Load(captures=[tape]), Contest(candidate=url), out=tmp_path / "run")
    compared = result.summary["shadow"]
    assert (result.verdict, result.exit_code) == (Verdict.PASS, 0), result.why
    assert isinstance(compared, dict)
    assert (compared["pairs"], compared["flips"], compared["incomparable"]) == (ROWS, 0, {})
    assert compared["agreement"]["value"] == 1.0
    assert {path.name for path in (tmp_path / "run").iterdir()} == {
        "run.json",
        "summary.json",
        "attempts.tape",
        "report.html",
        "decisions.jsonl",
    }
    with open_capture(tmp_path / "run" / "attempts.tape") as attempts:
        assert len(attempts) == ROWS
        assert all(one.response is not None and one.response.body for one in attempts.exchanges())


def test_a_candidate_that_flips_labels_fails_and_the_slice_is_named(tmp_path: Path) -> None:
    tape = recording(tmp_path / "a.tape", rows=400)
    with serving(shifted) as url:
        result = shadow(Load(captures=[tape]), Contest(candidate=f"v2={url}"), out=tmp_path / "run")
    compared = result.summary["shadow"]
    assert isinstance(compared, dict)
    assert result.verdict is Verdict.FAIL
    assert compared["flips"] == compared["labelled"] - round(compared["agreement"]["value"] * 400) > 20
    assert compared["slices"][0]["dimension"] == "x[1]"
    assert "top decile" in compared["slices"][0]["part"]
    assert compared["slices"][0]["notable"]
    example = compared["examples"][0]
    assert example["features"].keys() == {"x[0]", "x[1]"}
    assert "band" in example["left"]
    assert example["differences"][0]["kind"] == "flip"


def test_both_sides_live_are_compared_raw_and_kept_under_the_policy(tmp_path: Path) -> None:
    def secretive(features: list[float]) -> tuple[int, bytes]:
        data = ["ada.lovelace@example.org"]
        outputs = [{"name": "who", "datatype": "BYTES", "shape": [1], "data": data}]
        return 200, json.dumps({"outputs": outputs}).encode()

    tape = recording(tmp_path / "a.tape")
    with serving(secretive) as one, serving(secretive) as two:
        contest = Contest(candidate=one, baseline=two)
        result = shadow(Load(captures=[tape]), contest, out=tmp_path / "run")
    assert result.verdict is Verdict.PASS, result.why
    assert result.summary["targets"].keys() == {"candidate", "baseline"}  # type: ignore[attr-defined]  # a summary is JSON
    with open_capture(tmp_path / "run" / "attempts.tape") as attempts:
        assert len(attempts) == 2 * ROWS
        assert not any(b"lovelace" in (one.response.body if one.response else b"") for one in attempts.exchanges())
    assert not any(b"lovelace" in path.read_bytes() for path in (tmp_path / "run").iterdir())


def test_tokenised_answers_need_the_recordings_key(tmp_path: Path) -> None:
    def named(features: list[float]) -> tuple[int, bytes]:
        outputs = [{"name": "who", "datatype": "BYTES", "shape": [1], "data": [f"somebody number {features[0]}"]}]
        return 200, json.dumps({"outputs": outputs}).encode()

    tape = recording(tmp_path / "a.tape")
    with serving(named) as url:
        result = shadow(Load(captures=[tape]), Contest(candidate=url), out=tmp_path / "run")
    compared = result.summary["shadow"]
    assert isinstance(compared, dict)
    # the recording holds other outputs altogether, which is seen before any token is
    assert compared["schema_changes"] == ROWS
    assert result.verdict is Verdict.FAIL


def test_errors_of_the_candidate_are_no_mismatch_of_predictions(tmp_path: Path) -> None:
    def failing(features: list[float]) -> tuple[int, bytes]:
        return (503, b'{"error":"busy"}') if features[1] > 0.8 else same(features)

    tape = recording(tmp_path / "a.tape")
    with serving(failing) as url:
        result = shadow(Load(captures=[tape]), Contest(candidate=url), out=tmp_path / "run")
    compared = result.summary["shadow"]
    assert isinstance(compared, dict)
    assert result.verdict is Verdict.FAIL
    assert compared["errors"]["candidate_only"] > 10
    assert compared["flips"] == 0
    assert compared["examples"][0]["differences"][0]["kind"] == "status"


def test_a_value_rewrite_against_recorded_answers_is_refused_before_sending(tmp_path: Path) -> None:
    tape = recording(tmp_path / "a.tape")
    hits = []

    def counting(features: list[float]) -> tuple[int, bytes]:
        hits.append(features)
        return same(features)

    load = Load(captures=[tape], transforms=["time_scale:factor=2", "noise:feature=x[0],sd=0.5"])
    with serving(counting) as url, pytest.raises(UsageError, match=r"-t noise:feature=x\[0\].*--baseline"):
        shadow(load, Contest(candidate=url), out=tmp_path / "run")
    assert hits == []
    assert not (tmp_path / "run").exists()


def test_a_value_rewrite_is_welcome_against_a_live_baseline(tmp_path: Path) -> None:
    tape = recording(tmp_path / "a.tape")
    load = Load(captures=[tape], transforms=["noise:feature=x[0],sd=0.5"])
    with serving(same) as one, serving(same) as two:
        result = shadow(load, Contest(candidate=one, baseline=two), out=tmp_path / "run")
    assert result.verdict is Verdict.PASS, result.why


def test_times_are_judged_with_recorded_timing_only(tmp_path: Path) -> None:
    tape = recording(tmp_path / "a.tape")
    with pytest.raises(UsageError, match="add --speed 1"):
        shadow(Load(captures=[tape]), Contest(candidate="http://127.0.0.1:9"), require=["latency.p99 < 5s"])
    with serving(same) as url:
        contest = Contest(candidate=url, paced=True)
        options = Options()
        result = shadow(Load(captures=[tape]), contest, options, require=["latency.p50 < 5s"], out=tmp_path / "run")
    objectives = result.summary["objectives"]
    assert isinstance(objectives, list)
    assert objectives[0]["n"] == ROWS


def test_rates_are_right_whatever_the_order_of_sending(tmp_path: Path) -> None:
    tape = recording(tmp_path / "a.tape")
    with serving(same) as url:
        summary = shadow(Load(captures=[tape]), Contest(candidate=url), out=tmp_path / "run").summary
    offered, achieved = summary["offered_rps"], summary["achieved_rps"]
    assert isinstance(offered, float)
    assert isinstance(achieved, float)
    assert 0 < achieved <= offered * 1.01


def test_the_same_seed_gives_the_same_comparison(tmp_path: Path) -> None:
    tape = recording(tmp_path / "a.tape")
    found = []
    for name in ("one", "two"):
        with serving(shifted) as url:
            contest = Contest(candidate=url, comparator=Predictions(rtol=0.01))
            result = shadow(Load(captures=[tape], seed=7), contest, out=tmp_path / name)
        found.append(json.dumps(result.summary["shadow"], sort_keys=True))
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ([], "compared with what?"),
        (["--recorded", "--baseline", "http://127.0.0.1:9"], "choose one side"),
        (["--recorded", "--tolerance", "-1"], "--tolerance"),
        (["--recorded", "--threshold", "nan"], "--threshold"),
        (["--recorded", "--require", "agrement >= 99%"], "did you mean agreement?"),
        (["--recorded", "--key", "missing.key"], "--key missing.key: cannot be read"),
    ],
)
def test_mistakes_give_one_clear_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], complaint: str
) -> None:
    tape = recording(tmp_path / "a.tape", rows=2)
    assert shadowtape.run(["shadow", str(tape), "--candidate", "http://127.0.0.1:9", *words]) == 2
    said = capsys.readouterr().err
    assert complaint in said
    assert said.count("\n") == 1


def test_the_command_prints_one_json_object(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tape = recording(tmp_path / "a.tape")
    with serving(same) as url:
        words = ["shadow", str(tape), "--candidate", url, "--recorded", "--out", str(tmp_path / "run"), "--json"]
        code = shadowtape.run(words)
    said = capsys.readouterr()
    printed = json.loads(said.out)
    assert code == 0, printed["why"]
    assert printed["shadow"]["agreement"]["n"] == ROWS
    assert printed["path"] == str(tmp_path / "run")
    assert "no excess errors" in said.err


def test_a_finished_run_is_shown_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tape = recording(tmp_path / "a.tape")
    with serving(same) as url:
        shadow(Load(captures=[tape]), Contest(candidate=url), out=tmp_path / "run")
    (tmp_path / "run" / "report.html").unlink()
    assert shadowtape.run(["report", str(tmp_path / "run")]) == 0
    assert "agreement" in capsys.readouterr().out
    assert (tmp_path / "run" / "report.html").exists()
    assert shadowtape.run(["report", str(tmp_path)]) == 5
    assert "not a finished run" in capsys.readouterr().err


def test_no_word_of_a_live_answer_stays_unless_the_policy_lets_it(tmp_path: Path) -> None:
    def echoing(suffix: str) -> Model:
        def model(features: list[float]) -> tuple[int, bytes]:
            outputs = [
                {"name": "who", "datatype": "BYTES", "shape": [1], "data": [f"Hildegard-{features[0]}{suffix}"]},
                {"name": f"Kunigunde <{suffix}@example.org>", "datatype": "FP64", "shape": [1], "data": [1.0]},
            ]
            return 200, json.dumps(
                {"model_name": "house", "outputs": outputs[: 1 if features[1] < 0.5 else 2]}
            ).encode()

        return model

    tape = recording(tmp_path / "a.tape", rows=40)
    with serving(echoing("x")) as one, serving(echoing("y")) as other:
        result = shadow(Load(captures=[tape]), Contest(candidate=one, baseline=other), out=tmp_path / "run")
    compared = result.summary["shadow"]
    assert isinstance(compared, dict)
    assert compared["flips"] > 0
    assert compared["schema_changes"] > 0
    assert {one["kind"] for example in compared["examples"] for one in example["differences"]} == {"flip", "schema"}
    for file in (tmp_path / "run").iterdir():
        assert not any(word in file.read_bytes() for word in (b"Hildegard", b"Kunigunde")), file


@pytest.mark.parametrize("recorded", [True, False])
@pytest.mark.parametrize("page", [b"<html>please log in</html>", b""])
def test_a_candidate_that_answers_200_with_something_else_has_changed_the_schema(
    page: bytes, recorded: bool, tmp_path: Path
) -> None:
    tape = recording(tmp_path / "a.tape")
    with serving(same) as baseline, serving(lambda _: (200, page)) as candidate:
        contest = Contest(candidate=candidate, baseline=None if recorded else baseline)
        result = shadow(Load(captures=[tape]), contest, out=tmp_path / "run")

    shown = result.summary["shadow"]
    assert isinstance(shown, dict)
    assert result.verdict is Verdict.FAIL
    assert shown["schema_changes"] == ROWS
    assert page == b"" or page not in (tmp_path / "run" / "report.html").read_bytes()


def test_answers_are_asked_for_uncompressed(tmp_path: Path) -> None:
    tape = recording(tmp_path / "a.tape")
    with serving(same) as candidate:
        shadow(Load(captures=[tape]), Contest(candidate=candidate), out=tmp_path / "run")
        assert {"identity"} == ACCEPTED
