"""The tables of the footer: built while writing or scanning, checked and viewed when reading.

The writer and the scan of a file without a footer use the same builder, so that both ways of
opening a trace see the same thing.
"""

from __future__ import annotations

import hashlib
from array import array
from functools import cached_property

import numpy as np
import numpy.typing as npt

from trace_format import limits
from trace_format.codec import GraphHead
from trace_format.errors import (
    DanglingReference,
    DuplicateName,
    GraphCycle,
    IndexInvalid,
    LimitExceeded,
)
from trace_format.model import GraphOutput, InputRef, Node, NodeRef
from trace_format.outline import ENTRY, Outline, build_outline, check_outline, path_parts
from trace_format.records import Buffer
from trace_format.tables import Strings, Tables, pack_tables
from trace_format.text import printable
from trace_format.wire import references

U4 = npt.NDArray[np.uint32]
U8 = npt.NDArray[np.uint64]
I4 = npt.NDArray[np.int32]
I8 = npt.NDArray[np.int64]

# What the footer takes for one more of each, for the writer's reserve.
NODE_COST = 128
PRODUCER_COST = 8
VALUE_COST = 16
_ANY_OUTPUT = limits.MAX_OUTPUTS  # a node whose record is lost may have had any number


def id_hash(identity: str | bytes) -> int:
    """What ids are sorted by in the footer: the first 8 bytes of BLAKE2b-64, little-endian."""
    data = identity.encode() if isinstance(identity, str) else identity
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")


def value_key(ref: NodeRef | InputRef) -> int:
    """What values of a case are sorted by in the footer."""
    return -1 - ref.index if isinstance(ref, InputRef) else ref.node * limits.MAX_OUTPUTS + ref.output


def key_ref(key: int) -> NodeRef | InputRef:
    """Inverse of `value_key`."""
    return InputRef(-1 - key) if key < 0 else NodeRef(*divmod(key, limits.MAX_OUTPUTS))


class GraphBuilder:
    """Collects the index of one graph, and refuses what would make it contradict itself."""

    def __init__(self, head: GraphHead, offset: int) -> None:
        """Begin with no nodes."""
        self.head = head
        self.offset = offset
        self._offsets = array("Q")
        self._outputs = array("I")
        self._ids: dict[str, int] = {}
        self._names: list[str] = []
        self._ops: dict[str, int] = {}
        self._op_of = array("I")
        self._paths: dict[str, int] = {}
        self._path_of = array("I")
        self._ends = array("q", [0])
        self._producers = array("i")
        self._producer_outputs = array("i")
        self._parts: list[tuple[str, ...]] = []

    def __len__(self) -> int:
        return len(self._offsets)

    def check(self, node: Node) -> list[NodeRef | InputRef]:
        """What the next node reads, in order.

        Raises:
            DuplicateName: If there is a node of that id.
            GraphCycle: If it reads a node that does not come before it.
            DanglingReference: If it reads what does not exist.
            LimitExceeded: If there is no room for it.
        """
        index = len(self)
        if index >= limits.MAX_NODES:
            raise LimitExceeded(f"a graph has more than {limits.MAX_NODES} nodes")
        if node.id in self._ids:
            raise DuplicateName(f"two nodes have the id {printable(node.id)!r}")
        if not 0 <= node.outputs < limits.MAX_OUTPUTS:
            raise LimitExceeded(f"node {printable(node.id)!r} claims {node.outputs} outputs")
        if node.path not in self._paths:
            path_parts(node.path)
        reads = list(references(node.args))
        for _, argument in node.kwargs:
            reads += references(argument)
        for ref in reads:
            if isinstance(ref, NodeRef) and not 0 <= ref.node < index:
                raise GraphCycle(f"node {index} {printable(node.id)!r} reads node {ref.node}, which is not before it")
            if not self.has(ref):
                raise DanglingReference(f"node {index} {printable(node.id)!r} reads {ref}, which does not exist")
        return reads

    def has(self, ref: NodeRef | InputRef) -> bool:
        """Whether there is such a value so far."""
        if isinstance(ref, InputRef):
            return 0 <= ref.index < len(self.head.inputs)
        return 0 <= ref.node < len(self) and 0 <= ref.output < self._outputs[ref.node]

    def add(self, offset: int, node: Node, reads: list[NodeRef | InputRef]) -> None:
        """Append a node that was checked."""
        self._ids[node.id] = len(self)
        self._names.append(node.name)
        self._op_of.append(self._ops.setdefault(node.op, len(self._ops)))
        if node.path not in self._paths:
            self._paths[node.path] = len(self._paths)
            self._parts.append(path_parts(node.path))
        self._path_of.append(self._paths[node.path])
        for ref in reads:
            if isinstance(ref, InputRef):
                self._producers.append(-1 - ref.index)
                self._producer_outputs.append(0)
            else:
                self._producers.append(ref.node)
                self._producer_outputs.append(ref.output)
        self._ends.append(len(self._producers))
        self._outputs.append(node.outputs)
        self._offsets.append(offset)

    def add_lost(self) -> None:
        """Append a stand-in for a node whose record is damaged, so that the others keep their numbers."""
        identity = f"lost#{len(self)}"
        while identity in self._ids:
            identity += "#"
        path = ".".join(self._parts[self._path_of[-1]]) if self._path_of else ""
        self.add(0, Node(identity, identity, "lost", path, "", (), (), _ANY_OUTPUT), [])

    def cost(self, node: Node, reads: int) -> int:
        """About how many bytes of footer the next node takes, never too few."""
        strings = len(node.id.encode()) + len(node.name.encode())
        for string, known in ((node.op, self._ops), (node.path, self._paths)):
            strings += 0 if string in known else 8 + len(string.encode())
        return NODE_COST + strings + reads * PRODUCER_COST

    def tables(self) -> bytes:
        """The body of the graph's index record."""
        ids = list(self._ids)
        hashes = np.array([id_hash(identity) for identity in ids], "<u8")
        order = np.argsort(hashes, kind="stable").astype("<u4")
        return pack_tables([
            np.array([self.head.number, len(ids), len(self.head.inputs), self.offset], "<u8"),
            np.array(self._offsets, "<u8"),
            np.array(self._op_of, "<u4"),
            np.array(self._path_of, "<u4"),
            np.array(self._outputs, "<u4"),
            *Strings.pack(ids),
            *Strings.pack(self._names),
            *Strings.pack(self._ops),
            *Strings.pack(self._paths),
            build_outline(self._path_of, self._parts),
            np.array(self._ends, "<i8"),
            np.array(self._producers, "<i4"),
            np.array(self._producer_outputs, "<i4"),
            hashes[order],
            order,
        ])  # fmt: skip


class GraphIndex:
    """The index of one graph: views of its tables, checked."""

    def __init__(self, body: Buffer, size: int) -> None:
        """Check everything that must hold for the views to be safe to follow.

        Args:
            body: Of the index record.
            size: Of the file.

        Raises:
            IndexInvalid: If a table contradicts itself or another one.
            GraphCycle: If a node reads a node that does not come before it.
            DuplicateName: If two nodes have one id.
            DanglingReference: If a node reads what does not exist.
        """
        t = Tables(body)
        number, nodes, inputs, offset = (int(x) for x in t.column(0, "<u8", 4))
        if nodes > limits.MAX_NODES or inputs > limits.MAX_INPUTS:
            raise IndexInvalid("the index of a graph claims too many nodes or inputs")
        self.number, self.nodes, self.inputs, self.record = number, nodes, inputs, offset
        self.offsets: U8 = t.column(1, "<u8", nodes)
        self.op_of: U4 = t.column(2, "<u4", nodes)
        self.path_of: U4 = t.column(3, "<u4", nodes)
        self.outputs: U4 = t.column(4, "<u4", nodes)
        self.ids, self.names, self.ops, self.paths = (
            Strings(t.column(5 + 2 * k, "<u8"), t.column(6 + 2 * k, "u1")) for k in range(4)
        )
        self.outline: Outline = t.column(13, ENTRY)
        self.indptr: I8 = t.column(14, "<i8", nodes + 1)
        self.producers: I4 = t.column(15, "<i4")
        self.producer_outputs: I4 = t.column(16, "<i4", len(self.producers))
        self.hashes: U8 = t.column(17, "<u8", nodes)
        self.order: U4 = t.column(18, "<u4", nodes)
        self._check_columns(size)
        self._check_producers()
        self._check_ids()
        check_outline(self.outline, nodes)

    def _check_columns(self, size: int) -> None:
        if len(self.ids) != self.nodes or len(self.names) != self.nodes:
            raise IndexInvalid("the index of a graph has another number of names than nodes")
        if np.any(self.offsets >= size):
            raise IndexInvalid("the index of a graph points outside of the file")
        if np.any(self.op_of >= len(self.ops)) or np.any(self.path_of >= len(self.paths)):
            raise IndexInvalid("the index of a graph names an operator or a path that is not there")
        if np.any(self.outputs > _ANY_OUTPUT):
            raise LimitExceeded(f"a node has more than {limits.MAX_OUTPUTS} outputs")
        longest = limits.MAX_STRING
        if any(np.any(np.diff(s.ends) > longest) for s in (self.ids, self.names, self.ops, self.paths)):
            raise LimitExceeded(f"a name is longer than {longest} bytes")

    def _check_producers(self) -> None:
        ends, nodes, outputs = self.indptr, self.producers, self.producer_outputs
        if ends[0] != 0 or ends[-1] != len(nodes) or np.any(ends[1:] < ends[:-1]):
            raise IndexInvalid("the producers of the nodes are no table of rows")
        readers = np.repeat(np.arange(self.nodes), np.diff(ends))
        if np.any(nodes >= readers):
            bad = int(readers[np.argmax(nodes >= readers)])
            raise GraphCycle(f"node {bad} {printable(self.ids[bad])!r} reads a node that is not before it")
        made = np.where(nodes >= 0, self.outputs[np.maximum(nodes, 0)] if self.nodes else 0, 1)
        if np.any(outputs < 0) or np.any(outputs >= made) or np.any(nodes < -self.inputs):
            raise DanglingReference("a node reads an output or an input that does not exist")

    def _check_ids(self) -> None:
        if np.any(self.hashes[1:] < self.hashes[:-1]) or np.any(self.order >= self.nodes):
            raise IndexInvalid("the ids of the nodes are not sorted")
        for twin in np.flatnonzero(self.hashes[1:] == self.hashes[:-1])[:64].tolist():
            first, second = int(self.order[twin]), int(self.order[twin + 1])
            if self.ids.encoded(first) == self.ids.encoded(second):
                raise DuplicateName(f"two nodes have the id {printable(self.ids[first])!r}")

    def find(self, identity: str) -> int | None:
        """The node of an id."""
        try:
            encoded = identity.encode()
        except UnicodeEncodeError:
            return None
        key = np.uint64(id_hash(encoded))
        first, last = np.searchsorted(self.hashes, key, "left"), np.searchsorted(self.hashes, key, "right")
        for place in range(int(first), int(last)):
            node = int(self.order[place])
            if self.ids.encoded(node) == encoded:
                return node
        return None

    def has(self, ref: NodeRef | InputRef) -> bool:
        """Whether the graph has such a value."""
        if isinstance(ref, InputRef):
            return 0 <= ref.index < self.inputs
        return 0 <= ref.node < self.nodes and 0 <= ref.output < int(self.outputs[ref.node])


def check_outputs(outputs: tuple[GraphOutput, ...], graph: GraphBuilder | GraphIndex) -> None:
    """Check that a graph's outputs are values of it.

    Raises:
        DanglingReference: If one is not.
    """
    for output in outputs:
        if output.value is not None and not graph.has(output.value):
            raise DanglingReference(f"graph output {printable(output.name)!r} is {output.value}, which does not exist")


class ValueIndex:
    """The values of one case: record offsets by key."""

    def __init__(self, body: Buffer, size: int) -> None:
        """Check and view the tables.

        Raises:
            IndexInvalid: If they contradict themselves.
        """
        t = Tables(body)
        self.keys: I8 = t.column(0, "<i8")
        self.offsets: U8 = t.column(1, "<u8", len(self.keys))
        if np.any(self.keys[1:] <= self.keys[:-1]) or np.any(self.offsets >= size):
            raise IndexInvalid("the values of a case are not sorted, or not in the file")

    @staticmethod
    def pack(values: dict[int, int]) -> bytes:
        """The body of the index record of a case, from record offsets by key."""
        keys = np.fromiter(values.keys(), "<i8", len(values))
        offsets = np.fromiter(values.values(), "<u8", len(values))
        order = np.argsort(keys)
        return pack_tables([keys[order], offsets[order]])

    def find(self, key: int) -> int | None:
        """Offset of the record of a value."""
        place = int(np.searchsorted(self.keys, key))
        if place < len(self.keys) and int(self.keys[place]) == key:
            return int(self.offsets[place])
        return None


# `record` is a tensor record, or a weights record whose tensor number `item` it is.
STORED = np.dtype([("digest", "V32"), ("record", "<u8"), ("nbytes", "<u8"), ("item", "<i4"), ("pad", "<u4")])


class TensorIndex:
    """Where the tensors are, by SHA-256."""

    def __init__(self, body: Buffer, size: int) -> None:
        """Check and view the table.

        Raises:
            IndexInvalid: If it is not sorted, or points outside of the file.
        """
        self.rows = Tables(body).column(0, STORED)
        if np.any(self.rows["record"] >= size) or np.any(self._prefixes[1:] < self._prefixes[:-1]):
            raise IndexInvalid("the table of tensors is not sorted, or not in the file")

    @cached_property
    def _prefixes(self) -> U8:
        """The first 8 bytes of every digest as numbers: what they are sorted by."""
        raw = self.rows.view(np.uint8).reshape(len(self.rows), STORED.itemsize)[:, :8]
        return np.ascontiguousarray(raw).view(">u8").reshape(-1).astype(np.uint64)

    @staticmethod
    def pack(tensors: dict[bytes, tuple[int, int, int]]) -> bytes:
        """The body of the index record, from (record, bytes, item) by digest."""
        rows = np.zeros(len(tensors), STORED)
        for place, digest in enumerate(sorted(tensors)):
            record, nbytes, item = tensors[digest]
            rows[place] = (digest, record, nbytes, item, 0)
        return pack_tables([rows])

    def find(self, digest: bytes) -> tuple[int, int, int] | None:
        """(record, bytes, item) of a tensor; item is -1 for a tensor of its own record."""
        key = np.uint64(int.from_bytes(digest[:8], "big"))
        place = int(np.searchsorted(self._prefixes, key))
        while place < len(self.rows) and self._prefixes[place] == key:
            row = self.rows[place]
            if bytes(row["digest"]) == digest:
                return int(row["record"]), int(row["nbytes"]), int(row["item"])
            place += 1
        return None
