"""``shadowtape policy suggest``: watch live traffic for a while, in memory, and propose a policy. Nothing else is written."""

import asyncio
import contextlib
import json as jsonlib
import os
import signal
import socket
import sys
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from captures.console import JsonOption, complain
from captures.errors import UsageError
from captures.exchange import Exchange
from captures.privacy.census import Census
from captures.privacy.suggest import policy_data, policy_text, proposals
from captures.wording import plural
from recorder.board import Board
from recorder.frames import pack_wire
from recorder.listening import bound, open_port, raise_limits
from recorder.modes import Mode, Tls, chosen_mode
from recorder.options import parse_address, parse_duration_ns
from recorder.recording import Limits, Recording
from recorder.service import Seat, Service
from recorder.unpack import unpack_wire
from recorder.wire import WireExchange

FINISH_S = 10.0
_WAITING = 256  # exchanges that were seen and not yet looked at; more are relayed and not looked at
_SLICE_S = 0.002  # of looking, between two turns of relaying
_BODY_LIMIT = 1 << 20


def suggest(
    *,
    upstream: Annotated[
        str | None,
        typer.Option("--upstream", metavar="URL", help="Watch what is relayed to this server.", show_default=False),
    ] = None,
    listen: Annotated[
        str, typer.Option("--listen", metavar="HOST:PORT", help="Where clients connect; port 0: a free one.")
    ] = "127.0.0.1:8080",
    duration: Annotated[
        str, typer.Option("--for", metavar="DURATION", help="How long to watch: 60s, 1h. Ctrl-C ends it sooner.")
    ] = "60s",
    source: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="SOURCE",
            help="Instead of live traffic: a foreign recording, as import reads it.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="Write the proposal there; a new file.", show_default=False),
    ] = None,
    json: JsonOption = False,
) -> int:
    r"""Watch traffic for a while and propose a policy.

    Relays like `record`, but keeps nothing: values are looked at in memory,
    counted by keyed hashes and forgotten. The proposal says which strings look
    categorical and may be kept, which look like identities, with the numbers
    that say so, and never shows a value. Read it before you use it.

    [bold]Examples[/bold]

      shadowtape policy suggest --upstream http://model:8000 --listen :8080 \
        --for 5m --out policy.yaml

      shadowtape policy suggest --from traffic.har > policy.yaml
    """
    if (upstream is None) == (source is None):
        raise UsageError("policy suggest: name what to look at: --upstream URL, or --from SOURCE")
    if out is not None and out.exists():
        raise UsageError(f"--out {out}: it exists; name a new file")
    census = Census(os.urandom(32))
    if source is not None:
        for exchange in _imported(source):
            census.see(exchange)
        of_what = "a recording"
    else:
        seconds = parse_duration_ns(duration) / 1e9
        unseen, seconds = _watched(chosen_mode("reverse", upstream), listen, seconds, census)
        of_what = f"{seconds:,.0f} s of traffic"
        if unseen:
            complain(f"{plural(unseen, 'exchange')} came too fast to be looked at; the others were")
    found = proposals(census)
    text = policy_text(census, found, of_what)
    if out is not None:
        _write(out, text)
    if json:
        places = [each.as_data() for each in found]
        said = {"exchanges": census.exchanges, "places": places, "policy": policy_data(census, found)}
        print(jsonlib.dumps(said | {"out": "" if out is None else str(out)}))
    elif out is None:
        print(text, end="")
    else:
        rules = sum(bool(each.do) for each in found)
        print(
            f"{out}: {plural(rules, 'rule')} proposed from {plural(census.exchanges, 'exchange')}; read it before you use it"
        )
    return 0


def _write(out: Path, text: str) -> None:
    try:
        with out.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise UsageError(f"--out {out}: cannot be written: {error.strerror}") from None


def _imported(source: str) -> Iterator[Exchange]:
    """As it stands in the recording: in memory, and nowhere else."""
    from captures.importers.catalogue import importer_of  # noqa: PLC0415 - only --from needs it
    from captures.importers.importer import ImportOptions  # noqa: PLC0415 - only --from needs it
    from captures.importers.opening import Source  # noqa: PLC0415 - only --from needs it

    opened = Source(source)
    for file, head in opened.heads():
        if head:
            importer = importer_of(head, file)
            break
    else:
        raise UsageError(f"--from {source}: nothing in it")
    yield from (item for item in importer.read(opened.files(), ImportOptions()) if isinstance(item, Exchange))


# -- live


class Watcher:
    """Takes exchanges from a relay, in its process, and looks at them when it has time. ``unseen``: for how many it had none."""

    def __init__(self, census: Census) -> None:
        self.unseen = 0
        self._census = census
        self._waiting: deque[WireExchange] = deque()

    def offer(self, exchange: WireExchange) -> bool:
        if len(self._waiting) >= _WAITING:
            self.unseen += 1
            return False
        self._waiting.append(exchange)
        return True

    def look(self, seconds: float) -> bool:
        """For so long at most. Whether there was anything to look at."""
        until = time.monotonic() + seconds
        looked = bool(self._waiting)
        while self._waiting and time.monotonic() < until:
            with contextlib.suppress(ValueError):
                self._census.see(unpack_wire(pack_wire(self._waiting.popleft())))
        return looked


def _watched(mode: Mode, listen: str, seconds: float, census: Census) -> tuple[int, float]:
    """Exchanges not looked at, and how many seconds it was in the end."""
    from recorder.relay import relaying  # noqa: PLC0415 - importing mitmproxy takes a second, which a mistyped option should not

    make = relaying(mode, Tls())
    raise_limits()
    listener, address = bound(parse_address(listen))
    ours, theirs = socket.socketpair()
    board = Board.new(1)
    with listener, ours, theirs:
        open_port(listener, address)
        watcher = Watcher(census)
        recording = Recording(watcher.offer, board.rows[0], limits=Limits(body=_BODY_LIMIT))
        relay = make(Seat(0, 1, listener, theirs, board, time.monotonic_ns()), recording)
        print(
            f"watching http://{address} -> {mode.server} for {seconds:,.0f} s; nothing is written",
            file=sys.stderr,
            flush=True,
        )
        began = time.monotonic()
        asyncio.run(_watch(relay, watcher, seconds))
        board.close()
    return watcher.unseen, time.monotonic() - began


async def _watch(relay: Service, watcher: Watcher, seconds: float) -> None:
    await relay.start()
    loop = asyncio.get_running_loop()
    over = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, over.set)
    loop.call_later(seconds, over.set)
    while not over.is_set():  # noqa: ASYNC110 - the relay hands over between turns, it has no events
        await asyncio.sleep(0 if watcher.look(_SLICE_S) else 0.01)
    await relay.drain(FINISH_S)
    await relay.close()
    watcher.look(FINISH_S)
