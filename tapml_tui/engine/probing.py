"""Experiments: what would the model answer under another placement? Beside the session, from all that it knows.

A probe is a chained run in views of its own. It judges no node: it computes what the outputs need, takes from the run
store whatever was computed on the same inputs before, and executes the rest.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from tapml_tui.compare import Status
from tapml_tui.engine.answering import Answer, Answers
from tapml_tui.engine.commands import Mode
from tapml_tui.engine.comparing import Visit
from tapml_tui.engine.events import NodeResult
from tapml_tui.engine.executor import SOURCE, Executor, Waiting
from tapml_tui.engine.judging import Judge
from tapml_tui.engine.operator_facts import choice_of
from tapml_tui.engine.units import DAMAGED
from tapml_tui.engine.values import Outcome
from tapml_tui.engine.view import View, output_nodes
from tapml_tui.engine.views import Views
from trace_format import Trace, TraceError

LOOK_AHEAD = 64
"""How many nodes are looked at to find something that can be sent ahead of its turn."""


class _Unjudged(Judge):
    """Executes nodes and hands their results on as a judge does, but compares only what decides something."""

    def __init__(self, executor: Executor, compared: Collection[int]) -> None:
        super().__init__(executor)
        self._compared = compared

    def _judge_chained(self, visit: Visit, outcome: Outcome) -> Waiting[NodeResult]:
        # Where several choices are right the source's is handed on, which only a comparison can tell.
        if visit.node in self._compared or choice_of(visit.binding.unit.calls[0]) is not None:
            return self._comparer.with_reference(visit, outcome, visit.inputs, Mode.CHAINED)
        return NodeResult(visit.node, visit.backend, Status.PASSED)
        yield None  # a generator like the one that it stands for


class Prober:
    """Runs a case under placements that are not the session's."""

    def __init__(self, trace: Trace, executor: Executor, backend_ids: Sequence[str], answers: Answers) -> None:
        """See `Session` for the parts."""
        self._trace = trace
        self._executor = executor
        self._answers = answers
        self._views = Views(trace, backend_ids, SOURCE)

    def answer(self, case: int, backend: np.ndarray, kernels: Mapping[int, str]) -> Waiting[Answer]:
        """What the model answers.

        Args:
            case: Index of the case.
            backend: Where each node runs, as in `Placement`.
            kernels: Kernel ids of nodes that have one of their own.
        """
        view = self._views.get(case, Mode.CHAINED)
        self._place(view, backend, kernels)
        outputs = output_nodes(view.graph)
        judge = _Unjudged(self._executor, outputs)
        waiting = [found for node in outputs for found in view.needed(node)]
        self._executor.forget_ahead()
        try:
            for place, (where, node) in enumerate(waiting):
                if where.fresh(node):
                    continue  # an output may need what another needed
                self._send_ahead(waiting[place : place + LOOK_AHEAD], where)
                try:
                    yield from judge.visit(where, node)
                except TraceError as error:
                    judge.give_up(where, node, f"{DAMAGED}: {error}")
                yield None
        finally:
            self._executor.forget_ahead()  # it would be taken for the session's
        return self._answers.judge(view)

    def _place(self, view: View, backend: np.ndarray, kernels: Mapping[int, str]) -> None:
        placement = view.placement
        moved = placement.backend != backend
        for node in placement.kernels.keys() | kernels.keys():
            moved[node] |= placement.kernels.get(node) != kernels.get(node)
        changed = np.flatnonzero(moved)
        if changed.size:
            placement.backend[:] = backend
            placement.kernels = dict(kernels)
            self._views.placed(self._trace.cases[view.case].graph, int(changed[0]), int(changed[-1]) + 1)

    def _send_ahead(self, coming: Sequence[tuple[View, int]], view: View) -> None:
        for where, node in coming:
            try:
                if where is not view or not self._executor.send_ahead(where, node):
                    return
            except TraceError:
                return  # it is said when the node is visited
