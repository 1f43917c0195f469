"""Breakpoints: which nodes a run stops before, and which results it stops after."""

from __future__ import annotations

import re
from fnmatch import translate
from typing import TYPE_CHECKING

import numpy as np

from tapml_tui.compare.result import Status
from tapml_tui.engine.commands import Breakpoint, BreakpointKind
from tapml_tui.engine.events import NodeResult

if TYPE_CHECKING:
    from trace_format import Graph


_SAID = {
    BreakpointKind.NODE: "breakpoint at {}",
    BreakpointKind.OPERATOR: "breakpoint on the operator {}",
    BreakpointKind.PATH: "breakpoint on the path {}",
    BreakpointKind.MISMATCH: "breakpoint on the first mismatch",
    BreakpointKind.NAN: "breakpoint on the first NaN",
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

    def toggle(self, breakpoint_: Breakpoint) -> bool:
        """Set it, or remove the equal one; whether it is set now."""
        if breakpoint_ in self.all:
            self.all = tuple(other for other in self.all if other != breakpoint_)
            return False
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

    def stops_after(self, result: NodeResult) -> bool:
        """Whether a result is what a breakpoint waits for."""
        kinds = {one.kind for one in self.all}
        if BreakpointKind.MISMATCH in kinds and result.status is Status.FAILED:
            return True
        return BreakpointKind.NAN in kinds and any(
            output.comparison is not None and output.comparison.nan[1] > 0 for output in result.outputs
        )


def _matching(pattern: str, names: list[str]) -> np.ndarray:
    matches = re.compile(translate(pattern)).match
    verdicts: dict[str, bool] = {}
    for name in names:
        if name not in verdicts:
            verdicts[name] = matches(name) is not None
    return np.fromiter((verdicts[name] for name in names), bool, len(names))
