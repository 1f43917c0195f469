"""Every case in both modes: placements that cases share, and state that one case hands to the next."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from tapml_tui.engine.commands import Mode
from tapml_tui.engine.placement import Placement
from tapml_tui.engine.view import Origin, View
from trace_format import Trace


class Views:
    """The views of a trace, made when they are first asked for.

    Attributes:
        placements: By graph: cases of one graph share it.
        initial: The backend that every node is on at first.
        backend_ids: Where nodes can be placed.
    """

    def __init__(self, trace: Trace, backend_ids: Sequence[str], initial: str) -> None:
        """No view yet; every node will be on the backend `initial`."""
        self.placements: dict[int, Placement] = {}
        self._trace = trace
        self.backend_ids = tuple(backend_ids)
        self.initial = initial
        self._views: dict[tuple[int, Mode], View] = {}

    def get(self, case: int, mode: Mode) -> View:
        """What is known of a case in a mode."""
        number = self._trace.cases[case].graph
        if (case, mode) not in self._views:
            handed = self._handed(case, mode) if mode is Mode.CHAINED else {}
            self._views[case, mode] = View(self._trace.graphs[number], case, mode, self.placement(number), handed)
        return self._views[case, mode]

    def placement(self, graph: int) -> Placement:
        """Where the nodes of a graph are."""
        if graph not in self.placements:
            nodes = len(self._trace.graphs[graph])
            self.placements[graph] = Placement(nodes, self.backend_ids, self.initial)
        return self.placements[graph]

    def _handed(self, case: int, mode: Mode) -> dict[int, Callable[[], Origin]]:
        """Which inputs of a case are what an earlier case computes; looked up late, for there may be many cases."""
        found: dict[int, Callable[[], Origin]] = {}
        for index, source in self._trace.cases[case].handed_on:
            outputs = self._trace.graphs[self._trace.cases[source.case].graph].outputs
            made = outputs[source.output].value if source.output < len(outputs) else None
            if made is not None:
                found[index] = lambda earlier=source.case, ref=made: (self.get(earlier, mode), ref)  # type: ignore[misc]
        return found

    def placed(self, graph: int, start: int, stop: int) -> None:
        """The nodes [start, stop) of a graph were moved: find out what still holds, in all cases."""
        for view in self.in_order():
            if self._trace.cases[view.case].graph == graph:
                view.changed.update(range(start, stop))
                view.refresh(0 if view.handed else start)
            elif view.handed:
                view.refresh(0)

    def outdate(self, graph: int, node: int) -> None:
        """What a node of a graph hands on is to be found out again, in all cases."""
        for view in self._views.values():
            if self._trace.cases[view.case].graph == graph and node in view.computed:
                view.computed[node] = replace(view.computed[node], backend="")  # it holds nowhere

    def outdate_all(self, backend: str) -> None:
        """What was computed on a backend is to be found out again, everywhere."""
        for view in self.in_order():
            for node, computed in view.computed.items():
                if computed.backend == backend:
                    view.computed[node] = replace(computed, backend="")
            view.forget_beside(backend)
            view.refresh(0)

    def recomputed(self, view: View, start: int) -> None:
        """What nodes of this view before `start` hand on may be something else now."""
        view.refresh(start)
        for later in self.in_order():
            if later.handed and later.mode is view.mode and later.case > view.case:
                later.refresh(0)

    def in_order(self) -> list[View]:
        """Those that were asked for, by case: state is handed to later cases only."""
        return sorted(self._views.values(), key=lambda view: view.case)
