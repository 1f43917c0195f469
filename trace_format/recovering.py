"""Making a whole trace of what is left of a broken one, and saying what is lost."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from trace_format import limits
from trace_format.errors import BlockDamaged, DiskFull, SizeLimit, TraceError, Unwritable
from trace_format.file import TraceFile
from trace_format.graph import Graph
from trace_format.index import GraphIndex, ValueIndex, key_ref
from trace_format.load import Loaded, read_footer
from trace_format.model import Case, GraphOutput, Node, NodeRef, Value
from trace_format.reader import Trace
from trace_format.records import Record
from trace_format.scan import Scan
from trace_format.tensors import plain_bytes
from trace_format.text import printable
from trace_format.writer import TraceWriter

_LOST = "lost: its record was damaged"


@dataclass
class RecoverReport:
    """What was kept, and what was not.

    Attributes:
        nodes: Kept.
        values: Kept.
        tensors: Kept.
        lost: One line for each thing that is lost.
        damage: What was wrong with the file; where only its footer was, nothing is lost.
    """

    nodes: int = 0
    values: int = 0
    tensors: int = 0
    lost: list[str] = field(default_factory=list)
    damage: list[str] = field(default_factory=list)


def recover(broken: str | os.PathLike[str], out: str | os.PathLike[str]) -> RecoverReport:
    """Write a whole trace from what can be read of a broken one.

    A node whose record is lost keeps its number: a stand-in with a note takes its place, under its own
    id where the footer still knows it. A value whose tensor is damaged is kept without it, with a note.
    Weights beside the broken trace are referred to if `out` lies in the same folder, else copied in.

    Raises:
        TraceError: If nothing can be read, or `out` cannot be written.
    """
    file = TraceFile(broken, tolerant=True)
    try:
        if file.head.kind != "trace":
            raise Unwritable("a run needs no recovery: its torn end is dropped when it is next opened")
        if os.path.exists(out) and os.path.samefile(broken, out):
            raise Unwritable("the recovered trace must have another name: the broken one is not written again")
        return _Recovery(file).write(out)
    finally:
        file.close()


class _Recovery(Scan):
    """A scan of what is there, and its copying."""

    def __init__(self, file: TraceFile) -> None:
        self.report = RecoverReport()
        self._weight_records: list[int] = []
        self._problems: list[TraceError] = []
        super().__init__(file, self._problems.append)
        contents = self.run()
        self._trace = Trace(Loaded(file, contents.footer(), False, ()))
        self._known = _Known(file)
        self._digests: set[bytes] = set()
        self._used: dict[int, dict[int, int]] = {}

    def _lose(self, what: object) -> None:
        self.report.lost.append(str(what))

    def _explain_damage(self) -> None:
        """Where no footer says what was there, the damage itself is all that can be said of what is lost."""
        for error in self._problems:
            self.report.damage.append(str(error))
            if not self._known.whole and not 0 < self.footer_begins <= (error.offset or 0):
                self._lose(error)

    def _weights(self, record: Record, body: bytes) -> None:
        super()._weights(record, body)
        self._weight_records.append(record.offset)

    def write(self, out: str | os.PathLike[str]) -> RecoverReport:
        """Copy everything that is good."""
        self._explain_damage()
        with TraceWriter(out, self._trace.provenance) as writer:
            for offset in self._weight_records:
                self._copy_weights(writer, offset)
            for number, graph in enumerate(self._trace.graphs):
                self._copy_graph(writer, number, graph)
            for number in range(len(self._trace.cases)):
                self._copy_case(writer, number)
            self._name_lost("graph", [graph.offset for graph in self.contents.graphs], len(self._known.graphs))
            self._name_lost("case", [offset for offset, _ in self.contents.cases], len(self._known.values))
            for note in self._trace.notes:
                writer.add_note(note)
            if len(self._trace.notes) < self._known.notes:
                self._lose(f"{self._known.notes - len(self._trace.notes)} notes")
            unnamed = len(self.contents.tensors.keys() - self._digests)
            if unnamed and self.report.lost:
                self._lose(f"{unnamed} tensors that no value names any more were left out")
            if self.report.lost:
                name = printable(self._file.path.name)
                writer.add_note(f"recovered from {name}; what was lost: {len(self.report.lost)} things")
        return self.report

    def _name_lost(self, what: str, offsets: list[int], known: int) -> None:
        """Say which records the scan did not find; offset 0 is a stand-in."""
        for number in range(max(len(offsets), known)):
            if number >= len(offsets) or offsets[number] == 0:
                self._lose(f"{what} {number}: its record is damaged")

    def _copy_weights(self, writer: TraceWriter, offset: int) -> None:
        tensors = self._trace.tensors
        weights = tensors.weights(offset)
        beside = self._file.path.parent / weights.file
        try:
            if writer.path.parent.resolve() == self._file.path.parent:
                there = writer.add_weights(beside)
                for weight in weights.tensors:
                    if there.get(weight.name) != weight.digest:
                        self._lose(f"the weight {printable(weight.name)!r} is not what it was")
            else:
                for weight in weights.tensors:
                    writer.add_tensor(tensors.stored(weight.digest).checked_view())
        except TraceError as error:
            self._lose(f"the weights {printable(weights.file)!r}: {error}")
        self._digests.update(weight.digest for weight in weights.tensors)

    def _copy_graph(self, writer: TraceWriter, number: int, graph: Graph) -> None:
        nodes = list(self._nodes(number, graph))
        self.report.nodes += sum(node.note != _LOST for node in nodes)
        if len(nodes) < graph.nodes_meant:
            self._lose(f"graph {printable(graph.name)!r} has {len(nodes)} of {graph.nodes_meant} nodes")
        writer.add_graph(graph.name, graph.inputs, tuple(_output(o, nodes) for o in graph.outputs), nodes)

    def _nodes(self, number: int, graph: Graph) -> Iterator[Node]:
        for index in range(len(graph)):
            try:
                yield graph.node(index)
            except TraceError:
                stand_in = self._stand_in(number, graph, index)
                self._lose(f"node {index} {printable(stand_in.id)!r}: its record is damaged")
                yield stand_in

    def _stand_in(self, number: int, graph: Graph, index: int) -> Node:
        if number not in self._used:
            self._used[number] = self._outputs_used(number, graph)
        outputs = 1 + self._used[number].get(index, 0)
        known = self._known.graphs.get(number)
        if known is None or index >= known.nodes:
            identity, path = graph.node_id(index), graph.path(index)
            return Node(identity, identity, "lost", path, "", (), (), outputs, note=_LOST)
        path = known.paths[int(known.path_of[index])]
        op = known.ops[int(known.op_of[index])]
        outputs = max(outputs, min(int(known.outputs[index]), limits.MAX_OUTPUTS - 1))
        return Node(known.ids[index], known.names[index], op, path, "", (), (), outputs, note=_LOST)

    def _outputs_used(self, number: int, graph: Graph) -> dict[int, int]:
        """The last output of each node that anything refers to."""
        _, nodes, outputs = graph.producers
        refs = list(zip(nodes.tolist(), outputs.tolist(), strict=True))
        refs += [o.value for o in graph.outputs if isinstance(o.value, NodeRef)]
        for (_, case), values in zip(self.contents.cases, self.contents.values, strict=True):
            if case.graph == number:
                refs += [ref for ref in map(key_ref, values) if isinstance(ref, NodeRef)]
        used: dict[int, int] = {}
        for node, output in refs:
            used[node] = max(used.get(node, 0), output)
        return used

    def _copy_case(self, writer: TraceWriter, number: int) -> None:
        case = self._trace.cases[number]
        try:
            writer.add_case(case)
        except TraceError as error:
            self._lose(f"what case {printable(case.name)!r} takes from earlier ones: {error}")
            writer.add_case(Case(case.name, case.graph, (), case.note))
        found = self.contents.values[number]
        for key in self._known.values.get(number, ()):
            if key not in found:
                self._lose(f"the value {key_ref(key)} of case {printable(case.name)!r}: its record is damaged")
        for key in sorted(found):
            ref = key_ref(key)
            try:
                writer.add_value(number, ref, self._copy_tensor(writer, self._trace.value(number, ref)))
                self.report.values += 1
            except TraceError as error:
                self._lose(f"the value {ref} of case {printable(case.name)!r}: {error}")

    def _copy_tensor(self, writer: TraceWriter, value: Value) -> Value:
        if value.tensor is None:
            return value
        new = value.tensor not in self._digests
        self._digests.add(value.tensor)
        try:
            if writer.has_tensor(value.tensor):
                return value
            if writer.add_tensor(plain_bytes(self._trace.array(value))) != value.tensor:
                raise BlockDamaged("the SHA-256 of a tensor does not match")
            self.report.tensors += 1
            return value
        except (DiskFull, SizeLimit):
            raise
        except TraceError as error:
            if new:
                self._lose(f"the tensor {value.tensor.hex()[:16]}, {value.dtype} {list(value.shape)}: {error}")
            return value._replace(tensor=None, note=f"{value.note} lost: its bytes are damaged".strip())


def _output(output: GraphOutput, nodes: list[Node]) -> GraphOutput:
    ref = output.value
    if isinstance(ref, NodeRef) and not (ref.node < len(nodes) and ref.output < nodes[ref.node].outputs):
        return replace(output, value=None)
    return output


class _Known:
    """What the footer of a broken trace still knows of what was in it. `whole`: it knows all."""

    def __init__(self, file: TraceFile) -> None:
        self.graphs: dict[int, GraphIndex] = {}
        self.values: dict[int, list[int]] = {}
        self.notes = 0
        self.whole = False
        try:
            footer = read_footer(file)
            if footer is not None:
                for number, (_, body) in enumerate(footer.graphs):
                    self.graphs[number] = GraphIndex(body, file.size)
                for number, (_, body) in enumerate(footer.cases):
                    self.values[number] = ValueIndex(body, file.size).keys.tolist()
                self.notes = len(footer.notes)
                self.whole = True
        except TraceError:
            return  # it is damaged too
