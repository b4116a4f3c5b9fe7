"""``shadowtape record``: relay traffic to an upstream and capture a pseudonymised copy of it."""

import asyncio
import importlib
import os
import signal
import socket
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import typer

from captures.errors import UsageError
from recorder import options as parse
from recorder.named_files import state_folder
from recorder.options import Address, RecordOptions
from recorder.report import closing_line
from recorder.supervisor import Session, start_session

FINISH_S = 10.0  # for exchanges in flight when the relay or the recording is told to stop
EXIT_INCOMPLETE = 1
EXIT_INTERRUPTED = 130
_POLL_S = 0.02
_CHECK_S = 0.1


def record(
    *,
    upstream: Annotated[
        str, typer.Option("--upstream", metavar="URL", help="The server to relay to: http://HOST:PORT.")
    ],
    out: Annotated[
        str,
        typer.Option(
            "--out",
            metavar="PATH",
            help="x.tape: one file, where it exists the next free name. A folder, or s3://BUCKET/PREFIX: one file after another.",
        ),
    ],
    listen: Annotated[
        str, typer.Option("--listen", metavar="HOST:PORT", help="Where clients connect; port 0: a free one.")
    ] = parse.DEFAULT_LISTEN,
    policy: Annotated[
        Path | None, typer.Option("--policy", metavar="FILE", help="What may be kept. Default: deny by default.")
    ] = None,
    key: Annotated[
        Path | None,
        typer.Option(
            "--key",
            metavar="FILE",
            help="Key of the tokens, made if missing, never beside the tape. Default: a key that dies with the recording.",
        ),
    ] = None,
    sample: Annotated[
        str, typer.Option("--sample", metavar="SHARE", help="Share of the exchanges to keep: 25%.")
    ] = "100%",
    duration: Annotated[
        str | None,
        typer.Option("--for", metavar="DURATION", help="End the recording (not the relay) after this long: 60s, 1h."),
    ] = None,
    rotate_size: Annotated[
        str | None,
        typer.Option(
            "--rotate-size", metavar="SIZE", help="In a folder: begin another file at this size. Default: 256MiB."
        ),
    ] = None,
    rotate_every: Annotated[
        str | None, typer.Option("--rotate-every", metavar="DURATION", help="… or at this age: 1h.")
    ] = None,
    keep: Annotated[
        str | None,
        typer.Option(
            "--keep", metavar="SIZE", help="Remove the oldest files of the folder above this size in all: 20GiB."
        ),
    ] = None,
    keep_for: Annotated[
        str | None,
        typer.Option("--keep-for", metavar="DURATION", help="Remove files this long after their last write: 7d."),
    ] = None,
    min_free: Annotated[
        str,
        typer.Option("--min-free", metavar="SIZE", help="Stop recording when the disk has less left. 0: never."),
    ] = parse.DEFAULT_MIN_FREE,
    expire: Annotated[
        str | None,
        typer.Option(
            "--expire", metavar="DURATION", help="Every command refuses a file this long after it was begun: 30d."
        ),
    ] = None,
    label: Annotated[
        list[str] | None,
        typer.Option(
            "--label",
            metavar="NAME=WHERE",
            help="Keep a word of a small vocabulary: region=header:x-region, path:2, body:$.tier. Repeat for more.",
        ),
    ] = None,
    encrypt: Annotated[
        Path | None,
        typer.Option(
            "--encrypt",
            metavar="FILE",
            help="Encrypt with the key in this file, made if missing, never beside the tape.",
        ),
    ] = None,
    fsync: Annotated[bool, typer.Option("--fsync", help="What was flushed survives a power loss too; slower.")] = False,
    staging: Annotated[
        Path | None,
        typer.Option("--staging", metavar="FOLDER", help="Where files wait for their upload to s3://…"),
    ] = None,
    require_recording: Annotated[
        bool, typer.Option("--require-recording", help="Rather stop relaying (exit 1) than relay unrecorded.")
    ] = False,
) -> int:
    r"""Relay traffic to an upstream and capture a pseudonymised copy of it.

    Clients talk to --listen as if it were the upstream. When the recorder is
    slow, full or broken the copy is dropped and counted, the traffic goes on.
    Ctrl-C or SIGTERM: stop accepting, finish what is in flight, seal the capture.

    [bold]Examples[/bold]

      shadowtape record --upstream http://127.0.0.1:8000 --out monday.tape

      shadowtape record --upstream http://model:8000 --listen :8080 \
        --out peak.tape --sample 25% --for 1h

      shadowtape record --upstream http://model:8000 --out joined.tape \
        --policy policy.yaml --key ~/.keys/team.key

      shadowtape record --upstream http://model:8000 --out tapes/ \
        --rotate-every 1h --keep 20GiB --label region=header:x-region
    """
    chosen = RecordOptions(
        upstream=parse.parse_upstream(upstream),
        listen=parse.parse_address(listen),
        storage=parse.parse_storage(
            out,
            state=state_folder(),
            rotate_size=rotate_size,
            rotate_every=rotate_every,
            keep=keep,
            keep_for=keep_for,
            min_free=min_free,
            expire=expire,
            staging=staging,
            fsync=fsync,
            encrypt=encrypt,
            labels=tuple(label or ()),
        ),
        policy=policy,
        key=key,
        sampling_rate=parse.parse_share(sample),
        duration_ns=0 if duration is None else parse.parse_duration_ns(duration),
        require_recording=require_recording,
    )
    if chosen.listen == chosen.upstream.address:
        raise UsageError(f"--listen {chosen.listen}: that is the upstream itself; listen on another port")
    chosen = replace(chosen, listen=_bindable(chosen.listen))
    watch = _Watch(chosen.require_recording)
    session = start_session(
        chosen.storage,
        policy=chosen.policy,
        key=chosen.key,
        sampling_rate=chosen.sampling_rate,
        sources=[chosen.upstream.address, chosen.listen],
        on_trouble=watch.on_trouble,
        on_note=say,
        # Not at the top: importing mitmproxy takes a second, which a mistyped option should not.
        meanwhile=lambda: importlib.import_module("recorder.relay"),
    )
    return asyncio.run(_relay(chosen, session, watch))


@dataclass(slots=True)
class _Watch:
    """What stops the relay: a signal, or trouble where a recording is required."""

    required: bool
    failed: bool = False
    loop: asyncio.AbstractEventLoop | None = None
    stop: asyncio.Event | None = None

    def attach(self) -> asyncio.Event:
        self.loop, self.stop = asyncio.get_running_loop(), asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:  # nohup means it
                self.loop.add_signal_handler(number, self.on_signal)
        if self.failed:
            self.stop.set()
        return self.stop

    def on_signal(self) -> None:
        assert self.stop is not None
        if self.stop.is_set():
            # The spool reads to the end of its pipe and seals on its own; nobody has to wait for it.
            os._exit(EXIT_INTERRUPTED)
        self.stop.set()

    def on_trouble(self, trouble: str) -> None:
        """Called from the spool's watcher thread."""
        if not self.required:
            say(f"recording stopped: {trouble}; traffic goes on, unrecorded exchanges are counted as shed")
            return
        say(f"recording stopped: {trouble}; --require-recording: relaying stops")
        self.failed = True
        if self.loop is not None and self.stop is not None:
            self.loop.call_soon_threadsafe(self.stop.set)


async def _relay(chosen: RecordOptions, session: Session, watch: _Watch) -> int:
    from recorder.addon import Recorder  # noqa: PLC0415 - see record
    from recorder.relay import Relay  # noqa: PLC0415 - see record

    stop = watch.attach()
    recorder = Recorder(session.recording, session.zero_ns)
    relay = Relay(recorder, chosen.upstream, chosen.listen)
    try:
        await relay.start()
    except UsageError:
        await asyncio.to_thread(session.close)
        raise
    say(f"recording http://{chosen.listen} -> {chosen.upstream} into {session.path}")
    ending = None
    if chosen.duration_ns and not await _within(stop, chosen.duration_ns / 1e9):
        # Not waited for here: uploads may take a minute, and a signal closes the port at once.
        ending = asyncio.create_task(_end(session, "--for is over, relaying goes on: "))
    await _wait(stop, session, watch)
    await relay.drain(FINISH_S)
    await (ending or _end(session))
    await relay.close()
    return EXIT_INCOMPLETE if watch.failed else 0


async def _wait(stop: asyncio.Event, session: Session, watch: _Watch) -> None:
    while watch.required and session.recording.active and not await _within(stop, _CHECK_S):
        if shed := session.recording.counts.shed:
            watch.on_trouble(f"{shed} exchanges shed, the recorder does not keep up")
            return
    await stop.wait()


async def _within(event: asyncio.Event, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True


async def _end(session: Session, before: str = "") -> None:
    session.recording.stop()
    loop = asyncio.get_running_loop()
    until = loop.time() + FINISH_S
    while session.recording.open and loop.time() < until:  # noqa: ASYNC110 - the recording is pure, it has no events
        await asyncio.sleep(_POLL_S)
    say(before + closing_line(await asyncio.to_thread(session.close)))


def _bindable(listen: Address) -> Address:
    """The address with its port found where 0 was asked. Raises UsageError, before a capture is made for nothing."""
    try:
        with socket.create_server((listen.host, listen.port), family=_family(listen)) as probe:
            return Address(listen.host, probe.getsockname()[1])
    except OSError as error:
        raise UsageError(
            f"--listen {listen}: {error.strerror or 'cannot be opened'}; name another address or port"
        ) from None


def _family(listen: Address) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in listen.host else socket.AF_INET


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
