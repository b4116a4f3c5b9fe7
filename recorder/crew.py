"""The processes of a recording: how each is started, and what it must not hold of the others'."""

import socket
from collections.abc import Callable, Iterator

from recorder.admin_process import AdminProcess
from recorder.admission import admission_of
from recorder.board import Board, Count
from recorder.listening import bound, open_port
from recorder.logs import Say
from recorder.options import RecordOptions
from recorder.outlet import Outlet
from recorder.place import Place
from recorder.reactor import Reactor
from recorder.recording import Recording
from recorder.service import Seat
from recorder.spool_process import SpoolProcess, Terms
from recorder.worker import Closable, Work, WorkerProcess, start_worker

type SpoolHeard = Callable[[Place, SpoolProcess], object]
type SpoolEnded = Callable[[Place, SpoolProcess, int], object]
type WorkerHeard = Callable[[Place, WorkerProcess], object]
type WorkerEnded = Callable[[Place, WorkerProcess, int], object]


class Crew:
    """Watched by a reactor. ``terms``: of the spools that are started from now on; ``recording``: whether workers that are started
    from now on record.
    """

    def __init__(self, options: RecordOptions, terms: Terms, listener: socket.socket, reactor: Reactor) -> None:
        self.terms = terms
        self.recording = True
        self.board = Board.new(options.workers)
        self.places = [Place(number, row) for number, row in enumerate(self.board.rows)]
        self._options, self._listener, self._reactor = options, listener, reactor
        self._admin: AdminProcess | None = None

    def open_admin(self, say: Say) -> None:
        """Raises UsageError."""
        if self._options.admin is not None:
            listener, address = bound(self._options.admin, "--admin")
            self._admin = AdminProcess(listener, self.board, self._reactor, self._not_for_admin, say)
            open_port(listener, address, "--admin")

    def start_admin(self) -> None:
        if self._admin is not None:
            self._admin.start()

    def start_spool(self, place: Place, heard: SpoolHeard, ended: SpoolEnded) -> None:
        """Raises OSError: the system has no room for another process."""
        place.spools.began()
        spool = SpoolProcess(self.board, place.number, {**self.terms.settings, "before": place.before})
        place.spool = spool
        place.row[Count.SPOOL_STARTS] += 1
        place.row[Count.SPOOL_PID] = spool.process.pid
        self._reactor.watch(spool.channel, lambda: heard(place, spool))
        self._reactor.child(spool.process.poll, lambda code: ended(place, spool, code))

    def start_worker(self, work: Work, place: Place, heard: WorkerHeard, ended: WorkerEnded) -> None:
        """Raises OSError as `start_spool`."""
        place.relays.began()

        def seat_of(control: socket.socket) -> Seat:
            return Seat(place.number, len(self.places), self._listener, control, self.board, self.terms.zero_ns)

        place.before_worker()
        worker = start_worker(work, seat_of, self._not_for_workers)
        worker.stopped = not self.recording
        place.worker = worker
        place.row[Count.RELAY_STARTS] += 1
        self._reactor.watch(worker.channel, lambda: heard(place, worker))
        self._reactor.child(worker.poll, lambda code: ended(place, worker, code))

    def make_recording(self, seat: Seat, outlet: Outlet) -> Recording:
        """In the worker."""
        options, terms = self._options, self.terms
        admission = admission_of(
            options.sampling_rate, key=terms.key, worker=seat.worker, session=terms.session, filters=options.filters
        )
        recording = Recording(outlet.offer, seat.board.rows[seat.worker], admission, options.limits)
        if not self.recording:
            recording.stop()
        return recording

    def close_admin(self) -> None:
        if self._admin is not None:
            self._admin.close()

    def close(self) -> None:
        """Kill what still runs; spools seal what they have."""
        self.close_admin()
        for place in self.places:
            place.close()

    def _not_for_children(self) -> Iterator[Closable]:
        """As long as somebody else has our end of a control socket, nobody sees that we are gone."""
        self._reactor.abandon()
        for place in self.places:
            yield from place.channels

    def _not_for_workers(self) -> Iterator[Closable]:
        yield from self._not_for_children()
        if self._admin is not None:
            yield from self._admin.abandon()

    def _not_for_admin(self) -> Iterator[Closable]:
        yield from self._not_for_children()
        yield self._listener
