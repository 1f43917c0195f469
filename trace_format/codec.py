"""The bodies of records: msgpack, to and from the classes of `trace_format.model`.

Decoding takes nothing for granted: every field's type, range and length is checked. Bodies are
arrays; a later minor version may append items, which are ignored here.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, NoReturn, TypeVar

import msgpack

from trace_format import limits
from trace_format.dtypes import item_size
from trace_format.errors import LimitExceeded, Malformed, Unwritable
from trace_format.model import (
    Argument,
    Case,
    Floor,
    FromCase,
    GraphInput,
    GraphOutput,
    InputKind,
    InputRef,
    Named,
    Node,
    NodeRef,
    OutputKind,
    Provenance,
    RunOutput,
    RunRecord,
    SourceLine,
    Value,
)

T = TypeVar("T")
_NODE_REF = struct.Struct("<II")
_INPUT_REF = struct.Struct("<I")
_COMPLEX = struct.Struct("<dd")
_EXT_NODE, _EXT_INPUT, _EXT_NAMED, _EXT_COMPLEX = 1, 2, 3, 4
_WIDE_ARRAY = 1 << 20  # of the records that list things: graphs, weights, the summary


# ---------------------------------------------------------------- msgpack, within limits


def pack(structure: object) -> bytes:
    """One msgpack object.

    Raises:
        Unwritable: For what msgpack cannot hold.
    """
    try:
        return bytes(msgpack.packb(structure, unicode_errors="backslashreplace"))
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise Unwritable(f"cannot be stored: {error}") from None


def unpack(body: bytes, *, wide: bool = False) -> list[Any]:
    """The array that a body is.

    Args:
        body: Bytes of the whole body.
        wide: Whether long arrays are to be expected.

    Raises:
        Malformed: If it is anything else, or nested too deeply.
    """
    longest = min(len(body), _WIDE_ARRAY if wide else limits.MAX_ARGUMENT_ITEMS)
    try:
        structure = msgpack.unpackb(
            body,
            use_list=True,
            ext_hook=_decode_ext,
            max_str_len=limits.MAX_STRING,
            max_bin_len=limits.MAX_RECORD_BODY if wide else limits.MAX_STRING,
            max_array_len=longest,
            max_map_len=0,
            max_ext_len=limits.MAX_STRING,
        )
    except Malformed:
        raise
    except (ValueError, TypeError, OverflowError, RecursionError, struct.error, msgpack.UnpackException) as error:
        raise Malformed(f"not the msgpack that the format asks for: {error}"[:300]) from None
    if type(structure) is not list:
        raise Malformed("the body of a record is not an array")
    return structure


def _decode_ext(code: int, data: bytes) -> Argument:
    if code == _EXT_NODE:
        return NodeRef(*_NODE_REF.unpack(data))
    if code == _EXT_INPUT:
        return InputRef(*_INPUT_REF.unpack(data))
    if code == _EXT_NAMED:
        kind, separator, name = data.decode().partition("\0")
        if not separator:
            raise Malformed("a named constant without a kind")
        return Named(kind, name)
    if code == _EXT_COMPLEX:
        return complex(*_COMPLEX.unpack(data))
    raise Malformed(f"unknown extension type {code}")


class _Fields:
    """Takes the items of a body one after the other, checked."""

    def __init__(self, items: object) -> None:
        if type(items) is not list:
            self._wrong("an array is missing")
        self._items: list[Any] = items
        self._next = 0

    def _wrong(self, what: str) -> NoReturn:
        raise Malformed(what)

    def any(self) -> Any:
        if self._next >= len(self._items):
            self._wrong("a record has too few fields")
        self._next += 1
        return self._items[self._next - 1]

    def text(self) -> str:
        item = self.any()
        return item if type(item) is str else self._wrong("a string is missing")

    def integer(self, least: int, most: int) -> int:
        item = self.any()
        if type(item) is not int:
            self._wrong("an integer is missing")
        if not least <= item <= most:
            raise LimitExceeded(f"{item} is not within {least} and {most}")
        return item

    def real(self) -> float:
        item = self.any()
        return float(item) if type(item) in (float, int) else self._wrong("a number is missing")

    def digest(self) -> bytes:
        item = self.any()
        return item if type(item) is bytes and len(item) == 32 else self._wrong("a SHA-256 is missing")

    def optional_digest(self) -> bytes | None:
        item = self.any()
        if item is None:
            return None
        return item if type(item) is bytes and len(item) == 32 else self._wrong("a SHA-256 is missing")

    def raw(self) -> bytes:
        item = self.any()
        return item if type(item) is bytes else self._wrong("bytes are missing")

    def flag(self) -> bool | None:
        item = self.any()
        return item if item is None or type(item) is bool else self._wrong("a boolean is missing")

    def list(self, limit: int) -> list[Any]:
        item = self.any()
        if type(item) is not list:
            self._wrong("a list is missing")
        if len(item) > limit:
            raise LimitExceeded(f"a list has {len(item)} items, the limit is {limit}")
        return item

    def each(self, limit: int, read: Callable[[_Fields], T]) -> tuple[T, ...]:
        """A list of lists."""
        return tuple(read(_Fields(item)) for item in self.list(limit))

    def integers(self, limit: int, least: int, most: int) -> tuple[int, ...]:
        fields = _Fields(self.list(limit))
        return tuple(fields.integer(least, most) for _ in fields._items)

    def pairs(self) -> tuple[tuple[str, str], ...]:
        return self.each(limits.MAX_ARGUMENT_ITEMS, lambda f: (f.text(), f.text()))


# ---------------------------------------------------------------- arguments


def encode_argument(argument: object, depth: int = 0) -> object:
    """An argument for msgpack.

    Raises:
        Unwritable: For a type or a depth that the format does not have.
    """
    if argument is None or isinstance(argument, bool):
        return argument
    if isinstance(argument, NodeRef):
        return msgpack.ExtType(_EXT_NODE, _pack_ref(_NODE_REF, *argument))
    if isinstance(argument, InputRef):
        return msgpack.ExtType(_EXT_INPUT, _pack_ref(_INPUT_REF, *argument))
    if isinstance(argument, Named):
        if "\0" in argument.kind:
            raise Unwritable("the kind of a named constant has a zero character in it")
        name = text(argument.kind) + "\0" + text(argument.name)
        return msgpack.ExtType(_EXT_NAMED, name.encode(errors="backslashreplace"))
    if isinstance(argument, str):
        return text(argument)
    if isinstance(argument, int):
        return int(argument)
    if isinstance(argument, float):
        return float(argument)
    if isinstance(argument, complex):
        return msgpack.ExtType(_EXT_COMPLEX, _COMPLEX.pack(argument.real, argument.imag))
    if isinstance(argument, tuple | list):
        if depth >= limits.MAX_ARGUMENT_DEPTH or len(argument) > limits.MAX_ARGUMENT_ITEMS:
            raise Unwritable("an argument is a list too deep or too long for the format")
        return [encode_argument(item, depth + 1) for item in argument]
    raise Unwritable(f"an argument of type {type(argument).__name__} cannot be stored")


def _pack_ref(layout: struct.Struct, *numbers: int) -> bytes:
    try:
        return layout.pack(*numbers)
    except struct.error:
        raise Unwritable(f"a reference {numbers} is out of range") from None


def _decode_argument(item: Any, depth: int = 0) -> Argument:
    if type(item) is list:
        if depth >= limits.MAX_ARGUMENT_DEPTH:
            raise LimitExceeded(f"an argument is nested deeper than {limits.MAX_ARGUMENT_DEPTH}")
        return tuple(_decode_argument(part, depth + 1) for part in item)
    if type(item) is bytes:
        raise Malformed("an argument is bytes")
    return item  # type: ignore[no-any-return]


def references(argument: Argument) -> Iterator[NodeRef | InputRef]:
    """Every reference within an argument, in order."""
    if isinstance(argument, NodeRef | InputRef):
        yield argument
    elif type(argument) is tuple:
        for item in argument:
            yield from references(item)


def shortened(string: str) -> str:
    """The string, or as much of it as can be stored: messages of compilers know no limit."""
    encoded = string.encode(errors="backslashreplace")
    if len(encoded) <= limits.MAX_STRING:
        return string
    return encoded[: limits.MAX_STRING - 64].decode(errors="ignore") + f"\n… (cut: {len(encoded)} bytes in all)"


def text(string: str) -> str:
    """The string, if it is short enough to be stored.

    Raises:
        Unwritable: If it is not.
    """
    if len(string) * 4 > limits.MAX_STRING and len(string.encode(errors="backslashreplace")) > limits.MAX_STRING:
        raise Unwritable(f"a string of {len(string)} characters is above the limit of {limits.MAX_STRING} bytes")
    return str(string)


# ---------------------------------------------------------------- header, notes


class Head(NamedTuple):
    """The first record: `base` is the content id of the trace that a run belongs to."""

    kind: str
    minor: int
    base: bytes | None
    provenance: Provenance


def encode_head(head: Head) -> bytes:
    """Body of the header record."""
    p = head.provenance
    made = [
        text(p.created), text(p.command), [[text(a), text(b)] for a, b in p.versions], text(p.model_file),
        text(p.model_sha256), p.seed, text(p.dtype), text(p.device), [[text(a), text(b)] for a, b in p.export_options],
        [text(note) for note in p.notes],
    ]  # fmt: skip
    return pack([head.kind, head.minor, head.base, made])


def decode_head(body: bytes) -> Head:
    """Inverse of `encode_head`."""
    f = _Fields(unpack(body))
    kind = f.text()
    if kind not in ("trace", "run"):
        raise Malformed("neither a trace nor a run")
    minor, base = f.integer(0, 1 << 16), f.optional_digest()
    p = _Fields(f.any())
    created, command, versions, model_file, model_sha256 = p.text(), p.text(), p.pairs(), p.text(), p.text()
    seed = p.any()
    if seed is not None and type(seed) is not int:
        raise Malformed("the seed is not an integer")
    dtype, device, options = p.text(), p.text(), p.pairs()
    notes = _texts(p.list(limits.MAX_ARGUMENT_ITEMS))
    return Head(
        kind, minor, base,
        Provenance(created, command, versions, model_file, model_sha256, seed, dtype, device, options, notes),
    )  # fmt: skip


def _texts(items: list[Any]) -> tuple[str, ...]:
    fields = _Fields(items)
    return tuple(fields.text() for _ in items)


def encode_note(note: str) -> bytes:
    """Body of a note."""
    return pack([text(note)])


def decode_note(body: bytes) -> str:
    """Inverse of `encode_note`."""
    return _Fields(unpack(body)).text()


# ---------------------------------------------------------------- graphs and nodes


class GraphHead(NamedTuple):
    """What is known of a graph before its nodes: `nodes` is how many were meant to follow."""

    number: int
    name: str
    inputs: tuple[GraphInput, ...]
    outputs: tuple[GraphOutput, ...]
    nodes: int


def encode_graph(graph: GraphHead) -> bytes:
    """Body of a graph record."""
    return pack([
        graph.number,
        text(graph.name),
        [[text(i.name), str(i.kind), text(i.target)] for i in graph.inputs],
        [[text(o.name), str(o.kind), encode_argument(o.value), text(o.target)] for o in graph.outputs],
        graph.nodes,
    ])  # fmt: skip


def decode_graph(body: bytes) -> GraphHead:
    """Inverse of `encode_graph`."""
    f = _Fields(unpack(body, wide=True))
    return GraphHead(
        f.integer(0, limits.MAX_GRAPHS - 1),
        f.text(),
        f.each(limits.MAX_INPUTS, lambda i: GraphInput(i.text(), _enum(InputKind, i.text()), i.text())),
        f.each(limits.MAX_OUTPUTS, _decode_output),
        f.integer(0, limits.MAX_NODES),
    )


def _decode_output(f: _Fields) -> GraphOutput:
    name, kind, value = f.text(), _enum(OutputKind, f.text()), f.any()
    if value is not None and type(value) not in (NodeRef, InputRef):
        raise Malformed("a graph output is no reference")
    return GraphOutput(name, kind, value, f.text())


def _enum(kind: Callable[[str], T], name: str) -> T:
    try:
        return kind(name)
    except ValueError:
        raise Malformed("an input or output of an unknown kind") from None


class StoredNode(NamedTuple):
    """A node with its place, and its source lines by number."""

    graph: int
    index: int  # type: ignore[assignment]  # hides tuple.index, which nobody wants here
    node: Node
    source: tuple[int, ...]


def encode_node(stored: StoredNode) -> bytes:
    """Body of a node record."""
    n = stored.node
    return pack([
        stored.graph, stored.index, text(n.id), text(n.name), text(n.op), text(n.path), text(n.module_type),
        encode_argument(tuple(n.args)), [[text(k), encode_argument(v)] for k, v in n.kwargs],
        n.outputs, list(stored.source), text(n.note),
    ])  # fmt: skip


def decode_node(body: bytes) -> StoredNode:
    """Inverse of `encode_node`."""
    f = _Fields(unpack(body))
    graph, index = f.integer(0, limits.MAX_GRAPHS - 1), f.integer(0, limits.MAX_NODES - 1)
    identity, name, op, path, module_type = f.text(), f.text(), f.text(), f.text(), f.text()
    args = tuple(_decode_argument(item, 1) for item in f.list(limits.MAX_ARGUMENT_ITEMS))
    kwargs = f.each(limits.MAX_ARGUMENT_ITEMS, lambda k: (k.text(), _decode_argument(k.any())))
    outputs = f.integer(0, limits.MAX_OUTPUTS)
    source = f.integers(limits.MAX_SOURCE_LINES, 0, limits.MAX_INTERNED_LINES)
    return StoredNode(
        graph, index, Node(identity, name, op, path, module_type, args, kwargs, outputs, (), f.text()), source
    )


def encode_source(first: int, lines: list[SourceLine]) -> bytes:
    """Body of a source record: lines number `first` and following."""
    return pack([first, [[text(s.file), s.line, text(s.function), text(s.text)] for s in lines]])


def decode_source(body: bytes) -> tuple[int, tuple[SourceLine, ...]]:
    """Inverse of `encode_source`."""
    f = _Fields(unpack(body, wide=True))
    first = f.integer(0, limits.MAX_INTERNED_LINES)
    return first, f.each(
        _WIDE_ARRAY, lambda s: SourceLine(s.text(), s.integer(-(1 << 31), 1 << 31), s.text(), s.text())
    )


# ---------------------------------------------------------------- cases and values


def encode_case(number: int, case: Case) -> bytes:
    """Body of a case record."""
    handed = [[index, source.case, source.output] for index, source in case.handed_on]
    return pack([number, text(case.name), case.graph, handed, text(case.note)])


def decode_case(body: bytes) -> tuple[int, Case]:
    """Inverse of `encode_case`."""
    f = _Fields(unpack(body, wide=True))
    number, name, graph = f.integer(0, limits.MAX_CASES - 1), f.text(), f.integer(0, limits.MAX_GRAPHS - 1)
    handed = f.each(limits.MAX_INPUTS, _decode_handed)
    return number, Case(name, graph, handed, f.text())


def _decode_handed(f: _Fields) -> tuple[int, FromCase]:
    return f.integer(0, limits.MAX_INPUTS - 1), FromCase(
        f.integer(0, limits.MAX_CASES - 1), f.integer(0, limits.MAX_OUTPUTS - 1)
    )


class StoredValue(NamedTuple):
    """A value with its place."""

    case: int
    ref: NodeRef | InputRef
    value: Value


def encode_value(stored: StoredValue) -> bytes:
    """Body of a value record."""
    v = stored.value
    return pack([
        stored.case, encode_argument(stored.ref), text(v.dtype), list(v.shape), list(v.strides), v.tensor,
        encode_argument(v.scalar), v.reproducible, _encode_floor(v.isolated), _encode_floor(v.chained), text(v.note),
    ])  # fmt: skip


def _encode_floor(floor: Floor | None) -> object:
    return None if floor is None else [float(floor.max_abs), float(floor.rms), text(floor.origin)]


def decode_value(body: bytes) -> StoredValue:
    """Inverse of `encode_value`."""
    f = _Fields(unpack(body))
    case, ref = f.integer(0, limits.MAX_CASES - 1), f.any()
    if type(ref) not in (NodeRef, InputRef):
        raise Malformed("a value of nothing")
    dtype, shape = f.text(), f.integers(limits.MAX_RANK, 0, limits.MAX_ELEMENTS)
    strides = f.integers(limits.MAX_RANK, -limits.MAX_TENSOR_BYTES, limits.MAX_TENSOR_BYTES)
    tensor, scalar, reproducible = f.optional_digest(), f.any(), f.flag()
    if scalar is not None and type(scalar) not in (int, float, bool, str):
        raise Malformed("a scalar that is none")
    isolated, chained = _decode_floor(f.any()), _decode_floor(f.any())
    if dtype:
        item_size(dtype)
    elif tensor is not None:
        raise Malformed("a tensor without a dtype")
    element_count(shape)
    return StoredValue(
        case, ref, Value(dtype, shape, strides, tensor, scalar, reproducible, isolated, chained, f.text())
    )


def _decode_floor(item: Any) -> Floor | None:
    if item is None:
        return None
    f = _Fields(item)
    return Floor(f.real(), f.real(), f.text())


def element_count(shape: tuple[int, ...]) -> int:
    """Product of the sizes.

    Raises:
        LimitExceeded: If it is above the format's limit; the sizes besides a 0 count too.
    """
    if math.prod(size for size in shape if size) > limits.MAX_ELEMENTS:
        raise LimitExceeded(f"a value has more than {limits.MAX_ELEMENTS} elements: {list(shape)}"[:300])
    return math.prod(shape)


# ---------------------------------------------------------------- weights


class Weight(NamedTuple):
    """One tensor of a .safetensors: CRC-32 of every block of it, little-endian."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    digest: bytes
    nbytes: int
    checksums: bytes


class Weights(NamedTuple):
    """A .safetensors beside the trace."""

    file: str
    size: int
    tensors: tuple[Weight, ...]


def encode_weights(weights: Weights) -> bytes:
    """Body of a weights record."""
    return pack([text(weights.file), weights.size, [[text(w.name), *w[1:]] for w in weights.tensors]])


def decode_weights(body: bytes) -> Weights:
    """Inverse of `encode_weights`."""
    f = _Fields(unpack(body, wide=True))
    return Weights(f.text(), f.integer(0, limits.MAX_TENSOR_BYTES), f.each(limits.MAX_WEIGHTS, _decode_weight))


def _decode_weight(f: _Fields) -> Weight:
    weight = Weight(
        f.text(), f.text(), f.integers(limits.MAX_RANK, 0, limits.MAX_ELEMENTS), f.digest(),
        f.integer(0, limits.MAX_TENSOR_BYTES), f.raw(),
    )  # fmt: skip
    if element_count(weight.shape) * item_size(weight.dtype) != weight.nbytes:
        raise Malformed("dtype and shape of a weight do not make its bytes")
    if len(weight.checksums) != 4 * -(-weight.nbytes // limits.BLOCK):
        raise Malformed("a weight has another number of checksums than blocks")
    return weight


# ---------------------------------------------------------------- runs


def encode_result(r: RunRecord) -> bytes:
    """Body of a result record."""
    outputs = [[text(o.dtype), list(o.shape), o.digest] for o in r.outputs]
    return pack([
        text(r.key), text(r.node), text(r.case), text(r.backend), text(r.kernel), [text(i) for i in r.inputs],
        outputs, text(r.status), text(r.stage), shortened(r.reason), shortened(r.detail), float(r.ms),
    ])  # fmt: skip


def decode_result(body: bytes) -> RunRecord:
    """Inverse of `encode_result`."""
    f = _Fields(unpack(body))
    key, node, case, backend, kernel = f.text(), f.text(), f.text(), f.text(), f.text()
    inputs = _texts(f.list(limits.MAX_ARGUMENT_ITEMS))
    outputs = f.each(limits.MAX_OUTPUTS, _decode_run_output)
    return RunRecord(
        key, node, case, backend, kernel, inputs, outputs, f.text(), f.text(), f.text(), f.text(), f.real()
    )


def _decode_run_output(f: _Fields) -> RunOutput:
    dtype, shape = f.text(), f.integers(limits.MAX_RANK, 0, limits.MAX_ELEMENTS)
    if dtype:
        item_size(dtype)
    element_count(shape)
    return RunOutput(dtype, shape, f.optional_digest())


# ---------------------------------------------------------------- summary


class Summary(NamedTuple):
    """Where everything is: offsets of records. `stopped` says why the writer ended early, or ""."""

    content_id: bytes
    stopped: str
    graphs: tuple[tuple[int, int], ...]  # graph record, its index
    cases: tuple[tuple[int, int], ...]  # case record, its index
    tensors: int
    sources: int
    notes: tuple[int, ...]


def encode_summary(summary: Summary) -> bytes:
    """Body of the summary record."""
    return pack(list(summary))


def decode_summary(body: bytes) -> Summary:
    """Inverse of `encode_summary`."""
    f = _Fields(unpack(body, wide=True))
    return Summary(
        f.digest(),
        f.text(),
        f.each(limits.MAX_GRAPHS, _decode_offsets),
        f.each(limits.MAX_CASES, _decode_offsets),
        f.integer(0, limits.MAX_TENSOR_BYTES),
        f.integer(0, limits.MAX_TENSOR_BYTES),
        f.integers(limits.MAX_NOTES, 0, limits.MAX_TENSOR_BYTES),
    )


def _decode_offsets(f: _Fields) -> tuple[int, int]:
    return f.integer(0, limits.MAX_TENSOR_BYTES), f.integer(0, limits.MAX_TENSOR_BYTES)
