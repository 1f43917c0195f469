"""The state of a debugging session, and the runs that change it. Owned by the engine's thread."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tapml_tui.backends.protocol import BackendStatus, Operand, State, Unit
from tapml_tui.compare.result import Status, Verdict
from tapml_tui.engine.answering import Answer, Answers
from tapml_tui.engine.breakpoints import Breakpoints, said
from tapml_tui.engine.commands import Breakpoint, Mode, Step
from tapml_tui.engine.conditions import BadCondition
from tapml_tui.engine.events import NodeResult, StopReason
from tapml_tui.engine.executor import Executor, Waiting
from tapml_tui.engine.exhibits import Origin, exhibit_of
from tapml_tui.engine.forcing import CannotForce
from tapml_tui.engine.investigating import Investigator
from tapml_tui.engine.judging import Judge
from tapml_tui.engine.naming import name_of
from tapml_tui.engine.placement import REFERENCE
from tapml_tui.engine.stepping import Backward, Forward, Refused, Stops, plan
from tapml_tui.engine.table import BREAKPOINT
from tapml_tui.engine.together import together
from tapml_tui.engine.units import DAMAGED, Binding, executed
from tapml_tui.engine.view import View
from tapml_tui.engine.views import Views
from tapml_tui.export import Exhibit
from trace_format import Trace, TraceError

_SAID_OF = {
    Mode.ISOLATED: "isolated now: each operator gets the recorded inputs",
    Mode.CHAINED: "chained now: each operator gets what its producers computed",
}

LOOK_AHEAD = 64
"""How many nodes are looked at to find something that can be sent ahead of its turn."""


@dataclass(frozen=True, slots=True)
class Stopped:
    """How a command ended."""

    reason: StopReason
    message: str = ""


class Session:
    """Views of every case and mode, placement, breakpoints, and the cursor.

    A run is a generator: it yields the job that it waits for, or None to let others have a turn.

    Attributes:
        view: The one that is worked on.
        cursor: Next node to execute in it.
        breakpoints: What is set.
        progress: (done, total) of the run under way.
        node: Node under way.
        views: Of every case and mode.
        cursors: By case.
        activity: What takes so long, or what is known of the node under way so far, or "".
        names: What the ledger calls backends, by id.
        origins: What exported tests are told of each target, by id.
        script: Where commands are recorded, if they are.
        answers: Judges what the model answers.
        notes: The user's, by node id.
        folds: Paths of the folds that are closed on the screen.
        investigator: Answers questions that take many runs.
        beside: Whether nodes are judged on the other targets too, where there are several.
        states: Of the backends, as they were heard of last.
    """

    def __init__(self, trace: Trace, executor: Executor, backend_ids: Sequence[str], initial: str, mode: Mode) -> None:
        """Every node on the backend `initial`, the cursor at the start of the first case."""
        self._trace = trace
        self._executor = executor
        self._judge = Judge(executor, self._set_activity)
        self.views = Views(trace, backend_ids, initial)
        self.cursors: dict[int, int] = {}
        self._switches: list[int] = []  # graphs, in the order in which their placements were changed
        self.breakpoints = Breakpoints()
        self.progress: tuple[int, int] | None = None
        self.node: int | None = None
        self.activity = ""
        self.names: Mapping[str, str] = {}
        self.states: Mapping[str, BackendStatus] = {}
        self.origins: Mapping[str, Origin] = {}
        self.script: Path | None = None
        self.view = self.views.get(0, mode)
        self.answers = Answers(trace, executor.references, executor.bindings)
        self.notes: dict[str, str] = {}
        self.folds: tuple[str, ...] = ()
        self.investigator = Investigator(trace, executor, self.views, self.answers)
        self.beside = True

    def _set_activity(self, said: str) -> None:
        self.activity = said

    @property
    def graph_number(self) -> int:
        """Index of the graph of the present case."""
        return self._trace.cases[self.view.case].graph

    @property
    def answer(self) -> Answer | None:
        """What the model answers in the present case."""
        return self.answers.now(self.views.get(self.view.case, Mode.CHAINED))

    @property
    def fetching(self) -> tuple[int, int] | None:
        """(done, total) pieces of a large value that is being fetched."""
        return self._executor.gatherer.progress

    @property
    def held_up_by(self) -> str:
        """The node that was sent ahead, and that what is under way has been waiting for; or ""."""
        slow = self._executor.jobs.slow
        return "" if self.node is None or slow == self.view.graph.node_id(self.node) else slow

    @property
    def cursor(self) -> int:
        """Next node to execute; the number of nodes at the end."""
        return self.cursors.get(self.view.case, 0)

    @cursor.setter
    def cursor(self, node: int) -> None:
        self.cursors[self.view.case] = node

    def select(self, case: int, mode: Mode) -> Stopped:
        """Work on another case or mode; each keeps its own results."""
        if not 0 <= case < len(self._trace.cases):
            return Stopped(StopReason.REFUSED, f"there is no case {case + 1}: the trace has {len(self._trace.cases)}")
        said_now = _SAID_OF[mode] if mode is not self.view.mode else f"case {case + 1}: {self._trace.cases[case].name}"
        self.view = self.views.get(case, mode)
        self._executor.forget_ahead()
        self._mark_breakpoints()
        return Stopped(StopReason.STEP, said_now)

    def toggle(self, breakpoint_: Breakpoint) -> Stopped:
        """Set or remove a breakpoint."""
        try:
            is_set = self.breakpoints.toggle(breakpoint_)
        except BadCondition as error:
            return Stopped(StopReason.REFUSED, f"no breakpoint: {error}")
        self._mark_breakpoints()
        return Stopped(StopReason.DONE, f"{said(breakpoint_)}: {'set' if is_set else 'removed'}")

    def put(self, start: int, stop: int, backend: str, kernel: str | None = None) -> Stopped:
        """Put nodes on a backend, with a kernel of their own if wanted; what no longer holds becomes stale."""
        try:
            changed = self.view.placement.put(start, stop, backend, kernel)
        except ValueError as error:
            return Stopped(StopReason.REFUSED, str(error))
        if not changed:
            return Stopped(StopReason.DONE, f"already on {backend}")
        self._switches.append(self.graph_number)
        self._placed(self._switches[-1], start, stop)
        return Stopped(StopReason.STEP, f"{name_of(self.view.graph, start, stop)}: on {backend} now")

    def undo(self) -> Stopped:
        """Take the last switch of side back."""
        if not self._switches:
            return Stopped(StopReason.REFUSED, "nothing to undo")
        graph = self._switches.pop()
        placement = self.views.placements[graph]
        changed = placement.undo()
        assert changed is not None
        self._placed(graph, *changed)
        now = " and ".join(placement.backend_ids[int(one)] for one in np.unique(placement.backend[slice(*changed)]))
        return Stopped(StopReason.STEP, f"{name_of(self._trace.graphs[graph], *changed)}: back on {now}")

    def force(self, node: int, file: str | None) -> Stopped:
        """Hand on the recorded value of a node, or that of a file."""
        if not 0 <= node < len(self.view.graph):
            return Stopped(StopReason.REFUSED, f"there is no node {node}")
        try:
            self._executor.check_forced(self.view.case, node, file)
        except CannotForce as error:
            return Stopped(StopReason.REFUSED, str(error))
        done = self.put(node, node + 1, REFERENCE, file)
        if done.reason is StopReason.DONE and file is not None:  # the file may say something else by now
            self.views.outdate(self.graph_number, node)
            self._placed(self.graph_number, node, node + 1)
        value = "its recorded value" if file is None else file
        return Stopped(done.reason, f"{self.view.graph.node_id(node)}: {value} is forced")

    def exhibit(self, node: int) -> Exhibit:
        """What there is to show of a node's kernel in the present case and mode.

        Raises:
            CannotExport: If there is nothing to test.
        """
        first = next(iter(self.origins.values()), Origin())
        return exhibit_of(self._executor, self.view, node, self.origins.get(self.view.placement.of(node), first))

    def place(self, graph: int, backend: np.ndarray, *, undo_with_last: bool = False) -> None:
        """Put every node of a graph where `backend` says.

        `undo_with_last`: one `undo` takes this back together with what was placed before it.
        """
        if self.views.placement(graph).assign(backend, remember=not undo_with_last):
            if not undo_with_last:
                self._switches.append(graph)
            self._placed(graph, 0, len(backend))

    def _placed(self, graph: int, start: int, stop: int) -> None:
        self.views.placed(graph, start, stop)
        self._executor.forget_ahead()

    def step(self, step: Step) -> Waiting[Stopped]:
        """Move the cursor with a verb."""
        planned = plan(step, self.view.graph, self.cursor, self._would_stop)
        match planned:
            case Refused():
                edge = StopReason.END if planned.at_end else StopReason.START
                reason = edge if planned.at_end or planned.at_start else StopReason.REFUSED
                return Stopped(reason, planned.message)
            case Backward():
                self.cursor = planned.cursor
                return Stopped(StopReason.START if self.cursor == 0 else StopReason.STEP)
        return (yield from self._forward(planned))

    def _forward(self, planned: Forward) -> Waiting[Stopped]:
        at_end, behind = self.cursor == len(self.view.graph), 0
        goes_on = planned.stops is Stops.FAULTS
        if goes_on:
            behind = yield from self._catch_up()
        first, view = self.cursor, self.view
        self.progress = (0, planned.stop - first)
        while self.cursor < planned.stop:
            node = self.cursor
            if not view.fresh(node):
                yield from self._visit(node, range(node, self._horizon(node, planned)))
            self.cursor = node + 1
            self.progress = (self.cursor - first, planned.stop - first)
            stopped = self._stopped_between(node, planned.stops)
            if stopped is not None:
                return stopped
            yield None
        if self.cursor == len(view.graph):
            if goes_on:
                behind += yield from self._catch_up()  # with what was switched meanwhile
            message = f"stale nodes computed again: {behind}" if behind else "already at the end" if at_end else ""
            return Stopped(StopReason.END, message)
        return Stopped(StopReason.STEP)

    def _catch_up(self) -> Waiting[int]:
        """Execute what is stale behind the cursor; how many nodes that were."""
        return (yield from self._visit_all([node for node in range(self.cursor) if not self.view.fresh(node)]))

    def visit_all(self, nodes: Sequence[int] | None, *, retry: bool = False) -> Waiting[Stopped]:
        """Execute nodes (all by default) without moving the cursor and without stops."""
        there = range(len(self.view.graph))
        if strange := [node for node in nodes or () if node not in there]:
            return Stopped(StopReason.REFUSED, f"there is no node {strange[0]}")
        done = yield from self._visit_all(there if nodes is None else nodes, retry=retry)
        return Stopped(StopReason.STEP, f"{done} nodes executed")

    def visit_cases(self, cases: Sequence[int]) -> Waiting[Stopped]:
        """Execute all nodes of several cases side by side."""
        if any(not 0 <= case < len(self._trace.cases) for case in cases):
            return Stopped(StopReason.REFUSED, f"there are {len(self._trace.cases)} cases")
        views = [self.views.get(case, self.view.mode) for case in dict.fromkeys(cases)]
        yield from together([self._visit_all(range(len(view.graph)), view=view) for view in views])
        return Stopped(StopReason.STEP, f"{len(views)} cases executed")

    def _visit_all(self, nodes: Sequence[int], *, retry: bool = False, view: View | None = None) -> Waiting[int]:
        view = view or self.view
        for done, node in enumerate(nodes):
            self.progress = (done, len(nodes))
            if retry or not view.fresh(node):
                yield from self._visit(node, nodes[done : done + LOOK_AHEAD], retry=retry, view=view)
            yield None
        return len(nodes)

    def fetch_whole(self, node: int) -> Waiting[Stopped]:
        """Fetch the outputs of a node that were above the fetch limit, and judge them."""
        if not 0 <= node < len(self.view.graph):
            return Stopped(StopReason.REFUSED, f"there is no node {node}")
        yield from self._visit(node, (), whole=True)
        return Stopped(StopReason.STEP)

    def retry(self, start: int | None, stop: int | None) -> Waiting[Stopped]:
        """Start again what is lost, take up what the user's files say, execute again what failed in [start, stop)."""
        lost = [one for one, status in self.states.items() if status.state in (State.LOST, State.FAILED)]
        files = self._executor.changed
        changed = self._executor.restart()
        for backend in changed:
            self.views.outdate_all(backend)
        nodes = self.view.table.bad(start or 0, stop)
        if nodes:
            stopped = yield from self.visit_all(nodes, retry=True)
            return replace(stopped, message=f"{files} taken up; {stopped.message}") if changed else stopped
        if changed:
            return Stopped(StopReason.DONE, f"{files} taken up: what was computed with it is computed again")
        return Stopped(StopReason.DONE, f"starting {', '.join(lost)} again" if lost else "nothing to retry")

    def _visit(
        self,
        node: int,
        ahead: Sequence[int],
        *,
        retry: bool = False,
        whole: bool = False,
        view: View | None = None,
    ) -> Waiting[None]:
        """Make a node fresh, with everything that it needs; keep the backends busy with what comes next."""
        view = view or self.view
        again = retry or whole
        self._trace.check_unchanged()  # the workers would read other bytes
        for where, needed in [*view.needed(node), *([(view, node)] if again and view.fresh(node) else [])]:
            this = where is view and needed == node
            self.node = needed if where is view else node
            for coming in ahead if not again else ():
                try:
                    if not self._executor.send_ahead(view, coming):
                        break
                except TraceError:
                    break  # it is said when the node is visited
            try:
                yield from self._judge.visit(where, needed, retry=retry and this, whole=whole and this)
            except TraceError as error:
                self._judge.give_up(where, needed, f"{DAMAGED}: {error}")
            if self.beside:
                yield from self._look_beside(where, needed)
        if again:
            self.views.recomputed(view, node + 1)  # what it hands on may be something else now

    def _look_beside(self, view: View, node: int) -> Waiting[None]:
        """Judge a node on the targets that it is not placed on, but for those that are not there."""
        for target in view.targets:
            status = self.states.get(target)
            gone = status is not None and status.state in (State.LOST, State.FAILED, State.MISSING)
            if target == view.placement.of(node) or gone:
                continue
            result = yield from self._judge.alone(view, node, target)
            if result is not None:
                view.note_beside(result)

    def _horizon(self, node: int, planned: Forward) -> int:
        """Up to where nodes may be sent ahead: not past a place where the run will stop."""
        stop = min(planned.stop, node + LOOK_AHEAD)
        if planned.stops is not Stops.NOTHING:
            marked = np.flatnonzero(self.view.table.flags[node + 1 : stop] & BREAKPOINT)
            stop = node + 1 + int(marked[0]) if marked.size else stop
        return stop

    def _stopped_between(self, node: int, stops: Stops) -> Stopped | None:
        """Why a run ends between a node and the next; None if it goes on."""
        if stops is Stops.NOTHING:
            return None
        after = self._stop_after(self.view.results[node], stops)
        return after or self._stop_before(node + 1)

    def _stop_after(self, result: NodeResult, stops: Stops) -> Stopped | None:
        name = self.view.graph.node_id(result.node)
        diagnosis = result.finding.diagnosis if result.finding is not None else None
        reason = diagnosis.sentence if diagnosis is not None else result.reason
        if self.breakpoints.stops_after(result, self.view.graph):
            return Stopped(StopReason.BREAKPOINT, f"{name}: {reason}")
        if stops is not Stops.FAULTS:
            return None
        if result.status is Status.ERROR:
            return Stopped(StopReason.ERROR, f"{name}: {reason}")
        if result.verdict is Verdict.LOCAL or (self.view.mode is Mode.ISOLATED and result.status is Status.FAILED):
            return Stopped(StopReason.MISMATCH, f"{name}: {reason}")
        return None

    def _stop_before(self, node: int) -> Stopped | None:
        if node < len(self.view.graph) and self.view.table.flags[node] & BREAKPOINT:
            return Stopped(StopReason.BREAKPOINT, f"breakpoint: {self.view.graph.node_id(node)}")
        return None

    def _would_stop(self, cursor: int) -> bool:
        before = self.view.results.get(cursor - 1)
        after = self._stop_after(before, Stops.FAULTS) if before is not None else None
        return (after or self._stop_before(cursor)) is not None

    def ahead(self, start: int, stop: int) -> Iterator[tuple[str, Unit, list[Operand]]]:
        """What the nodes [start, stop) will ask of which backend, in order, with the weights that it takes."""
        for node in range(start, min(stop, len(self.view.graph))):
            binding = self._executor.bindings.get(self.view.case, node)
            if isinstance(binding, Binding) and executed(binding, self.view.mode):
                backend = self.view.placement.of(node)
                yield backend, binding.unit, self._executor.weights(self.view, binding, backend)

    def _mark_breakpoints(self) -> None:
        flags, marks = self.view.table.flags, self.breakpoints.marks(self.view.graph)
        changed = np.flatnonzero(marks != (flags & BREAKPOINT > 0))
        flags[changed] ^= BREAKPOINT
        self.view.changed.update(int(node) for node in changed)
