"""What a trace holds, collected record by record, and the footer made from it.

The writer fills it while writing; the scan of a file without a footer fills it while reading.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

from trace_format import limits
from trace_format.codec import GraphHead, StoredNode, Weights
from trace_format.errors import DanglingReference, DuplicateName, LimitExceeded, Malformed
from trace_format.index import GraphBuilder, TensorIndex, ValueIndex, check_outputs, value_key
from trace_format.model import Case, InputRef, NodeRef
from trace_format.records import Buffer, Record, content_key
from trace_format.tables import pack_tables
from trace_format.value_codec import StoredValue

SOURCES_PACKED = "<u8"
_HASHED_AT_ONCE = 1 << 16  # every call gives way to the other threads: not one for each small record


class Footer(NamedTuple):
    """Everything that makes opening fast: record offsets, and bodies of tables."""

    content_id: bytes
    stopped: str
    graphs: tuple[tuple[int, Buffer], ...]
    cases: tuple[tuple[int, Buffer], ...]
    tensors: Buffer
    sources: Buffer
    notes: tuple[int, ...]


class Contents:
    """Collects what the records say, in file order, and checks it against what came before."""

    def __init__(self) -> None:
        """Begin empty."""
        self.graphs: list[GraphBuilder] = []
        self.cases: list[tuple[int, Case]] = []
        self.values: list[dict[int, int]] = []
        self.tensors: dict[bytes, tuple[int, int, int]] = {}
        self.sources: list[tuple[int, int]] = []
        self.lines = 0
        self.notes: list[int] = []
        self._content = hashlib.sha256()
        self._unhashed = bytearray()

    def hash(self, record: Record, body: bytes) -> None:
        """Take a record into the content id."""
        self._unhashed += content_key(record) + body
        if len(self._unhashed) >= _HASHED_AT_ONCE:
            self._hash()

    def _hash(self) -> None:
        self._content.update(self._unhashed)
        self._unhashed.clear()

    @property
    def content_id(self) -> bytes:
        """SHA-256 over opcode, sizes and body of every record so far, but not of the footer's."""
        self._hash()
        return self._content.digest()

    def check_graph(self, head: GraphHead) -> None:
        """Refuse a graph out of order, or one too many."""
        if head.number != len(self.graphs):
            raise Malformed(f"graph {head.number} comes where graph {len(self.graphs)} should")
        if head.number >= limits.MAX_GRAPHS:
            raise LimitExceeded(f"more than {limits.MAX_GRAPHS} graphs")

    def add_graph(self, offset: int, head: GraphHead) -> GraphBuilder:
        """Begin a graph."""
        self.graphs.append(GraphBuilder(head, offset))
        return self.graphs[-1]

    def check_node(self, stored: StoredNode) -> list[NodeRef | InputRef]:
        """What the next node reads; see `GraphBuilder.check`."""
        if stored.graph >= len(self.graphs):
            raise DanglingReference(f"a node of graph {stored.graph}, which does not exist")
        graph = self.graphs[stored.graph]
        if stored.index != len(graph):
            raise Malformed(f"node {stored.index} comes where node {len(graph)} should")
        if any(line >= self.lines for line in stored.source):
            raise DanglingReference(f"node {stored.index} names a source line that does not exist")
        return graph.check(stored.node)

    def check_case(self, number: int, case: Case) -> None:
        """Refuse a case out of order, of no graph, or with inputs from nowhere."""
        if number != len(self.cases):
            raise Malformed(f"case {number} comes where case {len(self.cases)} should")
        if number >= limits.MAX_CASES:
            raise LimitExceeded(f"more than {limits.MAX_CASES} cases")
        if not 0 <= case.graph < len(self.graphs):
            raise DanglingReference(f"case {number} is one of graph {case.graph}, which does not exist")
        check_outputs(self.graphs[case.graph].head.outputs, self.graphs[case.graph])
        for index, source in case.handed_on:
            if not 0 <= source.case < number:
                raise DanglingReference(f"case {number} takes a value from case {source.case}, which is not before it")
            made = self.graphs[self.cases[source.case][1].graph].head.outputs
            if not 0 <= source.output < len(made) or not 0 <= index < len(self.graphs[case.graph].head.inputs):
                raise DanglingReference(f"case {number} hands on an output, or to an input, that does not exist")

    def add_case(self, offset: int, case: Case) -> None:
        """Append a case."""
        self.cases.append((offset, case))
        self.values.append({})

    def check_value(self, stored: StoredValue) -> int:
        """Key of a value that may be added."""
        if not 0 <= stored.case < len(self.cases):
            raise DanglingReference(f"a value of case {stored.case}, which does not exist")
        if self.cases[stored.case][0] == 0:
            raise DanglingReference(f"a value of case {stored.case}, which is lost")
        if not self.graphs[self.cases[stored.case][1].graph].has(stored.ref):
            raise DanglingReference(f"a value of {stored.ref}, which does not exist in case {stored.case}")
        key = value_key(stored.ref)
        if key in self.values[stored.case]:
            raise DuplicateName(f"the value {stored.ref} of case {stored.case} is there twice")
        return key

    def add_weights(self, offset: int, weights: Weights) -> None:
        """Take the tensors of a .safetensors; those that are known already stay where they are."""
        for item, weight in enumerate(weights.tensors):
            self.tensors.setdefault(weight.digest, (offset, weight.nbytes, item))

    def check_source(self, first: int, count: int) -> None:
        """Refuse source lines out of order."""
        if first != self.lines:
            raise Malformed(f"source line {first} comes where line {self.lines} should")
        if first + count > limits.MAX_INTERNED_LINES:
            raise LimitExceeded(f"more than {limits.MAX_INTERNED_LINES} source lines")

    def add_source(self, offset: int, count: int) -> None:
        """Append source lines."""
        self.sources.append((self.lines, offset))
        self.lines += count

    def add_note(self, offset: int) -> None:
        """Append a note."""
        if len(self.notes) >= limits.MAX_NOTES:
            raise LimitExceeded(f"more than {limits.MAX_NOTES} notes")
        self.notes.append(offset)

    def footer(self, stopped: str = "") -> Footer:
        """The tables of all this."""
        import numpy as np

        return Footer(
            self.content_id,
            stopped,
            tuple((graph.offset, graph.tables()) for graph in self.graphs),
            tuple(
                (offset, ValueIndex.pack(values)) for (offset, _), values in zip(self.cases, self.values, strict=True)
            ),
            TensorIndex.pack(self.tensors),
            pack_tables([np.array(self.sources, SOURCES_PACKED).reshape(-1, 2)]),
            tuple(self.notes),
        )
