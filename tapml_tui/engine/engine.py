"""The debugger without a screen: one thread that owns all mutable state, commands in, events out."""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from types import MappingProxyType
from typing import TypeAlias

from tapml_tui.backends.protocol import (
    Backend,
    BackendStatus,
    Executed,
    Failed,
    KernelText,
    LogLine,
    Prepared,
    Reply,
    State,
)
from tapml_tui.compare.overrides import Overrides
from tapml_tui.engine.announcing import Announcer
from tapml_tui.engine.applying import apply, begin, record
from tapml_tui.engine.commands import (
    Command,
    Describe,
    Force,
    Interrupt,
    Mode,
    SelectCase,
    SetBackend,
    SetFolds,
    SetMode,
    SetNote,
    ToggleBreakpoint,
    Undo,
)
from tapml_tui.engine.comparing import NO_OVERRIDES
from tapml_tui.engine.events import Changed, Event, Snapshot, StopReason
from tapml_tui.engine.executor import SOURCE, Awaited, Executor, Waiting
from tapml_tui.engine.exhibits import Origin
from tapml_tui.engine.jobs import SLOW
from tapml_tui.engine.placement import REFERENCE
from tapml_tui.engine.reading import Reader
from tapml_tui.engine.session import Session, Stopped
from tapml_tui.engine.session_file import attach
from tapml_tui.engine.store import open_store
from tapml_tui.engine.telling import log_fault, ranges_of, remarked, snapshot_of, stopped_by
from trace_format import Trace, TraceError

EVENT_INTERVAL = 0.03
"""Seconds between events of a run: two frames of a screen. A command's answer never waits."""

BETWEEN_NODES = (SetBackend, Undo, ToggleBreakpoint, Force, SetNote, SetFolds)
"""What is carried out in the middle of a run, when no other command was given before it."""

TURN = 0.02
"""Seconds that a run may take before the inbox is looked at again."""

REST = 0.012
"""Seconds between two slices of announcing while nothing runs: the screen has the interpreter meanwhile."""


@dataclass(frozen=True, slots=True)
class _Submitted:
    ticket: int
    command: Command


class _Close:
    """The end."""


_Message: TypeAlias = _Submitted | _Close | Reply


class Engine(Reader):
    """A debugging session over a trace.

    `submit` may be called from any thread, as may the reads (`snapshot`, `table`, `result`, ...);
    `on_event` is called on the engine's own thread. Exactly one `Changed` answers each command.
    """

    def __init__(
        self,
        trace: Trace,
        backends: Sequence[Backend],
        *,
        on_event: Callable[[Event], None],
        run_path: Path | None = None,
        mode: Mode = Mode.CHAINED,
        source_from_trace: bool = True,
        fetch_limit: int = 64 << 20,
        reuse: bool = True,
        initial: str | None = None,
        names: Mapping[str, str] = MappingProxyType({}),
        origins: Mapping[str, Origin] = MappingProxyType({}),
        overrides: Overrides = NO_OVERRIDES,
        resume: bool = False,
        answer_only: bool = False,
    ) -> None:
        """Open a session; nothing runs before `start`.

        Args:
            trace: What to debug. It must have a case.
            backends: The sides; one has the id "source".
            on_event: Gets every event.
            run_path: Where results are kept and found again, see `store.open_store`.
            mode: Isolated or chained.
            source_from_trace: Whether the source's result on the recorded inputs is the recorded one.
            fetch_limit: Outputs of more bytes than this stay on their backend until `FetchWhole`.
            reuse: Whether what earlier sessions computed counts.
            initial: Where nodes are placed at first; the first backend that is not the source.
            names: What the ledger calls backends, by id: "llvm @loopback".
            origins: What exported tests are told of each target, by id.
            overrides: What the user allows instead of the noise floors.
            answer_only: Whether nothing is judged but what the model answers, and nothing else fetched; chained only.
            resume: Whether to go on where the session file beside the run says, and to keep that file.

        Raises:
            TraceError: If there is no case, or no file for the results.
        """
        if not trace.cases:
            raise TraceError("there is no case in this trace: nothing was recorded, so there is nothing to debug")
        self.backend_ids = tuple(backend.id for backend in backends)
        self._backends = {backend.id: backend for backend in backends}
        self._on_event = on_event
        self._inbox: queue.SimpleQueue[_Message] = queue.SimpleQueue()
        self._tickets = count(1)
        self._store = open_store(trace, run_path, fetch_limit=fetch_limit, reuse=reuse)
        self.run_path = self._store.path
        executor = Executor(
            trace,
            backends,
            self._store,
            source_from_trace=source_from_trace,
            fetch_limit=fetch_limit,
            overrides=overrides,
        )
        executor.answer_only = answer_only
        targets = [one for one in self._backends if one != SOURCE]
        first = initial or (targets or [SOURCE])[0]
        super().__init__(trace, executor, Session(trace, executor, (*self.backend_ids, REFERENCE), first, mode))
        self._states = {one: BackendStatus(one, State.OFF) for one in self._backends}
        self._file = attach(self._store, trace, self._session, resume=resume, on_event=on_event)
        self._session.names, self._session.origins, self._session.states = names, origins, self._states
        self._compiling: dict[str, Prepared] = {}
        self._announcer = Announcer(self._session, self._backends)
        self._waiting: deque[_Submitted] = deque()
        self._running: _Submitted | None = None
        self._run: Waiting[Stopped] | None = None
        self._awaited: Awaited | None = None
        self._stopped = Stopped(StopReason.START, "; ".join(filter(None, (self._store.elsewhere, overrides.words))))
        self._generation = 0
        self._told = 0.0
        self._dirty = False
        self._closed = False
        self.snapshot = self._snapshot(self._stopped.message)
        self._thread = threading.Thread(target=self._main, name="engine", daemon=True)

    # What anybody may ask

    def start(self) -> None:
        """Start the thread and the backends."""
        self._thread.start()

    def submit(self, command: Command) -> int:
        """Ask for something; the ticket that the answering event will carry."""
        ticket = next(self._tickets)
        self._inbox.put(_Submitted(ticket, command))
        return ticket

    def close(self) -> None:
        """Stop everything, and wait until it has stopped. Safe to call twice."""
        if self._closed:
            return
        self._closed = True
        self._inbox.put(_Close())
        if self._thread.is_alive():
            self._thread.join()
        else:  # it was never started
            self._shut()

    # The engine's thread

    def _main(self) -> None:
        try:
            self._serve()
        except Exception as error:  # nobody must wait for ever for an answer
            log_fault(self._on_event)
            self._refuse_all(f"the engine stopped because of a fault of its own ({error!r}): start tapml-tui again")
        self._shut()

    def _serve(self) -> None:
        for backend in self._backends.values():
            backend.start(self._inbox.put)
        self._announcer.begin()
        message: _Message | None
        while True:
            try:
                message = self._inbox.get(timeout=self._patience())
            except queue.Empty:
                message = None
                self._dirty |= bool(self._session.held_up_by)
            if isinstance(message, _Close):
                break
            if message is not None:
                self._take(message)
            self._announcer.announce()
            self._drive()
            if self._dirty and time.monotonic() - self._told >= EVENT_INTERVAL:
                self._tell()
        self._shut()

    def _patience(self) -> float | None:
        """How long the inbox may be waited for: not at all while something can go on without it."""
        waits = self._awaited is not None and not self._awaited.done
        if (self._run is not None and not waits) or (self._run is None and self._waiting):
            return 0.0
        if self._announcer.due:
            return REST if self._run is None else REST / 8
        return EVENT_INTERVAL if self._dirty else SLOW if waits else None

    def _refuse_all(self, why: str) -> None:
        """Answer everything, until the session is closed, with what broke; the state may be half changed."""
        self._generation += 1
        refused = replace(
            self.snapshot, generation=self._generation, running=False, stopped=StopReason.ERROR, message=why
        )
        self.snapshot = refused
        for submitted in filter(None, [self._running, *self._waiting]):
            self._on_event(Changed(refused, (), submitted.ticket))
        self._running = None
        self._waiting.clear()
        while not isinstance(message := self._inbox.get(), _Close):
            if isinstance(message, _Submitted):
                self._on_event(Changed(refused, (), message.ticket))

    def _shut(self) -> None:
        self._run = None
        for backend in self._backends.values():
            backend.close()
        closing = Stopped(StopReason.INTERRUPTED, "the session is closed")
        while not self._inbox.empty():
            left = self._inbox.get()
            if isinstance(left, _Submitted):
                self._waiting.append(left)
        for submitted in filter(None, [self._running, *self._waiting]):
            self._answer(submitted.ticket, closing)
        self._store.close()

    def _take(self, message: _Submitted | Reply) -> None:
        match message:
            case _Submitted():
                self._submitted(message)
            case Executed() | Failed():
                self._replied(message)
            case BackendStatus():
                self._states[message.backend] = message
                self._dirty = True
            case Prepared():
                self._compiling[message.backend] = message
                self._dirty = True
            case KernelText() | LogLine():
                self._on_event(message)

    def _replied(self, reply: Executed | Failed) -> None:
        try:
            self._executor.jobs.answer(reply)
        except TraceError as error:
            self._end(Stopped(StopReason.ERROR, f"results cannot be written down: {error}"))

    def _submitted(self, submitted: _Submitted) -> None:
        """Carry a command out now, or after the run under way."""
        if self._run is None or isinstance(submitted.command, Interrupt | Describe):
            self._begin(submitted)
        else:
            self._waiting.append(submitted)

    def _begin(self, submitted: _Submitted) -> None:
        try:
            record(self._session, submitted.command)
            self._dispatch(submitted)
        except Exception as error:  # whatever it is, the command is answered and the session goes on
            self._answer(submitted.ticket, stopped_by(error, self._on_event))

    def _dispatch(self, submitted: _Submitted) -> None:
        command = submitted.command
        run = begin(self._session, command)
        if run is not None:  # else one may be under way, which this command came in between
            self._run, self._running, self._awaited = run, submitted, None
        else:
            self._answer(submitted.ticket, self._at_once(command))

    def _at_once(self, command: Command) -> Stopped:
        if isinstance(command, Interrupt):
            return self._interrupt()
        if isinstance(command, Describe):
            return self._describe(command.node)
        stopped = apply(self._session, command)
        if isinstance(command, SetBackend | Force | Undo | SetMode | SelectCase):
            self._announcer.begin()
        if isinstance(command, SetFolds):  # what the screen looks like is no news: the last answer stands
            return self._stopped
        return stopped or Stopped(StopReason.REFUSED, f"unknown command {type(command).__name__}")

    def _describe(self, node: int) -> Stopped:
        unit = self.unit(node) if 0 <= node < len(self.graph) else None
        if unit is None or not unit.outputs:
            return Stopped(StopReason.REFUSED, "no backend executes this node")
        # A node on the source has no kernel of its own to show: what the target would run is of interest.
        placed = self._session.view.placement.of(node)
        targets = [one for one in self._backends if one != SOURCE]
        self._backends[placed if placed in targets else (targets or [SOURCE])[0]].describe(unit)
        return Stopped(self._stopped.reason, self._stopped.message)

    def _interrupt(self) -> Stopped:
        if self._run is None:
            return Stopped(StopReason.REFUSED, "nothing is running")
        for one in self._executor.jobs.abandon():
            self._backends[one].interrupt()
            self._backends[one].restart()
        self._executor.forget_ahead()
        self._end(stopped := Stopped(StopReason.INTERRUPTED, "interrupted"))
        while self._waiting:
            self._answer(self._waiting.popleft().ticket, Stopped(StopReason.INTERRUPTED, "dropped: interrupted"))
        return stopped

    def _drive(self) -> None:
        """Let the run go on as far as it can, then the commands that wait for its end."""
        until = time.monotonic() + TURN
        while time.monotonic() < until:
            if self._run is None:
                if self._waiting:
                    self._begin(self._waiting.popleft())
                    continue
                return
            if self._awaited is not None and not self._awaited.done:
                return
            self._dirty = True
            try:
                self._awaited = next(self._run)
            except StopIteration as end:
                self._end(end.value)
            except Exception as error:  # whatever it is, the command is answered and the session goes on
                self._end(stopped_by(error, self._on_event))
            if self._awaited is None:  # between two nodes: a long run need not end first
                self._announcer.further()
                while self._waiting and isinstance(self._waiting[0].command, BETWEEN_NODES):
                    self._begin(self._waiting.popleft())

    def _end(self, stopped: Stopped) -> None:
        running, self._run, self._awaited, self._running = self._running, None, None, None
        self._session.progress, self._session.node, self._session.activity = None, None, ""
        if running is not None:
            self._answer(running.ticket, remarked(stopped, self._executor.changed))

    def _answer(self, ticket: int, stopped: Stopped) -> None:
        self._stopped = stopped
        if self._file is not None:
            self._file.save()  # before anybody is told: what was answered is not lost
        self._tell(ticket, stopped.message)

    def _tell(self, ticket: int | None = None, message: str | None = None) -> None:
        self._generation += 1
        self._told, self._dirty = time.monotonic(), False
        view = self._session.view
        rows, view.changed = ranges_of(view.changed), set()
        if message is None:  # while something runs, the last answer is no news
            message = self._stopped.message if self._run is None else ""
        self.snapshot = self._snapshot(message)
        self._on_event(Changed(self.snapshot, rows, ticket))

    def _snapshot(self, message: str) -> Snapshot:
        return snapshot_of(
            self._session,
            generation=self._generation,
            running=self._run is not None,
            states=self._states.values(),
            compiling=self._compiling.values(),
            stopped=self._stopped,
            message=message,
        )
