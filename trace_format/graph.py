"""One graph of an open trace: views of its index, and nodes decoded on demand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property, lru_cache

import numpy as np

from trace_format import codec
from trace_format.codec import GraphHead
from trace_format.errors import DanglingReference, IndexInvalid, RecordDamaged
from trace_format.file import TraceFile
from trace_format.index import I4, I8, GraphIndex, check_outputs
from trace_format.model import GraphInput, GraphOutput, InputRef, Node, NodeRef, SourceLine
from trace_format.outline import Outline
from trace_format.records import Op
from trace_format.search import Search
from trace_format.wire import references

_KEPT_NODES = 512


class Graph:
    """The operators of one model, in execution order. Cheap to hold, whatever its size."""

    def __init__(self, file: TraceFile, index: GraphIndex, source: Callable[[int], SourceLine | None]) -> None:
        """Check what belongs together.

        Args:
            file: The trace.
            index: The tables of this graph.
            source: Gives an interned source line; None for one that is lost.
        """
        self._file = file
        self._index = index
        self._source = source
        self._head = self._read_head()
        self._decoded = lru_cache(_KEPT_NODES)(self._decode)

    def _read_head(self) -> GraphHead:
        if self._index.record == 0:  # lost: the scan put a stand-in here
            return GraphHead(self._index.number, f"lost#{self._index.number}", (), (), 0)
        head = codec.decode_graph(self._file.body(self._index.record, Op.GRAPH))
        if head.number != self._index.number or len(head.inputs) != self._index.inputs:
            raise IndexInvalid("the index of a graph is that of another")
        return head

    def __len__(self) -> int:
        """How many nodes."""
        return self._index.nodes

    @property
    def name(self) -> str:
        """Name of the graph."""
        return self._head.name

    @property
    def inputs(self) -> tuple[GraphInput, ...]:
        """Inputs of the graph."""
        return self._head.inputs

    @property
    def nodes_meant(self) -> int:
        """How many nodes the writer meant to write; more than there are in a trace that was cut."""
        return self._head.nodes

    @cached_property
    def outputs(self) -> tuple[GraphOutput, ...]:
        """Outputs of the graph; None stands for one whose node is lost with the end of the file."""
        if len(self) < self.nodes_meant:
            return tuple(
                replace(output, value=None) if output.value is not None and not self.has(output.value) else output
                for output in self._head.outputs
            )
        check_outputs(self._head.outputs, self._index)
        return self._head.outputs

    def has(self, ref: NodeRef | InputRef) -> bool:
        """Whether the graph has such a value."""
        return self._index.has(ref)

    def node(self, node: int) -> Node:
        """Everything about one node.

        Raises:
            RecordDamaged, Malformed, ...: If its record is not what it should be. Others are not concerned.
        """
        return self._decoded(self._checked(node))

    def _decode(self, node: int) -> Node:
        offset = int(self._index.offsets[node])
        if offset == 0:
            raise RecordDamaged(f"node {node} is lost: its record is damaged")
        stored = codec.decode_node(self._file.body(offset, Op.NODE))
        if (stored.graph, stored.index, stored.node.id) != (self._index.number, node, self._index.ids[node]):
            raise IndexInvalid(f"the index says that another node is node {node}", offset)
        start, stop = int(self._index.indptr[node]), int(self._index.indptr[node + 1])
        listed = list(
            zip(
                self._index.producers[start:stop].tolist(),
                self._index.producer_outputs[start:stop].tolist(),
                strict=True,
            )
        )
        if _reads(stored.node) != listed or stored.node.outputs != int(self._index.outputs[node]):
            raise IndexInvalid(f"the index and the record of node {node} differ", offset)
        lines = (self._source(line) for line in stored.source)
        return replace(stored.node, source=tuple(line for line in lines if line is not None))

    def _checked(self, node: int) -> int:
        if not 0 <= node < self._index.nodes:
            raise DanglingReference(f"there is no node {node}: the graph has {self._index.nodes}")
        return node

    def op(self, node: int) -> str:
        """Operator of a node, `namespace.name.overload`."""
        return self._index.ops[int(self._index.op_of[self._checked(node)])]

    def operators(self) -> Counter[str]:
        """How many nodes call each operator, in time that hardly depends on how many there are."""
        counts = np.bincount(self._index.op_of, minlength=len(self._index.ops))
        return Counter({self._index.ops[op]: int(counts[op]) for op in np.flatnonzero(counts).tolist()})

    def node_id(self, node: int) -> str:
        """Id of a node."""
        return self._index.ids[self._checked(node)]

    def node_name(self, node: int) -> str:
        """The exporter's label of a node."""
        return self._index.names[self._checked(node)]

    def path(self, node: int) -> str:
        """Path of a node, "" at the root."""
        return self._index.paths[int(self._index.path_of[self._checked(node)])]

    def output_count(self, node: int) -> int:
        """How many outputs a node has."""
        return int(self._index.outputs[self._checked(node)])

    def find_id(self, node_id: str) -> int | None:
        """The node of an id."""
        return self._index.find(node_id)

    @property
    def producers(self) -> tuple[I8, I4, I4]:
        """What nodes read, as rows: (indptr, nodes, outputs).

        Node i reads `nodes[indptr[i]:indptr[i + 1]]` in the order of its arguments: a node, or graph
        input j as -1 - j; `outputs` says which output of the node.
        """
        return self._index.indptr, self._index.producers, self._index.producer_outputs

    # ------------------------------------------------------------ outline

    @property
    def outline(self) -> Outline:
        """Folds and nodes in pre-order: see `trace_format.outline`."""
        return self._index.outline

    @cached_property
    def _rows_of_nodes(self) -> I8:
        rows: I8 = (self.outline["fold"].view("u1") == 0).nonzero()[0]
        return rows

    def entry_of(self, node: int) -> int:
        """The outline entry of a node."""
        return int(self._rows_of_nodes[self._checked(node)])

    def outline_path(self, entry: int) -> str:
        """Path of a fold or node."""
        row = self.outline[entry]
        path = self.path(int(row["start"])) if len(self) else ""
        return path.encode()[: int(row["prefix"])].decode(errors="replace") if row["fold"] else path

    def outline_label(self, entry: int) -> str:
        """What a row says: of a fold's path what its parent does not show, of a node its operator."""
        row = self.outline[entry]
        if not row["fold"]:
            parts = self.op(int(row["start"])).split(".")
            return parts[1] if len(parts) == 3 else parts[0]
        return self.outline_detail(entry) or self.name

    def outline_detail(self, entry: int) -> str:
        """The part of a row's path that its parent does not show, "" if there is none."""
        row = self.outline[entry]
        parent = int(row["parent"])
        shown = int(self.outline[parent]["prefix"]) if parent >= 0 else 0
        return self.outline_path(entry).encode()[shown:].decode(errors="replace").removeprefix(".")

    # ------------------------------------------------------------ search

    @cached_property
    def _search(self) -> Search:
        return Search(self._index, self._rows_of_nodes)

    def search(self, text: str, entry: int, step: int = 1) -> int | None:
        """The next outline entry that holds `text`, wrapping around; upper and lower case are one.

        Looks at node ids, names and operators, and at the paths of folds.

        Args:
            text: What to look for.
            entry: Where to start; it is the last one to be found.
            step: +1 or -1.
        """
        return self._search.next(text, entry, step)


def _reads(node: Node) -> list[tuple[int, int]]:
    reads = list(references(node.args))
    for _, argument in node.kwargs:
        reads += references(argument)
    return [(-1 - ref.index, 0) if isinstance(ref, InputRef) else (ref.node, ref.output) for ref in reads]
