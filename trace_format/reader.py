"""Opening a trace: mapped, lazy, in time that does not depend on its size."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar, overload

import numpy.typing as npt

from trace_format import codec
from trace_format.errors import (
    DanglingReference,
    IndexInvalid,
    SizeMismatch,
    TensorMissing,
)
from trace_format.graph import Graph
from trace_format.index import GraphIndex, TensorIndex, ValueIndex, value_key
from trace_format.load import Loaded, load
from trace_format.model import Block, Case, InputRef, NodeRef, Provenance, SourceLine, Value
from trace_format.records import MAJOR, Op
from trace_format.storage import Stored, Tensors, check_size
from trace_format.tables import Tables
from trace_format.value_codec import decode_value

T = TypeVar("T")
_KEPT_VALUES = 8192
_KEPT_SOURCES = 256


def open_trace(path: str | os.PathLike[str]) -> Trace:
    """Open a trace or a run for reading. A context manager.

    Raises:
        TraceError: One of its named kinds.
    """
    return Trace(load(path))


class Trace:
    """An open trace. Everything is read when it is asked for; safe to use from several threads."""

    def __init__(self, loaded: Loaded) -> None:
        """See `open_trace`."""
        self._file = loaded.file
        self._footer = loaded.footer
        self._damage = loaded.damage
        self.complete = loaded.complete
        try:
            self.tensors = Tensors(self._file, TensorIndex(self._footer.tensors, self._file.size))
            self._cases = [self._read_case(number) for number in range(len(self._footer.cases))]
        except BaseException:
            self._file.close()
            raise
        self._made_graphs: dict[int, Graph] = {}
        self._value_indexes: dict[int, ValueIndex] = {}
        self._value = lru_cache(_KEPT_VALUES)(self._read_value)
        self._source_lines = lru_cache(_KEPT_SOURCES)(self._read_source)

    def _read_case(self, number: int) -> Case:
        offset, _ = self._footer.cases[number]
        if offset == 0:
            return Case(f"lost#{number}", 0, (), "its record is damaged")
        stored, case = codec.decode_case(self._file.body(offset, Op.CASE))
        if stored != number or case.graph >= len(self._footer.graphs):
            raise IndexInvalid(f"the summary says that another case is case {number}", offset)
        if any(source.case >= number for _, source in case.handed_on):
            raise DanglingReference(f"case {number} takes a value from a case that is not before it", offset)
        return case

    # ------------------------------------------------------------ what it is

    @property
    def path(self) -> Path:
        """Where the file is."""
        return self._file.path

    @property
    def kind(self) -> str:
        """Either "trace" or "run"."""
        return self._file.head.kind

    @property
    def version(self) -> str:
        """Version of the format, "major.minor"."""
        return f"{MAJOR}.{self._file.head.minor}"

    @property
    def content_id(self) -> str:
        """SHA-256 over the contents, hex: a run names its base by it."""
        return self._footer.content_id.hex()

    @property
    def base(self) -> str | None:
        """Of a run the content id of its trace."""
        return None if self._file.head.base is None else self._file.head.base.hex()

    @property
    def damage(self) -> tuple[str, ...]:
        """What is wrong with the file, or missing."""
        cut = tuple(
            f"graph {number} has {len(graph)} of {graph.nodes_meant} nodes"
            for number, graph in self._made_graphs.items()
            if len(graph) < graph.nodes_meant
        )
        return (*self._damage, *cut)

    @property
    def size_bytes(self) -> int:
        """Size of the file."""
        return self._file.size

    @property
    def provenance(self) -> Provenance:
        """Who made it, from what."""
        return self._file.head.provenance

    @cached_property
    def notes(self) -> tuple[str, ...]:
        """Notes."""
        return tuple(codec.decode_note(self._file.body(offset, Op.NOTE)) for offset in self._footer.notes)

    # ------------------------------------------------------------ graphs and cases

    @property
    def graphs(self) -> Sequence[Graph]:
        """The graphs; each is checked when it is first asked for."""
        return _Lazy(len(self._footer.graphs), self._graph)

    def _graph(self, number: int) -> Graph:
        graph = self._made_graphs.get(number)
        if graph is None:
            offset, body = self._footer.graphs[number]
            index = GraphIndex(body, self._file.size)
            if index.number != number or index.record != offset:
                raise IndexInvalid(f"the summary says that another graph is graph {number}", offset)
            graph = self._made_graphs[number] = Graph(self._file, index, self._source_line)
        return graph

    @property
    def cases(self) -> Sequence[Case]:
        """The cases."""
        return tuple(self._cases)

    @cached_property
    def _sources(self) -> list[tuple[int, int]]:
        table = Tables(self._footer.sources).column(0, "<u8")
        if len(table) % 2:
            raise IndexInvalid("the table of source lines is no table of pairs")
        return [(first, offset) for first, offset in table.reshape(-1, 2).tolist()]

    def _source_line(self, line: int) -> SourceLine | None:
        place = bisect_right(self._sources, line, key=lambda pair: pair[0]) - 1
        if place < 0:
            return None
        first, lines = self._source_lines(self._sources[place][1])
        return lines[line - first] if 0 <= line - first < len(lines) else None

    def _read_source(self, offset: int) -> tuple[int, tuple[SourceLine, ...]]:
        return codec.decode_source(self._file.body(offset, Op.SOURCE))

    # ------------------------------------------------------------ values

    def value(self, case: int, ref: NodeRef | InputRef) -> Value:
        """A value in a case. State that an earlier case hands on is looked up there.

        What was not recorded is a value without dtype, tensor and scalar, whose note says so.

        Raises:
            DanglingReference: If there is no such case, node, output or input.
        """
        if not 0 <= case < len(self._cases):
            raise DanglingReference(f"there is no case {case}: the trace has {len(self._cases)}")
        return self._value(case, ref)

    def _read_value(self, case: int, ref: NodeRef | InputRef) -> Value:
        while True:
            graph = self._graph(self._cases[case].graph)
            if not graph.has(ref):
                raise DanglingReference(f"there is no {ref} in case {case}")
            offset = self._values_of(case).find(value_key(ref))
            if offset is not None:
                return self._decode_value(offset, case, ref)
            handed = dict(self._cases[case].handed_on).get(ref.index) if isinstance(ref, InputRef) else None
            if handed is None:
                return Value("", (), note="not in the trace")
            case = handed.case  # an earlier one: this ends
            outputs = self._graph(self._cases[case].graph).outputs
            if handed.output >= len(outputs):
                raise DanglingReference(f"case {case} has no output {handed.output} to hand on")
            made = outputs[handed.output].value
            if made is None:
                return Value("", (), note="not in the trace: the output that hands it on is no value")
            ref = made

    def _values_of(self, case: int) -> ValueIndex:
        index = self._value_indexes.get(case)
        if index is None:
            index = self._value_indexes[case] = ValueIndex(self._footer.cases[case][1], self._file.size)
        return index

    def _decode_value(self, offset: int, case: int, ref: NodeRef | InputRef) -> Value:
        stored = decode_value(self._file.body(offset, Op.VALUE))
        if (stored.case, stored.ref) != (case, ref) or type(stored.ref) is not type(ref):
            raise IndexInvalid(f"the index says that another value is {ref} of case {case}", offset)
        if stored.value.tensor is not None:
            nbytes = self.tensors.size(stored.value.tensor)
            if nbytes is not None:
                check_size(stored.value.dtype, stored.value.shape, nbytes)
        return stored.value

    def _stored(self, value: Value) -> tuple[Stored, int]:
        if value.tensor is None:
            raise TensorMissing(f"the value has no tensor{': ' + value.note if value.note else ''}")
        stored = self.tensors.stored(value.tensor)
        return stored, check_size(value.dtype, value.shape, stored.nbytes)

    def array(self, value: Value) -> npt.NDArray[Any]:
        """The whole tensor of a value, read-only, without a copy. Its blocks are checked once.

        Raises:
            TensorMissing, SizeMismatch, BlockDamaged, Weights...: If it cannot be had.
        """
        stored, count = self._stored(value)
        flat = stored.elements(value.dtype, 0, count)
        try:
            return flat.reshape(value.shape)
        except ValueError as error:
            raise SizeMismatch(f"no array of shape {list(value.shape)} can be made: {error}") from None

    def window(self, value: Value, start: int, count: int) -> npt.NDArray[Any]:
        """Elements [start, start + count) of the flat tensor, as far as there are.

        Only the blocks that they lie in are read and checked.
        """
        stored, total = self._stored(value)
        first = min(max(start, 0), total)
        return stored.elements(value.dtype, first, max(0, min(start + count, total) - first))

    def block(self, value: Value) -> Block | None:
        """Where the bytes are, checked, for another process to map; None if there are none."""
        if value.tensor is None:
            return None
        return self._stored(value)[0].block()

    def check_unchanged(self) -> None:
        """See that what is open is still the file of that name, and whole.

        Raises:
            FileChanged: If it was cut, removed or replaced.
        """
        self._file.check_unchanged()

    # ------------------------------------------------------------ end

    def close(self) -> None:
        """Unmap the file. Arrays that were handed out stay valid."""
        self.tensors.close()
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Lazy(Sequence[T]):
    """A sequence whose items are made when they are asked for."""

    def __init__(self, length: int, make: Callable[[int], T]) -> None:
        self._length = length
        self._make = make

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, item: int) -> T: ...
    @overload
    def __getitem__(self, item: slice) -> Sequence[T]: ...
    def __getitem__(self, item: int | slice) -> T | Sequence[T]:
        if isinstance(item, slice):
            return [self._make(place) for place in range(self._length)[item]]
        return self._make(range(self._length)[item])

    def __iter__(self) -> Iterator[T]:
        return (self._make(place) for place in range(self._length))
