"""The process that holds the listening socket and keeps workers and their spools alive: a killed one is replaced, a signal drains.

One thread and no asyncio, because it forks. It has imported what its workers run before it forks them, so that a new one is there
within milliseconds.
"""

import asyncio
import contextlib
import gc
import os
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import replace
from enum import IntEnum

from captures.errors import ShadowtapeError, UsageError
from recorder.board import Count
from recorder.crew import Crew
from recorder.listening import bound, open_port, raise_limits
from recorder.logs import Say, log
from recorder.options import Address, RecordOptions
from recorder.place import Place
from recorder.reactor import Reactor
from recorder.report import closing_line
from recorder.spool_process import CLOSE_S, START_S, SpoolProcess, Terms, death_of, sum_of, terms_of, with_policy
from recorder.standard import standing
from recorder.uploading import UPLOAD_WAIT_S
from recorder.worker import FINISH_S, FLUSH_S, MakeService, Work, WorkerProcess

EXIT_INCOMPLETE = 1
EXIT_INTERRUPTED = 130
_TICK_S = 1.0
_TWICE_S = 0.2  # timeout(1) sends a signal to the process and then to its group: that is one wish
_AGAIN_S = 1.0  # where a process or a pipe cannot be had
_REQUIRED_TICK_S = 0.1
_KILL_S = FINISH_S + FLUSH_S + 5.0  # for a worker that drains
_STAYS = "traffic goes on, unrecorded exchanges are counted as shed"
# Counts that say a recording is not complete.
_MISSED = (Count.SHED, Count.HOOK_ERRORS, Count.SPOOL_SHED, Count.SPOOL_ERRORS, Count.LOST)

type NewLoop = Callable[[], asyncio.AbstractEventLoop]


class Stage(IntEnum):
    """Of the recording."""

    ON = 0
    ENDING = 1  # workers were told to end it
    SEALING = 2  # spools were told to seal
    OVER = 3


def run(
    options: RecordOptions,
    prepare: Callable[[], MakeService],
    describe: Callable[[Address], str],
    *,
    command: str = "record",
    new_loop: NewLoop = asyncio.new_event_loop,
) -> int:
    """Record until a signal; the exit code. ``prepare`` is called once, while spools start: it imports what is slow, and returns
    what makes a worker's service. ``describe`` says what is recorded, given the address that clients connect to. Raises
    ShadowtapeError before the port opens.
    """
    with standing(), contextlib.ExitStack() as stack:
        listener, listen = bound(options.listen)
        stack.enter_context(listener)
        terms = terms_of(
            options.storage,
            policy=options.policy,
            key=options.key,
            sampling_rate=options.sampling_rate,
            sources=[*options.sources, listen],
            filters=options.filters,
            command=command,
        )
        raise_limits()
        supervisor = Supervisor(options, terms, listener, listen, log(options.log))
        stack.callback(supervisor.close)
        return supervisor.serve() if supervisor.start(prepare, describe, new_loop) else 0


class Supervisor:
    """`start`, `serve`, `close`, once each."""

    def __init__(
        self, options: RecordOptions, terms: Terms, listener: socket.socket, listen: Address, say: Say
    ) -> None:
        self._options, self._say = options, say
        self._listener, self._listen = listener, listen
        self._reactor = Reactor()
        self._crew = Crew(options, terms, listener, self._reactor)
        self._board, self._places = self._crew.board, self._crew.places
        self._stage = Stage.ON
        self._started = False
        self._asked = False  # to stop, by a signal
        self._asked_s = float("-inf")
        self._draining = False
        self._left = False
        self._code = 0
        self._trouble = ""  # the first reason why the recording is incomplete
        self._troubled: set[str] = set()  # said, and not over
        self._before_report = ""
        self._refusal: ShadowtapeError | None = None

    def start(self, prepare: Callable[[], MakeService], describe: Callable[[Address], str], new_loop: NewLoop) -> bool:
        """False: a signal came meanwhile, and it is over. Raises ShadowtapeError."""
        options = self._options
        for number in (signal.SIGINT, signal.SIGTERM):
            self._reactor.on_signal(number, self._on_stop)
        self._reactor.on_signal(signal.SIGHUP, self._on_reload)
        self._crew.open_admin(self._say)
        for place in self._places:
            self._start_spool(place)
        self._work = Work(prepare(), self._crew.make_recording, options.queue, new_loop)
        self._wait_for(lambda: self._asked or all(place.ready for place in self._places), "the spool process")
        if self._asked:  # nobody could connect yet
            self._say("stopped by a signal before it listened", event="note")
            return False
        open_port(self._listener, self._listen)
        gc.collect()
        gc.freeze()  # what is shared with the workers stays shared
        for place in self._places:
            self._start_worker(place)
        self._crew.start_admin()
        self._wait_for(lambda: all(place.serving for place in self._places), "a worker process")
        self._started = True
        spool = self._places[0].spool
        path = spool.path if spool is not None else ""
        if options.storage.rotation is None and path != str(options.storage.path):
            self._say(f"{options.storage.path} exists already: recording into {path}", event="renamed", path=path)
        told = f"recording {describe(self._listen)} into {path}"
        self._say(told, event="recording", listen=str(self._listen), path=path, workers=options.workers)
        return True

    def serve(self) -> int:
        """Until it is over; the exit code."""
        if self._options.duration_ns:
            self._reactor.later(self._options.duration_ns / 1e9, self._on_duration)
        self._tick()
        if self._asked:  # while the workers started
            self._drain()
        self._reactor.run(lambda: self._left)
        return self._code

    def close(self) -> None:
        """Kill what still runs; spools seal what they have."""
        self._crew.close()
        self._reactor.close()

    # Starting processes.

    def _wait_for(self, there: Callable[[], bool], what: str) -> None:
        late: list[bool] = []
        self._reactor.later(START_S, lambda: late.append(True))
        self._reactor.run(lambda: there() or self._refusal is not None or bool(late))
        if self._refusal is not None:
            raise self._refusal
        if not there():
            raise UsageError(f"{what} did not start within {START_S:.0f} s")

    def _start_spool(self, place: Place) -> None:
        try:
            self._crew.start_spool(place, self._hear_spool, self._spool_ended)
        except OSError as error:
            if not self._started:
                raise UsageError(f"the spool process cannot be started: {error.strerror}") from None
            self._in_trouble(f"the spool process cannot be started: {error.strerror}")
            self._reactor.later(_AGAIN_S, lambda: self._replace_spool(place))

    def _start_worker(self, place: Place) -> None:
        try:
            self._crew.start_worker(self._work, place, self._hear_worker, self._worker_ended)
        except OSError as error:
            told = f"worker process {place.number} cannot be started: {error.strerror}"
            if not self._started:
                raise UsageError(told) from None
            if place.relays.worth_saying():
                self._say(f"{told}; tried again", event="worker_dies", level="error", worker=place.number)
            self._reactor.later(_AGAIN_S, lambda: self._replace_worker(place))
        else:
            self._connect(place)

    def _connect(self, place: Place) -> None:
        """The worker to its spool, when both are there."""
        if self._stage != Stage.ON:
            return
        try:
            place.connect()
        except OSError:  # no descriptor left
            self._reactor.later(_AGAIN_S, lambda: self._connect(place))

    # Hearing from them.

    def _hear_spool(self, place: Place, spool: SpoolProcess) -> None:
        for told in spool.hear():
            message = str(told.get("message", ""))
            if told["kind"] == "ready":
                self._spool_ready(place, spool)
            elif told["kind"] == "refused" and not self._started:
                self._refusal = UsageError(message)
            elif told["kind"] in ("refused", "trouble"):
                self._in_trouble(message)
            elif told["kind"] == "recovered":
                self._troubled.clear()
                self._say(message, event="resumed")
            elif told["kind"] == "policy" and message:
                self._say(f"policy not followed: {message}", event="policy_refused", level="error")
            elif told["kind"] == "note":
                self._say(message, event="note")
        if spool.channel.ended:
            self._reactor.unwatch(spool.channel)
        self._advance()

    def _spool_ready(self, place: Place, spool: SpoolProcess) -> None:
        if self._stage != Stage.ON:
            return
        self._connect(place)
        if self._started:
            self._troubled.clear()
            self._say(f"recording goes on into {spool.path}", event="resumed", path=spool.path)

    def _spool_ended(self, place: Place, spool: SpoolProcess, code: int) -> None:
        if not spool.channel.ended:
            self._hear_spool(place, spool)
        self._reactor.unwatch(spool.channel)
        place.spool_gone()
        if not spool.done and not spool.refused:
            if self._started:
                self._in_trouble(death_of("the spool process", code))
            elif self._refusal is None:
                self._refusal = UsageError(death_of("the spool process", code))
        if self._stage == Stage.ON and self._started and not self._draining:
            self._reactor.later(place.spools.wait_s(), lambda: self._replace_spool(place))
        else:
            place.tell_worker("alone")
        self._advance()

    def _replace_spool(self, place: Place) -> None:
        if self._stage == Stage.ON and not self._draining and place.spool is None:
            self._start_spool(place)

    def _hear_worker(self, place: Place, worker: WorkerProcess) -> None:
        for told in worker.hear():
            if told["kind"] == "ready":
                place.row[Count.RELAY_PID] = worker.pid
            elif told["kind"] == "refused" and not self._started:
                self._refusal = UsageError(str(told["message"]))
            elif told["kind"] in ("refused", "note"):
                self._say(str(told["message"]), event="note")
        if worker.channel.ended:
            self._reactor.unwatch(worker.channel)
        self._advance()

    def _worker_ended(self, place: Place, worker: WorkerProcess, code: int) -> None:
        if not worker.channel.ended:
            self._hear_worker(place, worker)
        self._reactor.unwatch(worker.channel)
        place.worker_gone()
        if not self._draining and self._refusal is None:
            self._say_died(place, code)
            if wait_s := place.relays.wait_s():
                self._reactor.later(wait_s, lambda: self._replace_worker(place))
            else:
                self._replace_worker(place)
        self._advance()

    def _say_died(self, place: Place, code: int) -> None:
        died = death_of(f"worker process {place.number}", code)
        if not place.relays.again:
            told = f"{died}: replaced; its open connections are lost"
            self._say(told, event="worker_died", level="warning", worker=place.number)
        elif place.relays.worth_saying():
            told = f"{died} right after its start, again and again: it is started at most 10 times a second"
            self._say(told, event="worker_dies", level="error", worker=place.number)

    def _replace_worker(self, place: Place) -> None:
        if not self._draining and place.worker is None:
            self._start_worker(place)

    # What is to be done.

    def _on_stop(self) -> None:
        now = time.monotonic()
        if not self._asked and not self._draining:
            self._asked, self._asked_s = True, now
            if self._started:
                self._drain()
            return
        if now - self._asked_s < _TWICE_S:
            return
        # Spools read to the end of their pipes and seal on their own; nobody has to wait for them.
        self._kill_workers()
        self._crew.close_admin()
        os._exit(EXIT_INTERRUPTED)

    def _drain(self) -> None:
        self._draining = True
        self._listener.close()
        for place in self._places:
            place.row[Count.DRAINING] = 1
            place.end_worker("drain")
        self._reactor.later(_KILL_S, self._kill_workers)
        self._advance()

    def _kill_workers(self) -> None:
        for place in self._places:
            place.kill_worker()

    def _on_duration(self) -> None:
        if self._stage == Stage.ON and not self._draining:
            self._stage = Stage.ENDING
            self._crew.recording = False
            self._before_report = "--for is over, relaying goes on: "
            for place in self._places:
                place.end_worker("stop")
            self._advance()

    def _on_reload(self) -> None:
        row = self._board.rows[0]
        try:
            settings = with_policy(self._crew.terms.settings, self._options)
        except ShadowtapeError as error:
            row[Count.POLICY_REFUSALS] += 1
            self._say(f"policy not reloaded, the old one stays: {error}", event="policy_refused", level="error")
            return
        row[Count.POLICY_RELOADS] += 1
        self._crew.terms = replace(self._crew.terms, settings=settings)
        for place in self._places:
            if place.spool is not None:
                place.spool.channel.send({"do": "policy", "policy": settings["policy"]})
        self._say(f"policy reloaded: {self._options.policy}", event="policy_reloaded")

    def _in_trouble(self, trouble: str) -> None:
        """Something is not recorded. Said once, until the recording goes on."""
        self._trouble = self._trouble or trouble
        if self._stage != Stage.ON or trouble in self._troubled:
            return
        self._troubled.add(trouble)
        if not self._options.require_recording:
            self._say(f"recording stopped: {trouble}; {_STAYS}", event="trouble", level="error", why=trouble)
            return
        self._code = EXIT_INCOMPLETE
        if not self._draining:
            told = f"recording stopped: {trouble}; --require-recording: relaying stops"
            self._say(told, event="required", level="error", why=trouble)
            self._drain()

    def _tick(self) -> None:
        required = self._options.require_recording
        self._reactor.later(_REQUIRED_TICK_S if required else _TICK_S, self._tick)
        for place in self._places:
            for channel in place.channels:
                channel.flush()
        if required and not self._draining and self._stage == Stage.ON:
            missed = sum(self._board.total(count) for count in _MISSED)
            if missed:
                self._in_trouble(f"{missed} exchanges shed, the recorder does not keep up")

    def _advance(self) -> None:
        """What has become possible: seal when no worker records any more, report when all is sealed, leave when all are gone."""
        if not self._started:
            return
        workers = [place.worker for place in self._places if place.worker is not None]
        ending = self._draining or self._stage == Stage.ENDING
        if ending and self._stage < Stage.SEALING and all(worker.stopped for worker in workers):
            self._stage = Stage.SEALING
            wait_s = CLOSE_S + (UPLOAD_WAIT_S if self._options.storage.url else 0)
            self._reactor.later(wait_s, lambda: self._kill_spools(wait_s))
            for place in self._places:
                if place.spool is not None:
                    place.spool.end()
        if self._stage == Stage.SEALING and all(place.spool is None for place in self._places):
            self._stage = Stage.OVER
            reports = [report for place in self._places for report in place.past]
            report = sum_of(reports, self._board, self._options.sampling_rate, self._trouble)
            self._say(self._before_report + closing_line(report), event="recorded", kept=report.kept)
        self._left = self._draining and self._stage == Stage.OVER and not workers

    def _kill_spools(self, wait_s: float) -> None:
        """The recording should be sealed by now."""
        for place in self._places:
            if self._stage == Stage.SEALING and place.spool is not None:
                self._trouble = self._trouble or f"the spool process did not finish within {wait_s:.0f} s"
                place.spool.process.kill()
