"""Runs every case of a trace through an engine, and says what became of each node as it happens."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from itertools import chain
from typing import TypeAlias

from tapml_tui.backends.protocol import BackendStatus, LogLine, Stage, State
from tapml_tui.compare.result import Status
from tapml_tui.engine import Engine
from tapml_tui.engine.commands import (
    Command,
    FindBlame,
    Interrupt,
    Mode,
    RunCases,
    RunNodes,
    SelectCase,
    SetBackend,
    SetBeside,
)
from tapml_tui.engine.events import Changed, Event, NodeResult, Snapshot, StopReason
from tapml_tui.engine.judging import TWO_RUNS
from tapml_tui.engine.units import Binding, bind, executed
from tapml_tui.headless.answers import blame_document, output_document
from tapml_tui.headless.complaints import keep_text
from tapml_tui.headless.entries import Entry, Subject, entry_of
from tapml_tui.headless.interrupts import Interrupts
from tapml_tui.headless.report import Ended
from trace_format import Trace

INTERRUPT_PATIENCE = 10.0
"""Seconds that an interrupted run may take to end before its results are left behind."""

_GONE = (State.FAILED, State.MISSING)


class Stop(Exception):
    """The check ends before its time.

    Attributes:
        ended: How.
        message: Why.
    """

    def __init__(self, ended: Ended, message: str) -> None:
        super().__init__(message)
        self.ended, self.message = ended, message


@dataclass(frozen=True, slots=True)
class _Died:
    """A thread of this process is no more."""

    error: BaseException


@dataclass(frozen=True, slots=True)
class _Interrupted:
    """The user has had enough."""


_Message: TypeAlias = Event | _Died | _Interrupted


class Driver:
    """Checks the cases of a trace one after the other, on one target after the other.

    Attributes:
        states: Of each target, by id, as it was heard of last.
    """

    def __init__(
        self,
        trace: Trace,
        make_engine: Callable[[Callable[[Event], None]], Engine],
        *,
        pattern: str | None,
        on_entry: Callable[[Entry], None],
        on_progress: Callable[[Snapshot], None],
        interrupts: Interrupts,
        jobs: int = 1,
    ) -> None:
        """Start the engine.

        Args:
            trace: What is checked.
            make_engine: Makes the engine, given where its events go.
            pattern: A glob over node ids; None: every node.
            on_entry: Gets each entry at once, in the order in which nodes are judged.
            on_progress: Gets the engine's state, often.
            interrupts: End the run under way.
            jobs: How many devices the target has.
        """
        self.states: dict[str, BackendStatus] = {}
        self._trace = trace
        self._pattern = pattern
        self._on_entry = on_entry
        self._on_progress = on_progress
        self._events: queue.SimpleQueue[_Message] = queue.SimpleQueue()
        self._interrupts = interrupts
        interrupts.listen(lambda: self._events.put(_Interrupted()))  # a SimpleQueue may be put to by a signal handler
        self._engine = make_engine(self._events.put)
        self._mode = self._engine.snapshot.mode
        self._jobs = jobs
        self._side_by_side = range(0)  # cases
        self._target = ""  # the present one
        self._was_ready: set[str] = set()
        self._fault = ""  # where the traceback of a fault of ours is
        self._chosen: frozenset[int] = frozenset()  # of the present case
        self._entries: dict[int, tuple[NodeResult, Entry]] = {}  # of the present case and target
        self._excepthook, threading.excepthook = threading.excepthook, self._thread_died
        self._engine.start()

    def close(self) -> None:
        """Stop the engine and all of its processes."""
        self._engine.close()
        threading.excepthook = self._excepthook

    def _thread_died(self, death: threading.ExceptHookArgs) -> None:
        """A fault of ours in the engine's thread ends the check; nobody would answer it any more."""
        if death.exc_value is not None:
            self._events.put(_Died(death.exc_value))

    def run_case(self, case: int, target: str) -> None:
        """Execute and judge the nodes of a case on a target.

        Raises:
            Stop: If it ended early; `entries` still gives what there is.
        """
        self._turn_to(target)
        self._chosen = frozenset()
        self._ask(SelectCase(case))
        if case not in self._side_by_side:
            self._side_by_side = self._independent(case)
            if len(self._side_by_side) > 1:
                self._ask(RunCases(tuple(self._side_by_side)))
        chosen = self._choose(case)
        if self._pattern is not None or len(self._engine.backend_ids) > 2:  # else all are there from the beginning
            self._ask(SetBeside(on=False))  # each has its turn
            for start, stop in _ranges(chosen):
                self._ask(SetBackend(start, stop, target))
        self._chosen = frozenset(chosen)
        if chosen:
            self._ask(RunNodes(tuple(chosen)))

    def entries(self, case: int, target: str) -> list[Entry]:
        """An entry per node of a case, as far as it came; `on_entry` has seen all of them then."""
        if self._engine.snapshot.case != case or target != self._target:
            self._turn_to(target)
        graph = self._trace.graphs[self._trace.cases[case].graph]
        chosen = frozenset(self._choose(case))
        for node in range(len(graph)):
            known = self._result(node) if self._engine.snapshot.case == case else None
            if node not in chosen:
                known = NodeResult(node, target, Status.NOT_RUN, reason="not asked for: --nodes leaves it out")
            elif known is None:
                known = NodeResult(node, target, Status.NOT_RUN, reason="not reached")
            elif self._gone and _never_arrived(known):
                known = replace(known, status=Status.NOT_RUN)
            self._write_down(case, known)
        return [entry for _, (_, entry) in sorted(self._entries.items())]

    def _independent(self, case: int) -> range:
        """This case and those after it that can be run at the same time, on a device each."""
        last = case + 1
        if self._mode is Mode.CHAINED and self._pattern is None and len(self._engine.backend_ids) == 2:
            while last < min(case + self._jobs, len(self._trace.cases)) and not self._trace.cases[last].handed_on:
                last += 1
        return range(case, last)

    def _turn_to(self, target: str) -> None:
        self._target, self._entries = target, {}

    def _result(self, node: int) -> NodeResult | None:
        """What became of a node on the present target."""
        result = self._engine.result(node)
        return result if result is not None and result.backend == self._target else None

    @property
    def _gone(self) -> bool:
        """Whether the present target is lost for good."""
        status = self.states.get(self._target)
        return status is not None and status.state in _GONE

    def end_to_end(self, case: int, *, alone: bool = False) -> Iterator[dict[str, object]]:
        """How each output of the model is judged in the case that was run last.

        `alone`: nothing else was judged, so a wrong one is confirmed here, by a second run that trusts nothing sent.

        Raises:
            Stop: If the user or the device ends that.
        """
        graph = self._trace.graphs[self._trace.cases[case].graph]
        outputs = self._engine.answer().outputs
        if alone and any(verdict.passed is False for verdict in outputs):
            self._ask(RunNodes(tuple(sorted(self._chosen)), again=True))
            again = self._engine.answer().outputs
            outputs = tuple(
                one if one == before else replace(one, passed=None, reason=TWO_RUNS)
                for before, one in zip(outputs, again, strict=True)
            )
        for verdict in outputs:
            yield {"graph": graph.name, "case": self._trace.cases[case].name, **output_document(verdict)}

    def blame(self, case: int) -> dict[str, object]:
        """Who breaks the answer of the case that was run last.

        Raises:
            Stop: If the user or the device ends it.
        """
        name = self._trace.cases[case].name
        try:
            self._ask(FindBlame())
        except Stop as stop:
            if stop.ended is not Ended.STOPPED:
                raise
            return {"case": name, "sentence": stop.message, "causes": []}
        report = self._engine.snapshot.blame
        return blame_document(name, report) if report is not None else {"case": name, "sentence": "", "causes": []}

    def _choose(self, case: int) -> list[int]:
        graph = self._trace.graphs[self._trace.cases[case].graph]
        nodes = range(len(graph))
        if self._pattern is None:
            return list(nodes)
        return [node for node in nodes if fnmatchcase(graph.node_id(node), self._pattern)]

    def _ask(self, command: Command) -> None:
        """Have the engine carry out a command; results are written down as they come.

        Raises:
            Stop: If the user or the device ends it, or the engine refuses.
        """
        if self._interrupts.pressed:
            raise _stopped_by_user()
        ticket = self._engine.submit(command)
        try:
            while not self._take(self._events.get(), ticket):
                pass
        except Stop:
            self._interrupt()
            raise
        if self._engine.snapshot.stopped in (StopReason.ERROR, StopReason.REFUSED):
            raise Stop(Ended.STOPPED, self._engine.snapshot.message + self._fault)

    def _take(self, event: _Message, ticket: int) -> bool:
        """Whether this event answers the ticket."""
        if isinstance(event, _Died):
            raise event.error
        if isinstance(event, _Interrupted):
            raise _stopped_by_user()
        if isinstance(event, LogLine) and event.backend == "engine" and event.level == "error":
            self._fault = f"; {keep_text(event.text)}"  # nobody shows a log here
        if not isinstance(event, Changed):
            return False
        snapshot = event.snapshot
        self._on_progress(snapshot)
        for node in chain.from_iterable(range(start, stop) for start, stop in event.rows):
            result = self._result(node) if node in self._chosen else None
            if result is not None and not _never_arrived(result):
                self._was_ready.add(self._target)  # the state itself may have passed between two events
                self._write_down(snapshot.case, result)
        self.states |= {status.backend: status for status in snapshot.backends}
        self._was_ready |= {status.backend for status in snapshot.backends if status.state is State.READY}
        if self._gone:
            ended = Ended.LOST if self._target in self._was_ready else Ended.NO_DEVICE
            raise Stop(ended, self.states[self._target].detail)
        return event.answers == ticket

    def _interrupt(self) -> None:
        """End the command under way, and wait a little until it has ended."""
        ticket = self._engine.submit(Interrupt())
        with suppress(queue.Empty):
            while True:
                event = self._events.get(timeout=INTERRUPT_PATIENCE)
                if isinstance(event, Changed) and event.answers == ticket:
                    return

    def _write_down(self, case: int, result: NodeResult) -> None:
        known = self._entries.get(result.node)
        if known is not None and known[0] is result:
            return
        entry = entry_of(self._subject(case, result.node), result, self._mode)
        self._entries[result.node] = (result, entry)
        if known is None:
            self._on_entry(entry)

    def _subject(self, case: int, node: int) -> Subject:
        graph = self._trace.graphs[self._trace.cases[case].graph]
        binding = bind(self._trace, case, node)
        unit = binding.unit if isinstance(binding, Binding) else None
        return Subject(
            id=graph.node_id(node),
            name=graph.node_name(node),
            graph=graph.name,
            case=self._trace.cases[case].name,
            op=graph.op(node),
            path=graph.path(node),
            signature=unit.signature if unit else None,
            inputs=unit.inputs if unit else (),
            outputs=unit.outputs if unit else (),
            compute=isinstance(binding, Binding) and executed(binding, self._mode),
        )


def _stopped_by_user() -> Stop:
    return Stop(Ended.INTERRUPTED, "stopped by the user")


def _never_arrived(result: NodeResult) -> bool:
    """It did not get to the device. If that is gone, the node was not run; it did not break."""
    return result.status is Status.ERROR and result.stage == Stage.CONNECT


def _ranges(nodes: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Half-open ranges that cover ascending numbers."""
    start = stop = -1
    for node in nodes:
        if node != stop:
            if stop > start:
                yield start, stop
            start = node
        stop = node + 1
    if stop > start:
        yield start, stop
