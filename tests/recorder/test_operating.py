"""Rules, samples, health, metrics, logs and another policy, as an operator meets them: a real recorder and real requests."""

import json
import re
import signal
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from captures.opening import open_capture
from recorder.record_testing import ROOT, Recorder, free_port, metric, page, recording, send, serving, until

pytestmark = pytest.mark.slow


def test_rules_and_whole_sessions_decide_what_is_recorded_and_the_counts_add_up(tmp_path: Path) -> None:
    admin = free_port()
    policy = tmp_path / "policy.yaml"
    policy.write_text("session: header:x-session\n")
    options = (
        *("--workers", "2", "--admin", f"127.0.0.1:{admin}", "--policy", str(policy), "--sample", "50%"),
        *("--only", "POST /v2/models/*", "--except", "header:x-debug", "--except", "model:garden*"),
    )
    with serving() as upstream, recording(upstream, tmp_path / "tapes", *options) as recorder:
        for session in range(20):
            send(recorder.port, 3, headers={"X-Session": f"user-{session}"})
        send(recorder.port, 2, "/health")
        send(recorder.port, 2, headers={"X-Debug": "1"})
        for session in range(20):
            send(recorder.port, 1, "/v2/models/garden-2/infer", {"X-Session": f"user-{session}"})

        def settled() -> bool:
            spooled = [
                metric(admin, "exchanges_total", f'outcome="{name}"') for name in ("kept", "filtered", "sampled_out")
            ]
            return sum(spooled) == 84

        until(settled)
        assert page(admin, "/healthz")[0] == page(admin, "/readyz")[0] == 200
        assert metric(admin, "exchanges_seen_total") == 84
        assert metric(admin, "relay_delay_seconds_count") == 84
        assert metric(admin, "recording") == metric(admin, "relay_up") == 2
        kept = int(metric(admin, "exchanges_total", 'outcome="kept"'))
        assert recorder.stop() == 0
        assert recorder.says("^recorded ").startswith(f"recorded {kept} of 84 exchanges into")
    with open_capture(tmp_path / "tapes") as capture:
        sizes = Counter(capture.columns().columns["session"].tolist())
        confessed = capture.confessions
        assert dict(capture.header.notes) == {"sampled_by": "session"}
    assert 0 < len(sizes) < 20
    assert set(sizes.values()) == {3}
    assert sum(sizes.values()) == kept
    assert confessed.filtered >= 4
    assert (confessed.seen, confessed.sampling_rate) == (84, 0.5)
    assert confessed.seen == kept + confessed.filtered + confessed.sampled_out


def test_every_line_of_a_json_log_is_an_object_without_a_word_of_traffic(tmp_path: Path) -> None:
    port = free_port()
    command = [sys.executable, str(ROOT / "shadowtape.py"), "record", "--log", "json", "--insecure"]
    with serving() as upstream:
        command += ["--upstream", f"http://127.0.0.1:{upstream}", "--listen", f"127.0.0.1:{port}"]
        recorder = Recorder([*command, "--out", str(tmp_path / "x.tape")], port)
        try:
            recorder.says('"event": "recording"')
            send(port, headers={"X-User": "jane.doe@example.com"})
            assert recorder.stop() == 0
        finally:
            recorder.stop(signal.SIGKILL)
    lines: list[dict[str, Any]] = [json.loads(line) for line in recorder.lines]

    assert [line["event"] for line in lines] == ["insecure", "recording", "recorded"]
    assert [line["level"] for line in lines] == ["warning", "info", "info"]
    assert lines[1]["listen"] == f"127.0.0.1:{port}"
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["time"]) for line in lines)
    assert "jane" not in "".join(recorder.lines)
