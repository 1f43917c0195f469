"""Writing a trace: once, streamed, under another name until it is whole."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy.typing as npt

from trace_format import codec, limits
from trace_format.checksum import crc32
from trace_format.codec import GraphHead, Head, StoredNode, Summary, Weight, Weights
from trace_format.contents import Contents, Footer
from trace_format.dtypes import item_size
from trace_format.errors import CannotOpen, DiskFull, SizeLimit, Stopped, Unwritable
from trace_format.index import VALUE_COST, check_outputs
from trace_format.model import Case, GraphInput, GraphOutput, InputRef, Node, NodeRef, Provenance, SourceLine, Value
from trace_format.output import FULL, Output
from trace_format.records import (
    MAGIC,
    MINOR,
    Buffer,
    Op,
    Record,
    block_count,
    body_limit,
    layout,
    op_name,
    pack_record,
    record_bytes,
    trailer_bytes,
)
from trace_format.safetensors_file import SafetensorsFile
from trace_format.tensors import Hasher, checksums, plain_bytes, write_tensor
from trace_format.value_codec import StoredValue, encode_value, value_bytes
from trace_format.wire import text

_LIKENESS_BYTES = 4096
_FOOTER_COST = 4096  # summary, trailer, headers and padding of the tables
_GRAPH_COST, _CASE_COST, _TENSOR_COST, _SOURCE_COST, _NOTE_COST = 1024, 256, 56, 16, 9


class TraceWriter:
    """Writes one trace. A context manager: leaving it closes the trace, an exception leaves nothing.

    The bytes go to a file beside `path` that takes its name when everything is on the disk. Where the
    disk is full or `max_bytes` is reached, the trace ends there: it is finished, readable, says so, and
    `DiskFull` or `SizeLimit` is raised.
    """

    def __init__(
        self, path: str | os.PathLike[str], provenance: Provenance | None = None, *, max_bytes: int | None = None
    ) -> None:
        """Begin a trace.

        Args:
            path: Where it will be. A file of that name is replaced at the end.
            provenance: Who made it, from what.
            max_bytes: Largest size of the file, or None.

        Raises:
            CannotOpen: If there can be no file there.
            SizeLimit: If `max_bytes` is too little for anything.
            DiskFull: If the disk is full already.
        """
        self.path = Path(path)
        self._folder = self.path.parent
        self._max_bytes = max_bytes
        self._contents = Contents()
        self._lines: dict[SourceLine, int] = {}
        self._seen: set[tuple[int, int]] = set()  # `_likeness` of every tensor
        self._hasher = Hasher()
        self._footer_cost = _FOOTER_COST
        self._closed = False
        if self.path.exists() and not self.path.is_file():  # the rename would put a file where a device was
            raise CannotOpen(f"{self.path} is no regular file: a trace cannot take its place")
        try:
            descriptor, temporary = tempfile.mkstemp(".partial", f".{self.path.name[:100]}.", self._folder)
        except OSError as error:
            raise CannotOpen(f"cannot write a trace in {self._folder}: {error.strerror}") from error
        self.temporary = Path(temporary)
        self._output = Output(descriptor)
        try:
            self._output.write(MAGIC)
            self._append(Op.HEADER, codec.encode_head(Head("trace", MINOR, None, provenance or Provenance())))
        except BaseException:
            self.abort()
            raise

    @property
    def size_bytes(self) -> int:
        """Bytes so far, without the footer."""
        return self._output.position

    # ------------------------------------------------------------ what a trace holds

    def add_graph(
        self, name: str, inputs: Sequence[GraphInput], outputs: Sequence[GraphOutput], nodes: Iterable[Node]
    ) -> int:
        """Write a graph; its nodes in execution order.

        Returns:
            Its number.

        Raises:
            GraphCycle, DanglingReference, DuplicateName: If the graph contradicts itself.
            Unwritable, LimitExceeded: If the format cannot hold it.
        """
        nodes = list(nodes)
        head = GraphHead(len(self._contents.graphs), name, tuple(inputs), tuple(outputs), len(nodes))
        self._contents.check_graph(head)
        body = codec.encode_graph(head)
        graph = self._contents.add_graph(self._append(Op.GRAPH, body, _GRAPH_COST), head)
        interned: dict[int, tuple[int, ...]] = {}  # by identity: what one line of a model makes shares its lines
        for index, node in enumerate(nodes):
            if not all(map(str.isascii, (node.id, node.name, node.op, node.path))):  # lone surrogates
                node = replace(node, id=text(node.id), name=text(node.name), op=text(node.op), path=text(node.path))
            source = interned.get(id(node.source))
            if source is None:
                source = interned[id(node.source)] = self._intern(node.source)
            stored = StoredNode(head.number, index, node, source)
            reads = self._contents.check_node(stored)
            offset = self._append(Op.NODE, codec.encode_node(stored), graph.cost(node, len(reads)))
            graph.add(offset, node, reads)
        check_outputs(head.outputs, graph)
        return head.number

    def _intern(self, source: Sequence[SourceLine]) -> tuple[int, ...]:
        if len(source) > limits.MAX_SOURCE_LINES:
            raise Unwritable(f"a node has {len(source)} source lines, the limit is {limits.MAX_SOURCE_LINES}")
        numbers = [self._lines.get(line, -1) for line in source]
        if -1 in numbers:
            new = [line for line in dict.fromkeys(source) if line not in self._lines]
            first = self._contents.lines
            self._contents.check_source(first, len(new))
            offset = self._append(Op.SOURCE, codec.encode_source(first, new), _SOURCE_COST)
            self._contents.add_source(offset, len(new))
            self._lines.update((line, first + place) for place, line in enumerate(new))
            numbers = [self._lines[line] for line in source]
        return tuple(numbers)

    def add_case(self, case: Case) -> int:
        """Write a case.

        Returns:
            Its number.

        Raises:
            DanglingReference: If it names a graph, a case, an input or an output that does not exist.
        """
        number = len(self._contents.cases)
        self._contents.check_case(number, case)
        offset = self._append(Op.CASE, codec.encode_case(number, case), _CASE_COST)
        self._contents.add_case(offset, case)
        return number

    def add_tensor(
        self,
        data: npt.NDArray[Any] | Buffer,
        dtype: str = "",
        digest: Callable[[], bytes] | None = None,
        sums: Callable[[], bytes] | None = None,
    ) -> bytes:
        """Write the bytes of a tensor, once for equal bytes.

        Args:
            data: An array, or its bytes: contiguous, little-endian.
            dtype: The format's name of its dtype; the bytes must be a multiple of an element.
            digest: Gives the SHA-256 of these bytes, if somebody is computing it already.
            sums: Gives their `checksums`, if somebody is computing them already.

        Returns:
            SHA-256 of the bytes: what `Value.tensor` is.
        """
        view = plain_bytes(data)
        if dtype and len(view) % item_size(dtype):
            raise Unwritable(f"{len(view)} bytes are no whole number of {dtype} elements")
        likeness = _likeness(view)
        digest = digest or self._hasher.begin(view)
        if likeness in self._seen and digest() in self._contents.tensors:
            return digest()
        record = layout(self._output.position, Op.TENSOR, len(view), 32 + 4 * block_count(len(view)))
        self._place(record, _TENSOR_COST, lambda: write_tensor(self._output, record, view, digest, sums))
        self._contents.tensors[digest()] = (record.offset, len(view), -1)
        self._seen.add(likeness)
        return digest()

    def has_tensor(self, digest: bytes) -> bool:
        """Whether the trace has the bytes of a tensor."""
        return digest in self._contents.tensors

    def add_weights(self, path: str | os.PathLike[str]) -> dict[str, bytes]:
        """Refer to the tensors of a .safetensors that lies in the trace's own folder.

        Returns:
            SHA-256 of each by name. A tensor of equal bytes is not written again.

        Raises:
            WeightsUnsafe: If the file is not in that folder, or a link.
        """
        place = Path(path)
        if not _same_folder(place.parent, self._folder):
            raise Unwritable(f"{place.name} must lie in the folder of the trace, {self._folder}")
        file = SafetensorsFile(self._folder, place.name)
        try:
            tensors = [self._weight(file, name) for name in file.entries]
        finally:
            file.close()
        weights = Weights(place.name, file.size, tuple(tensors))
        offset = self._append(Op.WEIGHTS, codec.encode_weights(weights), _TENSOR_COST * len(tensors))
        self._contents.add_weights(offset, weights)
        return {weight.name: weight.digest for weight in tensors}

    def _weight(self, file: SafetensorsFile, name: str) -> Weight:
        entry = file.entries[name]
        with memoryview(file.data) as whole, whole[entry.offset : entry.offset + entry.nbytes] as view:
            hashing = self._hasher.begin(view)
            try:
                sums = checksums(view)
                self._seen.add(_likeness(view))
            finally:
                digest = hashing()
        return Weight(name, entry.dtype, entry.shape, digest, entry.nbytes, sums)

    def add_value(self, case: int, ref: NodeRef | InputRef, value: Value) -> None:
        """Write a value of a case.

        Raises:
            DanglingReference: If there is no such case, node, output or input.
            DuplicateName: If it was written already.
            Unwritable: If its tensor was not written, or has another size than the value says.
        """
        stored = StoredValue(case, ref, value)
        key = self._contents.check_value(stored)
        if value.tensor is not None:
            known = self._contents.tensors.get(value.tensor)
            if known is None:
                raise Unwritable("a value of a tensor that was not written")
            size = value_bytes(value.dtype, value.shape, value.strides)
            if known[1] != size:
                raise Unwritable(f"{value.dtype} {list(value.shape)} is {size} bytes, its tensor has {known[1]}")
        self._contents.values[case][key] = self._append(Op.VALUE, encode_value(stored), VALUE_COST)

    def sync_early(self) -> None:
        """Let the disk begin with what was written, beside whatever comes next."""
        self._output.flush()
        self._output.sync_early()

    def add_note(self, text: str) -> None:
        """Write a note: something that whoever reads the trace should know."""
        self._contents.add_note(self._append(Op.NOTE, codec.encode_note(text), _NOTE_COST))

    # ------------------------------------------------------------ bytes

    def _append(self, opcode: Op, body: bytes, cost: int = 0) -> int:
        if len(body) > body_limit(opcode):
            raise Unwritable(f"a {op_name(opcode)} of {len(body)} bytes is above the limit of {body_limit(opcode)}")
        record = layout(self._output.position, opcode, 0, len(body))

        def write() -> bytes:
            self._output.write(record_bytes(record, body))
            return body

        self._place(record, cost, write)
        return record.offset

    def _place(self, record: Record, cost: int, write: Callable[[], bytes]) -> None:
        """Have a record written that makes the footer `cost` larger; if there is no room, finish the trace.

        Args:
            record: Where it comes.
            cost: Bytes.
            write: Writes it, and returns its body.
        """
        if self._closed:
            raise Unwritable("the trace is closed already")
        if self._max_bytes is not None and record.end + self._footer_cost + cost > self._max_bytes:
            self._stop(record.offset, f"it reached its largest size of {self._max_bytes} bytes", SizeLimit)
        try:
            self._output.hold(self._folder, self._footer_cost + cost)
            body = write()
        except OSError as error:
            if error.errno not in FULL:
                raise
            self._stop(record.offset, f"the disk is full ({error.strerror})", DiskFull)
        self._contents.hash(record, body)
        self._footer_cost += cost

    def _stop(self, position: int, why: str, kind: type[Stopped]) -> None:
        self._output.release()
        if not self._contents.graphs:
            self.abort()
            raise kind(f"there is no room for a trace in {self._folder}: {why}")
        try:
            self._output.cut(position)
            self._finish(f"writing stopped: {why}")
        except OSError as error:
            self.abort()
            raise kind(f"{why}, and what was written could not be finished: {error.strerror}") from error
        stopped = kind(f"{why}; {self.path.name} ends there and can be read")
        stopped.readable = True
        raise stopped

    def _finish(self, stopped: str) -> None:
        self._closed = True
        self._output.release()
        self._output.sync_early()
        summary = self._write_footer(self._contents.footer(stopped))
        self._output.write(trailer_bytes(summary))
        self._output.sync()
        self._output.close()
        self._hasher.close()
        os.chmod(self.temporary, 0o666 & ~_umask())
        os.replace(self.temporary, self.path)
        _sync_folder(self._folder)

    def _write_footer(self, footer: Footer) -> int:
        def table(opcode: Op, body: Buffer) -> int:
            offset = self._output.position
            self._output.write(pack_record(offset, opcode, bytes(body)))
            return offset

        summary = Summary(
            footer.content_id,
            footer.stopped,
            tuple((offset, table(Op.GRAPH_INDEX, body)) for offset, body in footer.graphs),
            tuple((offset, table(Op.VALUE_INDEX, body)) for offset, body in footer.cases),
            table(Op.TENSOR_INDEX, footer.tensors),
            table(Op.SOURCE_INDEX, footer.sources),
            footer.notes,
        )
        return table(Op.SUMMARY, codec.encode_summary(summary))

    def close(self) -> None:
        """Write the footer, wait for the disk, and give the file its name."""
        if not self._closed:
            try:
                self._finish("")
            except OSError as error:
                self.abort()
                kind = DiskFull if error.errno in FULL else CannotOpen
                raise kind(f"{self.path.name} could not be finished: {error.strerror}") from error

    def abort(self) -> None:
        """Leave nothing behind. Safe to call twice, and after `close`, which it does not undo."""
        self._closed = True
        self._hasher.close()
        self._output.close()
        with suppress(OSError):
            self.temporary.unlink()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        elif not self._closed:
            self.abort()


def _likeness(view: memoryview) -> tuple[int, int]:
    """Equal for equal tensors, and known at once: where it is new, nothing needs to wait for the SHA-256."""
    return len(view), crc32(view[:_LIKENESS_BYTES])


def _same_folder(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _sync_folder(folder: Path) -> None:
    # The new name is on the disk only when its folder is. Not every file system can do it.
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
