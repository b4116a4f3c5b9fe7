"""One replay, from captures to a verdict: the function behind ``shadowtape replay``, for notebooks and tests as well."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np

from captures.amounts import exact
from captures.confessions import Confessions
from captures.errors import RefusedError, UsageError
from captures.lineage import headers_of
from captures.opening import open_capture
from captures.reader import Capture
from replayer import objective
from replayer.account import broken_off, inputs_of, interruption, notes, protector
from replayer.attempt import Reply
from replayer.driver import Settings
from replayer.fold import numbers, series, spread_ms
from replayer.judge import Evidence, judge_all
from replayer.objective import LABELS, METRICS, Objective
from replayer.plan import Plan, figures, plan_of
from replayer.rails import check_target
from replayer.report import html
from replayer.runs import TAPE, RunFolder, create_run, discard, machine, new_key, new_run_id, now, run_header, versions
from replayer.sending import DRAIN_MARGIN_NS, Progress, Sent, send
from replayer.taping import batches_of
from replayer.target import Target, parse_target
from replayer.transport.surroundings import look_around
from replayer.validity import judge_run
from replayer.verdict import EXIT_CODES, Verdict, combine
from transforms.catalogue import build_all
from transforms.receipt import receipt
from transforms.schedule_files import Scratch
from transforms.transform import describe

MAX_IN_FLIGHT = 1024
TIMEOUT_NS = 30_000_000_000
KEPT_BYTES = 256 << 20
"""Answers kept in memory until the run is over, so that cleaning and writing them costs the load nothing. ``bodies_kept``
in run.json says how many there were room for.
"""
EXIT_INTERRUPTED = 130


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What to send: the captures and what becomes of them. ``speed`` and ``copies`` come before ``transforms``, in this order."""

    captures: Sequence[Path | str]
    speed: str | float = 1
    copies: str | float = 1
    transforms: Sequence[str] = ()
    seed: int = 0
    allow_paths: Sequence[str] = ()
    tape_key: bytes | None = field(default=None, repr=False)  # of encrypted captures; None: the one in the environment

    def __post_init__(self) -> None:
        """Raises UsageError in the words of who wrote it: not everybody knows which transform is behind ``--speed``."""
        for flag, value in (("--speed", self.speed), ("--copies", self.copies)):
            try:
                number = exact(value, flag)
            except ValueError as error:
                raise UsageError(str(error)) from None
            if number <= 0:
                raise UsageError(f"{flag} is {value}; it must be above 0")

    @property
    def steps(self) -> list[str]:
        speed = [] if str(self.speed) == "1" else [f"time_scale:factor={self.speed}"]
        copies = [] if str(self.copies) == "1" else [f"amplify:copies={self.copies}"]
        return [*speed, *copies, *self.transforms]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How to send it. ``headers``: (name, value) sent with every row; values never reach a disk."""

    headers: tuple[tuple[str, str], ...] = ()
    max_in_flight: int = MAX_IN_FLIGHT
    timeout_ns: int = TIMEOUT_NS
    keep_bodies: bool = False
    allow_hosts: Sequence[str] = ()
    allow_source: bool = False
    expect_status: Sequence[int] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """``summary`` as in summary.json; ``path`` is the run's folder."""

    verdict: Verdict
    why: list[str]
    exit_code: int
    path: Path
    summary: dict[str, object]


def dry_run(load: Load) -> dict[str, object]:
    """What a replay would send. Opens no connection. Raises UsageError, CaptureError."""
    chain = build_all(load.steps)
    with ExitStack() as stack:
        captures = open_all(load, stack)
        scratch = stack.enter_context(Scratch())
        plan = plan_of(
            captures, chain, seed=load.seed, allow_paths=load.allow_paths, check=False, allocate=scratch.array
        )
        return figures(plan)


def replay(
    load: Load,
    target: str,
    options: Options = Options(),
    *,
    require: Sequence[str] = (),
    out: Path | None = None,
    announce: Callable[[dict[str, object]], object] = lambda _: None,
    progress: Progress | None = None,
) -> RunResult:
    """Send the load at the target, open loop, judge the run and then the target, and write the run folder.

    ``require``: objectives. ``announce`` is given `plan.figures` once the target is reached, before the first row is sent. An
    interrupt ends the run cleanly; its folder is complete as far as it went. Raises UsageError, CaptureError, RefusedError
    (nothing was sent), OSError (disk full).
    """
    objectives = [_about_one_target(text) for text in require]
    aim, chain = parse_target(target), build_all(load.steps)
    with ExitStack() as stack:
        captures = open_all(load, stack)
        rails(aim, captures, options)
        scratch = stack.enter_context(Scratch())
        plan = plan_of(captures, chain, seed=load.seed, allow_paths=load.allow_paths, allocate=scratch.array)
        if not len(plan.schedule):
            raise RefusedError(f"nothing to send: {len(plan.view)} exchanges, left out: {plan.dropped or 'none'}")
        folder = create_run(out, new_run_id())
        kept: dict[int, Reply] = {}
        try:
            sent = _send(plan, aim, options, folder.run_id, kept, lambda: announce(figures(plan)), progress)
        except RefusedError:
            discard(folder)
            raise
        result = _judge(plan, sent, aim, options, objectives, folder)
        _write(folder, plan, sent, aim, load, options, [describe(step) for step in chain], kept, require, result)
        return replace(result, path=folder.promote())


def _about_one_target(text: str) -> Objective:
    """Raises UsageError: not an objective, or one that compares answers."""
    parsed = objective.parse(text)
    if METRICS[parsed.metric].pairs:
        raise UsageError(
            f"--require {text!r}: {parsed.metric} compares answers, and a replay has one side only: use shadow"
        )
    return parsed


def open_all(load: Load, stack: ExitStack) -> list[Capture]:
    """Raises CaptureError."""
    return [stack.enter_context(open_capture(path, key=load.tape_key)) for path in load.captures]


def key_of(captures: Sequence[Capture]) -> bytes | None:
    """What is made from an encrypted capture is encrypted with its key."""
    return next((capture.tape_key for capture in captures if capture.encrypted), None)


def rails(target: Target, captures: Sequence[Capture], options: Options) -> None:
    """Raises RefusedError."""
    check_target(
        target,
        look_around(target),
        headers_of(captures),
        allow_hosts=options.allow_hosts,
        allow_source=options.allow_source,
    )


def _send(
    plan: Plan,
    target: Target,
    options: Options,
    run_id: str,
    kept: dict[int, Reply],
    on_open: Callable[[], object],
    progress: Progress | None,
) -> Sent:
    room = KEPT_BYTES

    def keep(row: int, replies: Mapping[str, Reply]) -> None:
        nonlocal room
        reply = replies[target.role]
        if reply.status and reply.size <= room:
            room -= reply.size
            kept[row] = reply

    default = Settings(max_in_flight=options.max_in_flight, drain_ns=options.timeout_ns + DRAIN_MARGIN_NS)
    return send(
        plan,
        [target],
        run_id=run_id,
        headers=options.headers,
        timeout_ns=options.timeout_ns,
        settings=replace(default, failing=default.failing - set(options.expect_status), seed=plan.seed),
        on_row=keep if options.keep_bodies else None,
        on_open=on_open,
        progress=progress,
    )


def _judge(
    plan: Plan, sent: Sent, target: Target, options: Options, objectives: Sequence[Objective], folder: RunFolder
) -> RunResult:
    attempts = sent.attempts[target.role]
    generator = judge_run(attempts, plan.recorded_status, objectives, expect_status=options.expect_status, cpu=sent.cpu)
    judged = judge_all(objectives, Evidence(attempts=attempts, labels={name: plan.label(name) for name in LABELS}))
    verdict, why = combine([*judged, *broken_off(sent, judged)], generator.reasons)
    why = [*interruption(sent, target.role), *why]
    summary: dict[str, object] = {
        "command": "replay",
        "run": folder.run_id,
        "verdict": verdict,
        "why": why,
        **numbers(attempts),
        "itl_ms": spread_ms(np.zeros(0, dtype=np.int64)),
        "objectives": [asdict(one) for one in judged],
        "generator": generator.as_data(),
        "ended": sent.stop.reason or "done",
        "target": target.url,
        "plan": figures(plan),
        "notes": notes(plan, sent, generator),
        "series": series(attempts),
    }
    interrupted = sent.stop.reason == "interrupted"
    exit_code = EXIT_INTERRUPTED if interrupted else EXIT_CODES[verdict]
    return RunResult(verdict=verdict, why=why, exit_code=exit_code, path=folder.path, summary=summary)


def _write(
    folder: RunFolder,
    plan: Plan,
    sent: Sent,
    target: Target,
    load: Load,
    options: Options,
    steps: list[str],
    kept: Mapping[int, Reply],
    require: Sequence[str],
    result: RunResult,
) -> None:
    attempts = sent.attempts[target.role]
    inputs = inputs_of(plan.captures)
    headers = headers_of(plan.captures)
    header = run_header("replay", sent.wall_ns, inputs, headers, headers[0] if kept else None)
    batches = batches_of(attempts, plan, sent.targets, sent.target_of, kept, protector(plan.captures, new_key()))
    truncated = sum(reply.truncated for reply in kept.values())
    confessions = Confessions(seen=len(attempts), truncated=truncated)
    folder.write_tape(TAPE, header, batches, confessions, key=key_of(plan.captures))
    run: dict[str, object] = {
        "run_id": folder.run_id,
        "command": "replay",
        "started": folder.started,
        "finished": now(),
        "verdict": result.verdict,
        "why": result.why,
        "exit_code": result.exit_code,
        "inputs": list(inputs),
        "targets": {target.role: target.url},
        "transforms": steps,
        "seed": load.seed,
        "schedule_digest": plan.schedule.digest,
        "config": {
            "speed": str(load.speed),
            "copies": str(load.copies),
            "allow_paths": list(load.allow_paths),
            "headers": [name for name, _ in options.headers],  # values are credentials
            "max_in_flight": options.max_in_flight,
            "timeout_s": options.timeout_ns / 1e9,
            "keep_bodies": options.keep_bodies,
            "allow_hosts": list(options.allow_hosts),
            "allow_source": options.allow_source,
            "expect_status": list(options.expect_status),
            "require": list(require),
        },
        "headers_not_sent": dict(sent.headers_not_sent),
        "bodies_kept": len(kept),
        "event_loop": sent.event_loop,
        "versions": versions(),
        "machine": machine(),
    }
    if steps:
        run["receipt"] = receipt(
            plan.recorded, plan.schedule, plan.view, chain=steps, seed=plan.seed, dropped=plan.dropped
        )
    folder.write_json("summary.json", result.summary)
    folder.write_json("run.json", run)
    folder.write_text("report.html", html.render(result.summary, run))
