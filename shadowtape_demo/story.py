"""The steps of the demo, in order. Each runs the real program, keeps what it measured, and says what went wrong.

What belongs on which list: a **problem** is a promise of ours that was broken (an unsound capture, a lost exchange, a leak):
exit 1. **Invalid** is a replay whose generator could not keep its schedule on this machine: exit 3. A verdict about a server,
good or bad, is neither: it is what the tool is for.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from shadowtape_demo import processes, traffic
from shadowtape_demo.arrivals import arrivals
from shadowtape_demo.housing import load
from shadowtape_demo.planted import all_secrets, people
from shadowtape_demo.processes import Done, ModelServer, StepFailedError

MEAN_RPS = 45.0  # at 5x about 225 req/s, 500 in a burst: what such a server answers on a core it has to share
SPEED = 5
DRIFT = "noise:feature=MedInc,sd=1.0"
# A median: a run vouches for a tail only where its generator was punctual for all but a tenth of that tail, and two cores that
# serve, generate and are somebody's laptop cannot promise one row in a thousand.
REPLAY_OBJECTIVES = ("latency.p50 < 100ms", "errors < 1%")
SHADOW_OBJECTIVES = ("agreement >= 99%",)
INVALID = 3
REFUSALS = (2, 6)
JUDGED = (0, 1, 4)  # PASS, FAIL, INCONCLUSIVE


@dataclass(slots=True)
class Story:
    """What is told. ``say(step)`` announces; ``show(arguments)`` is told every command that is run."""

    out: Path
    seconds: float
    seed: int
    say: Callable[[str], None]
    show: Callable[[str], None]
    facts: dict[str, Any] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    invalid: list[str] = field(default_factory=list)

    @property
    def capture(self) -> Path:
        return self.out / "housing.tape"

    def run(self, *arguments: str) -> Done:
        self.show(processes.command_line(arguments))
        return processes.run(arguments)

    def expect(self, truth: object, problem: str) -> None:
        if not truth:
            self.problems.append(problem)


def tell(story: Story) -> None:
    """All steps. Raises StepFailedError where a step could not be finished, so that the next ones make no sense."""
    story.say("starting two model servers, which train their models, and the recorder in front of the first")
    with processes.model_servers(["baseline", "candidate"]) as servers:
        baseline, candidate = servers
        record(story, servers)
        check(story)
        replay(story, baseline.url)
        shadow_recorded(story, candidate.url)
        drift(story, baseline.url, candidate.url)


def record(story: Story, servers: Sequence[ModelServer]) -> None:
    """Real requests, through ``shadowtape record``, to the baseline."""
    rng = np.random.default_rng(story.seed)
    everybody = people(rng)
    at_ns = arrivals(story.seconds, MEAN_RPS, rng)
    requests = traffic.requests_for(load("analysis").features, len(at_ns), everybody, rng)
    secrets = all_secrets(everybody)
    (story.out / "planted.txt").write_text("\n".join(secrets) + "\n", encoding="utf-8")

    recorder, url, arguments = processes.start_recorder(servers[0].url, story.capture, story.out / "record.log")
    story.show(processes.command_line(arguments))
    try:
        story.facts["models"] = {server.name: server.wait() for server in servers}
        story.say(
            f"one day in {story.seconds:.0f} s: {len(requests):,} requests through the recorder, "
            f"{len(secrets)} invented secrets in them"
        )
        sent = asyncio.run(traffic.send(url, requests, at_ns))
    finally:
        code = processes.stop(recorder)
    story.facts["traffic"] = {
        "requests": sent.requests,
        "seconds": round(sent.seconds, 3),
        "mean_rps": round(sent.requests / sent.seconds, 1),
        "peak_rps": int(np.bincount(at_ns // 10**9).max()),
        "statuses": dict(sent.statuses),
        "failures": dict(sent.failures),
        "secrets": len(secrets),
    }
    story.expect(code == 0, f"shadowtape record ended with code {code}")
    story.expect(
        not sent.failures and set(sent.statuses) == {200},
        f"the client saw {dict(sent.statuses)}, {dict(sent.failures)}",
    )


def check(story: Story) -> None:
    """Is the capture whole, and clean?"""
    sent = story.facts["traffic"]["requests"]
    story.say("checking the capture: every checksum, every exchange, every planted secret in every encoding")
    verified = story.run("verify", str(story.capture))
    story.facts["verify"] = verified.result
    story.expect(verified.code == 0 and verified.result.get("sound"), f"the capture is not sound: {verified.complaint}")
    story.expect(
        verified.result.get("exchanges") == sent,
        f"{verified.result.get('exchanges')} exchanges captured of {sent} sent",
    )
    inspected = story.run("inspect", str(story.capture))
    story.facts["inspect"] = inspected.result
    story.expect(inspected.code == 0, f"inspect: {inspected.complaint}")

    audited = story.run("audit", str(story.capture), "--known", str(story.out / "planted.txt"))
    stored = story.capture.read_bytes()
    secrets = (story.out / "planted.txt").read_bytes().splitlines()
    raw = sum(secret in stored for secret in secrets)
    findings = len(audited.result.get("findings", []))
    story.facts["audit"] = {
        "clean": audited.result.get("clean"),
        "findings": findings,
        "raw_findings": raw,
        "secrets": len(secrets),
    }
    story.expect(
        audited.code == 0 and audited.result.get("clean") is True and raw == 0,
        f"the audit found {findings} leaks, {raw} in the raw bytes: {audited.complaint}",
    )


def replay(story: Story, target: str) -> None:
    story.say(f"replaying the recording at {SPEED}x against the baseline")
    # --allow-source: the server that was recorded is loaded again; on a production ingress this would have to be meant.
    where = ("--target", target, "--allow-source", "--speed", str(SPEED))
    done = story.run(
        "replay", str(story.capture), *where, *_required(REPLAY_OBJECTIVES), "--out", str(story.out / "replay")
    )
    story.facts["replay"] = done.result
    why = "; ".join(done.result.get("why", [])) or done.complaint
    if done.code == INVALID:
        story.invalid.append(f"the replay is INVALID: {why}")
        return
    story.expect(done.code in JUDGED, f"the replay ended with code {done.code}: {why}")
    sent, rows = story.facts["traffic"]["requests"], done.result.get("rows", {})
    story.expect(rows.get("completed") == sent, f"the replay completed {rows.get('completed')} of {sent} rows")


def shadow_recorded(story: Story, candidate: str) -> None:
    story.say("shadowing: the candidate answers the recorded requests, and is compared with the recorded answers")
    where = ("--candidate", candidate, "--recorded")
    done = story.run(
        "shadow", str(story.capture), *where, *_required(SHADOW_OBJECTIVES), "--out", str(story.out / "shadow")
    )
    _keep_shadow(story, "shadow", done)


def drift(story: Story, baseline: str, candidate: str) -> None:
    story.say(
        "drift: noise of one standard deviation on MedInc; recorded answers no longer count, both models answer live"
    )
    drifted = ("-t", DRIFT, "--seed", str(story.seed))
    refused = story.run("shadow", str(story.capture), "--candidate", candidate, "--recorded", *drifted)
    story.facts["refused"] = {"code": refused.code, "why": refused.complaint.removeprefix("shadowtape: ")}
    story.expect(
        refused.code in REFUSALS, "drifted requests were compared with recorded answers instead of being refused"
    )

    receipt = story.run("transform", str(story.capture), str(story.out / "drifted.tape"), *drifted)
    story.facts["receipt"] = receipt.result
    story.expect(receipt.code == 0, f"transform: {receipt.complaint}")

    where = ("--baseline", baseline, "--allow-source", "--candidate", candidate)
    done = story.run("shadow", str(story.capture), *where, *drifted, "--out", str(story.out / "shadow-drifted"))
    _keep_shadow(story, "drift", done)


def _required(objectives: Sequence[str]) -> list[str]:
    return [part for objective in objectives for part in ("--require", objective)]


def _keep_shadow(story: Story, name: str, done: Done) -> None:
    story.facts[name] = done.result
    compared = done.result.get("shadow", {})
    if not compared.get("pairs"):
        raise StepFailedError(f"{name}: nothing was compared (code {done.code}): {done.complaint}")
