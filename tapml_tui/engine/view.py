"""The results of one case in one mode, as far as they were computed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from tapml_tui.compare import Status
from tapml_tui.engine.commands import Mode
from tapml_tui.engine.events import NodeResult
from tapml_tui.engine.placement import Placement
from tapml_tui.engine.table import STALE, NodeTable, targets_beside
from tapml_tui.engine.units import Ref
from tapml_tui.engine.values import Stored
from trace_format.model import InputRef, NodeRef, OutputKind

if TYPE_CHECKING:
    from trace_format import Graph

Origin: TypeAlias = "tuple[View, Ref]"
"""Who computes a value: a case's input may be what an earlier case computed."""


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


def outputs_of(graph: Graph) -> Iterator[tuple[int, str, NodeRef]]:
    """(number, name, value) of the outputs that a model answers with; buffers that it updates are none."""
    for number, output in enumerate(graph.outputs):
        if isinstance(output.value, NodeRef) and output.kind in (OutputKind.USER, OutputKind.STATE):
            yield number, output.name, output.value


def output_nodes(graph: Graph) -> tuple[int, ...]:
    """The nodes that compute what a model answers with."""
    return tuple(dict.fromkeys(ref.node for _, _, ref in outputs_of(graph)))


class View:
    """What is known of every node in one case and mode.

    Attributes:
        graph: The graph of the case.
        case: Index of the case.
        mode: Isolated or chained.
        placement: Where nodes run, shared by all views of a graph.
        handed: By graph input: whose output it is, where an earlier case hands it on.
        table: What the rows show.
        results: Of the nodes that have one.
        computed: What those hand on.
        changed: Nodes whose row changed since somebody looked.
        targets: Of several targets the ids; of one none: there is nothing beside it.
        beside: By target and node: how it did there last, where it is not placed on the recorded inputs.
    """

    def __init__(
        self,
        graph: Graph,
        case: int,
        mode: Mode,
        placement: Placement,
        handed: Mapping[int, Callable[[], Origin]] | None = None,
    ) -> None:
        """Nothing computed yet."""
        self.graph = graph
        self.case = case
        self.mode = mode
        self.placement = placement
        self.handed = handed or {}
        self.table = NodeTable(len(placement.backend), placement.backend_ids, placement.backend)
        self.results: dict[int, NodeResult] = {}
        self.computed: dict[int, Computed] = {}
        self.changed: set[int] = set()
        self.targets = targets_beside(placement.backend_ids)
        self.beside: dict[tuple[str, int], NodeResult] = {}

    def fresh(self, node: int) -> bool:
        """Whether a node has a result that still holds."""
        return node in self.results and not self.table.flags[node] & STALE

    def origin(self, ref: Ref) -> Origin:
        """Who computes a value: this view, or that of the earlier case that handed it on."""
        view = self
        while isinstance(ref, InputRef) and ref.index in view.handed:
            view, ref = view.handed[ref.index]()
        return view, ref

    def chains(self, ref: Ref) -> bool:
        """Whether a value is computed in a run of this mode, and not taken from the trace."""
        return self.mode is Mode.CHAINED and isinstance(self.origin(ref)[1], NodeRef)

    def producer(self, ref: Ref) -> Computed | None:
        """What the node that computes this value hands on; None if it has not, or no node does."""
        view, made = self.origin(ref)
        return view.computed.get(made.node) if isinstance(made, NodeRef) else None

    def value(self, ref: Ref) -> Stored | None:
        """What a consumer of this value gets in a chained run; None if there is nothing."""
        _, made = self.origin(ref)
        computed = self.producer(ref)
        return computed.outputs.get(made.output) if computed is not None and isinstance(made, NodeRef) else None

    def commit(self, result: NodeResult, computed: Computed) -> None:
        """Write down what became of a node; it is fresh now."""
        node = result.node
        self.results[node] = result
        self.computed[node] = computed
        self.table.record(node, result.status, result.verdict, result.factor)
        self.changed.add(node)
        if result.backend in self.targets:
            self.note_beside(result)

    def note_beside(self, result: NodeResult) -> None:
        """Write down how a node did on one of several targets."""
        self.beside[result.backend, result.node] = result
        self.table.record_beside(self.targets.index(result.backend), result.node, result.status, result.factor)
        self.changed.add(result.node)

    def forget_beside(self, backend: str) -> None:
        """How nodes did on one of several targets is not known any more."""
        for target, node in [key for key in self.beside if key[0] == backend]:
            del self.beside[target, node]
            self.table.record_beside(self.targets.index(target), node, Status.NOT_RUN, float("nan"))
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
            view, made = self.origin(ref)
            if isinstance(made, NodeRef):
                now = view.value(made)
                if now is None or now.digest != digest or view.table.flags[made.node] & STALE:
                    return False
        return True

    def needed(self, node: int) -> list[tuple[View, int]]:
        """The nodes that must be executed before `node` can be, and `node`, in order, each with its view.

        Iterative: a chain may be as long as the graph.
        """
        if self.fresh(node):
            return []
        if self.mode is Mode.ISOLATED:
            return [(self, node)]
        found: dict[tuple[int, int], View] = {}
        waiting = [(self, node)]
        while waiting:
            view, current = waiting.pop()
            if (view.case, current) in found:
                continue
            found[view.case, current] = view
            waiting.extend(made for made in view.producers(current) if not made[0].fresh(made[1]))
        return [(found[key], key[1]) for key in sorted(found)]

    def producers(self, node: int) -> list[tuple[View, int]]:
        """The nodes that this node reads from, each with its view."""
        indptr, nodes, _ = self.graph.producers
        read = [int(p) for p in nodes[indptr[node] : indptr[node + 1]]]
        found: list[tuple[View, int]] = [(self, p) for p in read if p >= 0]
        for p in read:
            if p < 0 and -1 - p in self.handed:
                view, made = self.origin(InputRef(-1 - p))
                if isinstance(made, NodeRef):
                    found.append((view, made.node))
        return found
