"""Blame by counterfactual: the search of `blame`, its probes carried out by chained runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from tapml_tui.compare import Verdict
from tapml_tui.engine.answering import Answer
from tapml_tui.engine.blame import Blame, most_runs, search
from tapml_tui.engine.executor import SOURCE, Executor, Waiting
from tapml_tui.engine.placement import REFERENCE
from tapml_tui.engine.probing import Prober
from tapml_tui.engine.table import VERDICTS
from tapml_tui.engine.units import Binding, executed
from tapml_tui.engine.view import View


@dataclass(frozen=True, slots=True)
class BlameReport:
    """Who breaks the model's answer in one case, and the proof.

    Attributes:
        case: Index of the case.
        blame: What was found, as node indices.
        causes: The same as node ids.
        before: The answer with everything where it was placed.
        alone: The answers with nothing but each cause on the target: wrong.
        without: The answer with everything but all causes there: right.
        sentence: All of it, for a person.
    """

    case: int
    blame: Blame
    causes: tuple[tuple[str, ...], ...]
    before: Answer
    alone: tuple[Answer, ...] = ()
    without: Answer | None = None
    sentence: str = ""


class NothingJudged(Exception):
    """No output of the model could be judged, so nothing can be blamed for it."""


def movable(view: View, executor: Executor) -> list[int]:
    """The nodes that a target executes under the present placement, in graph order."""
    nodes = []
    for node in range(len(view.graph)):
        binding = executor.bindings.get(view.case, node)
        on_target = view.placement.of(node) not in (SOURCE, REFERENCE)
        if on_target and isinstance(binding, Binding) and executed(binding, view.mode):
            nodes.append(node)
    return nodes


def blame_placement(
    view: View, executor: Executor, prober: Prober, on_progress: Callable[[int, int], None]
) -> Waiting[BlameReport]:
    """Find a minimal set of the nodes on the target that breaks the answer of a case.

    Args:
        view: The case, and where its nodes are.
        executor: Of the session.
        prober: Runs the experiments.
        on_progress: Told (runs done, runs at most for what is known) before each experiment.

    Raises:
        NothingJudged: If no output could be judged.
    """
    nodes = movable(view, executor)
    local = VERDICTS.index(Verdict.LOCAL)
    suspects = [node for node in nodes if view.fresh(node) and view.table.verdict[node] == local]
    source = view.placement.backend_ids.index(SOURCE)
    answers: dict[frozenset[int], Answer] = {}
    steps, right = search(nodes, suspects), None
    while True:
        try:
            placed = steps.send(right) if right is not None else next(steps)
        except StopIteration as end:
            return _report(view, end.value, answers, nodes)
        on_progress(len(answers), most_runs(max(1, len(suspects)), len(nodes)))
        backend = view.placement.backend.copy()
        moved = np.array([node for node in nodes if node not in placed], np.intp)
        backend[moved] = source
        kernels = {node: kernel for node, kernel in view.placement.kernels.items() if backend[node] != source}
        answers[placed] = yield from prober.answer(view.case, backend, kernels)
        if answers[placed].passed is None:
            raise NothingJudged(answers[placed].reason or "the model has no output")
        right = answers[placed].passed


def _report(view: View, found: Blame, answers: dict[frozenset[int], Answer], nodes: Sequence[int]) -> BlameReport:
    everything = frozenset(nodes)
    return BlameReport(
        case=view.case,
        blame=found,
        causes=tuple(tuple(view.graph.node_id(node) for node in cause) for cause in found.causes),
        before=answers[everything],
        alone=tuple(answers[frozenset(cause)] for cause in found.causes),
        without=answers[everything - set(found.guilty)] if found.causes else None,
        sentence=_sentence(view, found, answers[everything]),
    )


def _sentence(view: View, found: Blame, before: Answer) -> str:
    if found.without_target:
        return f"the answer is wrong with everything on the source too ({before.reason}): the target is not to blame"
    if not found.causes:
        return "nothing to blame: the answer is right with everything where it is"
    causes = [" with ".join(view.graph.node_id(node) for node in cause) for cause in found.causes]
    one = len(found.guilty) == 1
    alone = "each of these alone" if len(causes) > 1 else "this alone" if one else "these alone"
    return (
        f"{'; and '.join(causes)}: {alone} on the target, the answer is wrong; "
        f"everything but {'this' if one else 'these'}, it is right "
        f"({found.runs} runs; one by one {found.nodes})"
    )
