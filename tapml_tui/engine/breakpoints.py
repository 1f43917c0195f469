"""Breakpoints: which nodes a run stops before, and which results it stops after."""

from __future__ import annotations

import re
from fnmatch import translate
from typing import TYPE_CHECKING

import numpy as np

from tapml_tui.compare.result import Status
from tapml_tui.engine.commands import Breakpoint, BreakpointKind
from tapml_tui.engine.conditions import Condition, Fact, parse_condition
from tapml_tui.engine.events import NodeResult

if TYPE_CHECKING:
    from trace_format import Graph


_SAID = {
    BreakpointKind.NODE: "breakpoint at {}",
    BreakpointKind.OPERATOR: "breakpoint on the operator {}",
    BreakpointKind.PATH: "breakpoint on the path {}",
    BreakpointKind.MISMATCH: "breakpoint on the first mismatch",
    BreakpointKind.NAN: "breakpoint on the first NaN",
    BreakpointKind.CONDITION: "breakpoint where {}",
}


def said(breakpoint_: Breakpoint) -> str:
    """A breakpoint in words."""
    return _SAID[breakpoint_.kind].format(breakpoint_.pattern)


class Breakpoints:
    """What is set, in order, and the nodes that it marks.

    Attributes:
        all: In the order in which they were set.
    """

    def __init__(self) -> None:
        """None set."""
        self.all: tuple[Breakpoint, ...] = ()
        self._conditions: dict[str, Condition] = {}

    def toggle(self, breakpoint_: Breakpoint) -> bool:
        """Set it, or remove the equal one; whether it is set now.

        Raises:
            BadCondition: If it waits for what cannot be asked.
        """
        if breakpoint_ in self.all:
            self.all = tuple(other for other in self.all if other != breakpoint_)
            return False
        if breakpoint_.kind is BreakpointKind.CONDITION:
            self._conditions[breakpoint_.pattern] = parse_condition(breakpoint_.pattern)
        self.all = (*self.all, breakpoint_)
        return True

    def marks(self, graph: Graph) -> np.ndarray:
        """Bool per node: whether a run stops before it."""
        marked = np.zeros(len(graph), bool)
        for one in self.all:
            match one.kind:
                case BreakpointKind.NODE:
                    node = graph.find_id(one.pattern)
                    if node is not None:
                        marked[node] = True
                case BreakpointKind.OPERATOR:
                    marked |= _matching(one.pattern, [graph.op(i) for i in range(len(graph))])
                case BreakpointKind.PATH:
                    paths = [graph.path(i) for i in range(len(graph))]
                    inside = _matching(one.pattern, paths) | _matching(f"{one.pattern}.*", paths)
                    # Entering a path is what is waited for, not every node in it.
                    marked |= inside & ~np.concatenate([[False], inside[:-1]])
        return marked

    def stops_after(self, result: NodeResult, graph: Graph) -> bool:
        """Whether a result is what a breakpoint waits for."""
        waiting = [one.pattern for one in self.all if one.kind is BreakpointKind.CONDITION]
        if waiting:
            facts = facts_of(result, graph)
            if any(self._conditions[pattern](facts) for pattern in waiting):
                return True
        kinds = {one.kind for one in self.all}
        if BreakpointKind.MISMATCH in kinds and result.status is Status.FAILED:
            return True
        return BreakpointKind.NAN in kinds and any(
            output.comparison is not None and output.comparison.nan[1] > 0 for output in result.outputs
        )


def facts_of(result: NodeResult, graph: Graph) -> dict[str, Fact]:
    """What conditions can ask of a result: `conditions.NAMES`."""
    compared = [output.comparison for output in result.outputs if output.comparison is not None]
    spec = result.outputs[0].spec if result.outputs else None
    return {
        "floor": result.factor,
        "max_abs": max((one.max_abs for one in compared), default=0.0),
        "max_rel": max((one.max_rel for one in compared), default=0.0),
        "outside": sum(one.outside for one in compared),
        "nan": sum(one.nan[1] for one in compared),
        "inf": sum(one.inf[1] for one in compared),
        "elements": sum(one.compared for one in compared),
        "dtype": spec.dtype if spec is not None else "",
        "shape": "x".join(map(str, spec.shape)) if spec is not None else "",
        "op": graph.op(result.node),
        "path": graph.path(result.node),
        "node": graph.node_id(result.node),
        "backend": result.backend,
        "status": str(result.status),
        "verdict": str(result.verdict),
        "ms": result.ms,
    }


def _matching(pattern: str, names: list[str]) -> np.ndarray:
    matches = re.compile(translate(pattern)).match
    verdicts: dict[str, bool] = {}
    for name in names:
        if name not in verdicts:
            verdicts[name] = matches(name) is not None
    return np.fromiter((verdicts[name] for name in names), bool, len(names))
