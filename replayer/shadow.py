"""One shadow run: a candidate against recorded answers or a live baseline. The function behind ``shadowtape shadow``.

Without recorded timing rows go out in a seeded random order with few in flight: every prefix of the run is then a fair
sample of the capture. Answers are judged after the last one came, so that judging costs the measurement nothing.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from captures.columns import Batch
from captures.confessions import Confessions
from captures.errors import RefusedError
from captures.exchange import Exchange, Headers
from captures.lineage import headers_of
from captures.privacy.key import key_id
from replayer.account import broken_off, inputs_of, interruption, notes, protector
from replayer.answers import MOST_FEATURES, Heard, describe, groups_of, tally_of
from replayer.attempt import Reply
from replayer.compare.pairing import Sides
from replayer.compare.summary import summarise
from replayer.compare.tally import Tally
from replayer.contest import BASELINE, RECORDED, Contest, comparable_rows, objectives_of, targets_of
from replayer.driver import Settings
from replayer.fold import numbers, series, spread_ms
from replayer.judge import Evidence, judge_all
from replayer.objective import LABELS, Objective
from replayer.plan import Plan, figures, plan_of
from replayer.replay import EXIT_INTERRUPTED, KEPT_BYTES, Load, Options, RunResult, key_of, open_all, rails
from replayer.report import html
from replayer.runs import TAPE, RunFolder, create_run, discard, machine, new_key, new_run_id, now, run_header, versions
from replayer.sending import DRAIN_MARGIN_NS, Progress, Sent, send
from replayer.taping import batches_of
from replayer.target import Target
from replayer.validity import judge_run
from replayer.verdict import EXIT_CODES, Verdict, combine
from transforms.catalogue import build_all
from transforms.receipt import receipt
from transforms.transform import describe as written

FEW_IN_FLIGHT = 8


def shadow(
    load: Load,
    contest: Contest,
    options: Options = Options(max_in_flight=FEW_IN_FLIGHT),  # noqa: B008 - frozen
    *,
    require: Sequence[str] = (),
    out: Path | None = None,
    announce: Callable[[dict[str, object]], object] = lambda _: None,
    progress: Progress | None = None,
) -> RunResult:
    """Send the load to the candidate (and the baseline), compare the answers, judge, and write the run folder.

    Raises UsageError (a value rewrite against recorded answers among them), CaptureError, RefusedError (nothing was sent), OSError.
    """
    objectives = objectives_of(require, contest)
    steps = build_all(load.steps)
    targets = targets_of(contest)
    with ExitStack() as stack:
        captures = open_all(load, stack)
        for target in targets.values():
            rails(target, captures, options)
        plan, left_out = comparable_rows(
            plan_of(captures, steps, seed=load.seed, allow_paths=load.allow_paths), steps, contest
        )
        if not len(plan.schedule):
            raise RefusedError(
                f"nothing to compare: {len(plan.view)} exchanges, left out: {(plan.dropped | left_out) or 'none'}"
            )
        folder = create_run(out, new_run_id())
        raw: dict[str, dict[int, Reply]] = {role: {} for role in targets}
        named = [replace(target, role=role) for role, target in targets.items()]
        try:
            sent = _send(
                plan,
                named,
                contest,
                options,
                folder.run_id,
                raw,
                lambda: announce(figures(plan) | {"left_out": left_out}),
                progress,
            )
        except RefusedError:
            discard(folder)
            raise
        heard, batches = _clean(plan, sent, raw, contest.key)
        result = _judge(plan, sent, heard, contest, options, objectives, folder, left_out)
        folder.write_tape(
            TAPE,
            run_header(
                "shadow",
                sent.wall_ns,
                inputs_of(plan.captures),
                headers_of(plan.captures),
                plan.captures[0].header,
            ),
            batches,
            Confessions(
                seen=len(plan.schedule) * len(heard),
                truncated=sum(reply.truncated for replies in raw.values() for reply in replies.values()),
            ),
            key=key_of(plan.captures),
        )
        run = _run(folder, plan, sent, load, contest, options, [written(step) for step in steps], result)
        run |= {"targets": {target.role: target.url for target in named}, "require": list(require)}
        folder.write_json("summary.json", result.summary)
        folder.write_json("run.json", run)
        folder.write_text("report.html", html.render(result.summary, run))
        return replace(result, path=folder.promote())


def _send(
    plan: Plan,
    targets: Sequence[Target],
    contest: Contest,
    options: Options,
    run_id: str,
    raw: Mapping[str, dict[int, Reply]],
    on_open: Callable[[], object],
    progress: Progress | None,
) -> Sent:
    room = KEPT_BYTES

    def keep(row: int, replies: Mapping[str, Reply]) -> None:
        nonlocal room
        for role, reply in replies.items():
            if reply.status and reply.size <= room:
                room -= reply.size
                raw[role][row] = reply

    default = Settings(max_in_flight=options.max_in_flight, drain_ns=options.timeout_ns + DRAIN_MARGIN_NS)
    return send(
        plan,
        targets,
        run_id=run_id,
        headers=_plain(options.headers),
        timeout_ns=options.timeout_ns,
        settings=replace(default, failing=default.failing - set(options.expect_status), seed=plan.seed),
        order=None if contest.paced else np.random.default_rng(plan.seed).permutation(len(plan.schedule)),
        on_row=keep,
        on_open=on_open,
        progress=progress,
    )


def _plain(headers: Headers) -> Headers:
    """Compressed answers cannot be compared yet, whatever the recorded clients accepted."""
    asked = any(name.lower() == "accept-encoding" for name, _ in headers)
    return headers if asked else (*headers, ("Accept-Encoding", "identity"))


def _clean(
    plan: Plan, sent: Sent, raw: Mapping[str, Mapping[int, Reply]], key: bytes | None
) -> tuple[dict[str, Heard], list[Batch]]:
    """Every answer through the policy of its recording, once: for the tape and for what is compared and shown."""
    protect = protector(plan.captures, key or new_key())
    heard: dict[str, Heard] = {}
    batches: list[Batch] = []
    for role, attempts in sent.attempts.items():
        kept: dict[int, Exchange] = {}

        def remember(owner: int, exchanges: Sequence[Exchange], kept: dict[int, Exchange] = kept) -> list[Exchange]:
            clean = protect(owner, exchanges)
            kept.update((one.origin.row, one) for one in clean if one.origin is not None)
            return clean

        batches += batches_of(attempts, plan, sent.targets, sent.target_of, raw[role], remember)
        heard[role] = Heard(attempts, raw[role], kept)
    return heard, batches


def _judge(
    plan: Plan,
    sent: Sent,
    heard: Mapping[str, Heard],
    contest: Contest,
    options: Options,
    objectives: Sequence[Objective],
    folder: RunFolder,
    left_out: Mapping[str, int],
) -> RunResult:
    role, candidate = next(iter(heard.items()))
    tally = _tally(plan, heard, contest, role)
    compared = summarise(tally, groups_of(plan, tally), describe(plan, tally.examples())) | {"left_out": dict(left_out)}
    labels = {name: plan.label(name) for name in LABELS}
    judged = judge_all(objectives, Evidence(attempts=candidate.attempts, labels=labels, pairs=tally.pairs()))
    generator = judge_run(
        candidate.attempts,
        plan.recorded_status,
        objectives,
        expect_status=options.expect_status,
        cpu=sent.cpu,
        paced=contest.paced,
    )
    verdict, why = combine([*judged, *broken_off(sent, judged)], generator.reasons)
    why = [*interruption(sent, role), *why]
    summary: dict[str, object] = {
        "command": "shadow",
        "run": folder.run_id,
        "verdict": verdict,
        "why": why,
        **numbers(candidate.attempts),
        "itl_ms": spread_ms(np.zeros(0, dtype=np.int64)),
        "objectives": [asdict(one) for one in judged],
        "built_in_objectives": all(one.seen for one in objectives),
        "generator": generator.as_data(),
        "ended": sent.stop.reason or "done",
        "targets": {name: numbers(one.attempts) for name, one in heard.items()},
        "plan": figures(plan),
        "notes": [*notes(plan, sent, generator), *_notes(plan)],
        "series": series(candidate.attempts),
        "shadow": compared,
    }
    interrupted = sent.stop.reason == "interrupted"
    exit_code = EXIT_INTERRUPTED if interrupted else EXIT_CODES[Verdict(verdict)]
    return RunResult(verdict=verdict, why=why, exit_code=exit_code, path=folder.path, summary=summary)


def _tally(plan: Plan, heard: Mapping[str, Heard], contest: Contest, role: str) -> Tally:
    live = contest.baseline is not None
    # Live answers are compared raw, where no token is a surrogate; recorded ones only under the recording's own key.
    ids = {capture.header.key_id for capture in plan.captures}
    same_key = contest.key is not None and ids == {key_id(contest.key)}
    comparator = replace(contest.comparator, tokens_comparable=live or same_key)
    sides = Sides(BASELINE if live else RECORDED, role, recorded=not live)
    return tally_of(plan, heard[role], heard.get(BASELINE), comparator, sides)


def _notes(plan: Plan) -> list[str]:
    features = len(plan.view.feature_names())
    if features <= MOST_FEATURES:
        return []
    return [f"slices were looked for in the first {MOST_FEATURES} of {features:,} features"]


def _run(
    folder: RunFolder,
    plan: Plan,
    sent: Sent,
    load: Load,
    contest: Contest,
    options: Options,
    steps: list[str],
    result: RunResult,
) -> dict[str, object]:
    """What stands in run.json."""
    run: dict[str, object] = {
        "run_id": folder.run_id,
        "command": "shadow",
        "sides": [RECORDED if contest.baseline is None else BASELINE, next(iter(sent.attempts))],
        "started": folder.started,
        "finished": now(),
        "verdict": result.verdict,
        "why": result.why,
        "exit_code": result.exit_code,
        "inputs": list(inputs_of(plan.captures)),
        "transforms": steps,
        "seed": load.seed,
        "schedule_digest": plan.schedule.digest,
        "config": {
            "speed": str(load.speed) if contest.paced else None,
            "tolerance": contest.comparator.rtol,
            "threshold": contest.comparator.threshold,
            "key": contest.key is not None,
            "allow_paths": list(load.allow_paths),
            "headers": [name for name, _ in options.headers],  # values are credentials
            "max_in_flight": options.max_in_flight,
            "timeout_s": options.timeout_ns / 1e9,
            "allow_hosts": list(options.allow_hosts),
            "allow_source": options.allow_source,
            "expect_status": list(options.expect_status),
        },
        "headers_not_sent": dict(sent.headers_not_sent),
        "event_loop": sent.event_loop,
        "versions": versions(),
        "machine": machine(),
    }
    if steps:
        run["receipt"] = receipt(
            plan.recorded, plan.schedule, plan.view, chain=steps, seed=plan.seed, dropped=plan.dropped
        )
    return run
