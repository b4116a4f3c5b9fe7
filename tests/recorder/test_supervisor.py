"""The supervisor with a service of the test's: real forks, a real spool, no mitmproxy."""

import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from captures.errors import UsageError
from captures.opening import open_capture
from recorder.listening import bound, open_port
from recorder.options import Address, RecordOptions, parse_storage
from recorder.pace import Pace
from recorder.reactor import Reactor
from recorder.recording import Recording
from recorder.service import Seat
from recorder.supervisor import run
from recorder.testing import wire_exchange


class Service:
    """Records ``exchanges`` when it starts, then does ``then``, if anything."""

    def __init__(self, seat: Seat, recording: Recording, exchanges: int, then: Callable[[], object]) -> None:
        self._recording, self._exchanges = recording, exchanges
        self._then = then if seat.worker == 0 else lambda: None

    async def start(self) -> None:
        for number in range(self._exchanges):
            exchange = wire_exchange(number)
            if self._recording.admit(exchange.request_head):
                self._recording.keep(exchange)
        self._then()

    async def drain(self, timeout_s: float) -> None:
        pass

    async def close(self) -> None:
        pass


def stop() -> None:
    os.kill(os.getppid(), signal.SIGTERM)


def refuse() -> None:
    raise UsageError("this cannot work")


def recorded(
    tmp_path: Path,
    then: Callable[[], object],
    *,
    exchanges: int = 0,
    workers: int = 1,
    duration_ns: int = 0,
    policy: Path | None = None,
) -> int:
    options = RecordOptions(
        listen=Address("127.0.0.1", 0),
        storage=parse_storage(str(tmp_path / "tapes"), state=tmp_path),
        workers=workers,
        duration_ns=duration_ns,
        policy=policy,
    )

    def make(seat: Seat, recording: Recording) -> Service:
        return Service(seat, recording, exchanges, then)

    return run(options, lambda: make, lambda listen: f"from {listen.host}")


def children() -> set[str]:
    """Zombies included."""
    return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text(encoding="ascii").split())


@pytest.fixture(autouse=True)
def _nothing_runs_on() -> Iterator[None]:
    """Other tests in this process may have left a helper of theirs, as multiprocessing does."""
    before = children()
    yield
    assert not children() - before


@pytest.mark.slow
def test_workers_record_until_a_signal_and_one_line_has_the_sums(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    before = signal.getsignal(signal.SIGTERM)
    assert recorded(tmp_path, stop, exchanges=7, workers=2) == 0
    said = capfd.readouterr().err.splitlines()
    folder = tmp_path / "tapes"
    assert said[0] == f"recording from 127.0.0.1 into {folder}"
    assert said[1].startswith(f"recorded 14 of 14 exchanges into {folder} (shed 0,")
    assert (len(said), said[1].endswith("; 2 files")) == (2, True)
    for path in folder.iterdir():
        with open_capture(path) as capture:
            assert (len(capture), capture.sealed) == (7, True)
    assert signal.getsignal(signal.SIGTERM) == before


@pytest.mark.slow
def test_a_service_that_refuses_is_a_usage_error_and_nothing_runs_on(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="this cannot work"):
        recorded(tmp_path, refuse)


@pytest.mark.slow
def test_a_signal_during_the_start_ends_it_before_the_port_opens(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    def prepare() -> Callable[[Seat, Recording], Service]:
        os.kill(os.getpid(), signal.SIGTERM)
        return lambda seat, recording: pytest.fail("no worker is needed any more")

    storage = parse_storage(str(tmp_path / "tapes"), state=tmp_path)
    options = RecordOptions(listen=Address("127.0.0.1", 0), storage=storage)

    assert run(options, prepare, lambda listen: pytest.fail(f"it recorded from {listen}")) == 0
    assert capfd.readouterr().err == "stopped by a signal before it listened\n"


@pytest.mark.slow
def test_a_worker_that_dies_again_and_again_is_started_slowly_and_that_is_said_once(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The first one lives: a recorder that cannot start at all says so and leaves."""
    starts = tmp_path / "starts"

    def die() -> None:
        with starts.open("a", encoding="ascii") as file:
            file.write(f"{time.monotonic()}\n")
        lines = starts.read_text(encoding="ascii").splitlines()
        if len(lines) == 6:
            stop()
        elif len(lines) > 1:
            os._exit(3)
        else:
            os.posix_spawn("/bin/sh", ["sh", "-c", f"sleep 1.5; kill -9 {os.getpid()}"], {})

    assert recorded(tmp_path, die) == 0
    said = capfd.readouterr().err.splitlines()
    assert [line for line in said if "again and again" in line] == [
        "worker process 0 died (exit code 3) right after its start, again and again: it is started at most 10 times a second"
    ]
    assert len([line for line in said if line.endswith(": replaced; its open connections are lost")]) == 2
    times = [float(line) for line in starts.read_text(encoding="ascii").splitlines()]
    assert times[-1] - times[1] > 0.25  # four starts


@pytest.mark.slow
def test_the_end_of_the_recording_is_not_the_end_of_the_service(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    def stop_later() -> None:
        os.posix_spawn("/bin/sh", ["sh", "-c", f"sleep 1.5; kill -TERM {os.getppid()}"], {})

    assert recorded(tmp_path, stop_later, exchanges=3, duration_ns=10**8) == 0
    said = capfd.readouterr().err.splitlines()
    assert said[1].startswith("--for is over, relaying goes on: recorded 3 of 3 exchanges into ")
    assert len(said) == 2


@pytest.mark.slow
def test_without_a_policy_file_a_reload_is_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    def reload() -> None:
        os.kill(os.getppid(), signal.SIGHUP)
        stop()

    assert recorded(tmp_path, reload) == 0
    assert (
        "policy not reloaded, the old one stays: there is no --policy file to read again"
        in capfd.readouterr().err.splitlines()
    )


def test_a_port_in_use_is_a_usage_error_with_its_option() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=rf"--listen 127.0.0.1:{port}: Address already in use; name another"):
            bound(Address("127.0.0.1", port))


def test_a_port_that_was_bound_and_taken_meanwhile_is_a_usage_error() -> None:
    first, where = bound(Address("127.0.0.1", 0))
    second, _ = bound(where)
    with first, second:
        open_port(first, where)
        with pytest.raises(UsageError, match="Address already in use"):
            open_port(second, where)


def test_a_name_that_is_nobody_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match=r"--listen no\.such\.host\.invalid:1: "):
        bound(Address("no.such.host.invalid", 1))


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "0.0.0.0", "::"])
def test_a_bound_port_is_known_before_anybody_can_connect(host: str) -> None:
    try:
        listener, where = bound(Address(host, 0))
    except UsageError:
        pytest.skip("no such protocol on this machine")
    with listener:
        assert where.port > 0
        here = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((here, where.port), timeout=5)
        open_port(listener, where)
        socket.create_connection((here, where.port), timeout=5).close()


def test_who_lived_long_is_started_at_once_and_who_dies_on_and_on_later_and_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 100.0
    monkeypatch.setattr("recorder.pace.time.monotonic", lambda: now)
    pace = Pace(longest_s=10.0)
    pace.began()
    now += 60
    assert (pace.again, pace.wait_s()) == (False, 0.0)
    waits = []
    for _ in range(9):
        pace.began()
        waits.append(pace.wait_s())
    assert waits == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0]
    assert pace.again
    assert [pace.worth_saying(), pace.worth_saying()] == [True, False]
    now += 60
    assert (pace.wait_s(), pace.again, pace.worth_saying()) == (0.0, False, True)


def test_a_reactor_tells_of_signals_children_timers_and_gives_the_signals_back() -> None:
    before = signal.getsignal(signal.SIGUSR1), signal.getsignal(signal.SIGCHLD)
    told: list[object] = []
    reactor = Reactor()
    try:
        reactor.on_signal(signal.SIGUSR1, lambda: told.append("signal"))
        pid = os.posix_spawn("/bin/sh", ["sh", "-c", "exit 3"], {})

        def poll() -> int | None:
            found, status = os.waitpid(pid, os.WNOHANG)
            return os.waitstatus_to_exitcode(status) if found else None

        reactor.child(poll, told.append)
        reactor.later(0.001, lambda: os.kill(os.getpid(), signal.SIGUSR1))
        reactor.later(10, lambda: told.append("late"))
        reactor.run(lambda: len(told) == 2)
    finally:
        reactor.close()
    assert sorted(map(str, told)) == ["3", "signal"]
    assert (signal.getsignal(signal.SIGUSR1), signal.getsignal(signal.SIGCHLD)) == before


def test_what_is_no_longer_watched_is_not_told_of_even_if_something_had_come_already() -> None:
    """Many processes that are killed at once are heard of at once, and the first news closes the sockets of the others."""
    told: list[int] = []
    reactor = Reactor()
    pairs = [socket.socketpair() for _ in range(3)]

    def came(number: int) -> None:
        told.append(number)
        for ours, _ in pairs:
            reactor.unwatch(ours)
            ours.close()

    try:
        for number, (ours, theirs) in enumerate(pairs):
            reactor.watch(ours, lambda number=number: came(number))  # type: ignore[misc]  # bound early
            theirs.close()
        reactor.run(lambda: bool(told))
    finally:
        reactor.close()
    assert len(told) == 1


def test_a_signal_that_was_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    reactor = Reactor()
    try:
        reactor.on_signal(signal.SIGHUP, lambda: pytest.fail("nohup means it"))
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        reactor.close()
        signal.signal(signal.SIGHUP, before)
