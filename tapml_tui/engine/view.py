"""The results of one case in one mode, as far as they were computed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tapml_tui.engine.commands import Mode
from tapml_tui.engine.events import NodeResult
from tapml_tui.engine.placement import Placement
from tapml_tui.engine.table import STALE, NodeTable
from tapml_tui.engine.units import Ref
from tapml_tui.engine.values import Stored
from trace_format.model import NodeRef

if TYPE_CHECKING:
    from trace_format import Graph


@dataclass(frozen=True, slots=True)
class Computed:
    """What a node hands on, and what it was computed from.

    Attributes:
        backend: Where.
        kernel: With which kernel of its own, if any.
        reads: Which values it read.
        inputs: Their digests.
        outputs: What its consumers get, by output index.
        failed: Whether what it hands on is known to be wrong.
        factor: By how many floors, at worst.
        terms: Products in the longest sum up to here.
    """

    backend: str
    kernel: str | None
    reads: tuple[Ref, ...]
    inputs: tuple[str, ...]
    outputs: dict[int, Stored]
    failed: bool = False
    factor: float = 0.0
    terms: float = 1.0


class View:
    """What is known of every node in one case and mode.

    Attributes:
        graph: The graph of the case.
        case: Index of the case.
        mode: Isolated or chained.
        placement: Where nodes run, shared by all views of a graph.
        table: What the rows show.
        results: Of the nodes that have one.
        computed: What those hand on.
        changed: Nodes whose row changed since somebody looked.
    """

    def __init__(self, graph: Graph, case: int, mode: Mode, placement: Placement) -> None:
        """Nothing computed yet."""
        self.graph = graph
        self.case = case
        self.mode = mode
        self.placement = placement
        self.table = NodeTable(len(placement.backend), placement.backend_ids, placement.backend)
        self.results: dict[int, NodeResult] = {}
        self.computed: dict[int, Computed] = {}
        self.changed: set[int] = set()

    def fresh(self, node: int) -> bool:
        """Whether a node has a result that still holds."""
        return node in self.results and not self.table.flags[node] & STALE

    def value(self, ref: NodeRef) -> Stored | None:
        """What a consumer of this value gets in a chained run; None if there is nothing."""
        computed = self.computed.get(ref.node)
        return computed.outputs.get(ref.output) if computed is not None else None

    def commit(self, result: NodeResult, computed: Computed) -> None:
        """Write down what became of a node; it is fresh now."""
        node = result.node
        self.results[node] = result
        self.computed[node] = computed
        self.table.record(node, result.status, result.verdict, result.factor)
        self.changed.add(node)

    def refresh(self, start: int) -> None:
        """Find out, from the node `start` on, which results still hold.

        A result holds if its node is still placed where it was computed and, in a chained run, if
        what its producers hand on now is what it was computed from. So a switch that is taken back
        leaves nothing stale.
        """
        flags = self.table.flags
        for node in sorted(node for node in self.results if node >= start):
            stale = not self._holds(node)
            if stale != bool(flags[node] & STALE):
                flags[node] ^= STALE
                self.changed.add(node)

    def _holds(self, node: int) -> bool:
        computed = self.computed[node]
        if computed.backend != self.placement.of(node) or computed.kernel != self.placement.kernels.get(node):
            return False
        if self.mode is Mode.ISOLATED:
            return True
        for ref, digest in zip(computed.reads, computed.inputs, strict=True):
            if isinstance(ref, NodeRef):
                now = self.value(ref)
                if now is None or now.digest != digest or self.table.flags[ref.node] & STALE:
                    return False
        return True

    def needed(self, node: int) -> list[int]:
        """The nodes that must be executed before `node` can be, and `node`, in order.

        Iterative: a chain may be as long as the graph.
        """
        if self.fresh(node):
            return []
        if self.mode is Mode.ISOLATED:
            return [node]
        found = set[int]()
        waiting = [node]
        while waiting:
            current = waiting.pop()
            if current in found:
                continue
            found.add(current)
            waiting.extend(producer for producer in self.producers(current) if not self.fresh(producer))
        return sorted(found)

    def producers(self, node: int) -> list[int]:
        """The nodes that this node reads from."""
        indptr, nodes, _ = self.graph.producers
        return [int(p) for p in nodes[indptr[node] : indptr[node + 1]] if p >= 0]
