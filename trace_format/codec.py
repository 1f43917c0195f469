"""The bodies of records: msgpack, to and from the classes of `trace_format.model`.

Decoding takes nothing for granted: every field's type, range and length is checked. Bodies are
arrays; a later minor version may append items, which are ignored here.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple, TypeVar

from trace_format import limits
from trace_format.dtypes import item_size
from trace_format.errors import LimitExceeded, Malformed
from trace_format.model import (
    Case,
    FromCase,
    GraphInput,
    GraphOutput,
    InputKind,
    InputRef,
    Node,
    NodeRef,
    OutputKind,
    Provenance,
    SourceLine,
)
from trace_format.wire import (
    WIDE_ARRAY,
    Fields,
    decode_argument,
    encode_argument,
    pack,
    strings,
    text,
    unpack,
)

T = TypeVar("T")

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
    f = Fields(unpack(body))
    kind = f.text()
    if kind not in ("trace", "run"):
        raise Malformed("neither a trace nor a run")
    minor, base = f.integer(0, 1 << 16), f.optional_digest()
    p = Fields(f.any())
    created, command, versions, model_file, model_sha256 = p.text(), p.text(), p.pairs(), p.text(), p.text()
    seed = p.any()
    if seed is not None and type(seed) is not int:
        raise Malformed("the seed is not an integer")
    dtype, device, options = p.text(), p.text(), p.pairs()
    notes = tuple(strings(p.list(limits.MAX_ARGUMENT_ITEMS)))
    return Head(
        kind, minor, base,
        Provenance(created, command, versions, model_file, model_sha256, seed, dtype, device, options, notes),
    )  # fmt: skip


def encode_note(note: str) -> bytes:
    """Body of a note."""
    return pack([text(note)])


def decode_note(body: bytes) -> str:
    """Inverse of `encode_note`."""
    return Fields(unpack(body)).text()


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
    f = Fields(unpack(body, wide=True))
    return GraphHead(
        f.integer(0, limits.MAX_GRAPHS - 1),
        f.text(),
        f.each(limits.MAX_INPUTS, lambda i: GraphInput(i.text(), _enum(InputKind, i.text()), i.text())),
        f.each(limits.MAX_OUTPUTS, _decode_output),
        f.integer(0, limits.MAX_NODES),
    )


def _decode_output(f: Fields) -> GraphOutput:
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
    f = Fields(unpack(body))
    graph, index = f.integer(0, limits.MAX_GRAPHS - 1), f.integer(0, limits.MAX_NODES - 1)
    identity, name, op, path, module_type = f.texts(5)
    args = tuple(decode_argument(item, 1) for item in f.list(limits.MAX_ARGUMENT_ITEMS))
    kwargs = f.each(limits.MAX_ARGUMENT_ITEMS, lambda k: (k.text(), decode_argument(k.any())))
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
    f = Fields(unpack(body, wide=True))
    first = f.integer(0, limits.MAX_INTERNED_LINES)
    return first, f.each(WIDE_ARRAY, lambda s: SourceLine(s.text(), s.integer(-(1 << 31), 1 << 31), s.text(), s.text()))


# ---------------------------------------------------------------- cases, and sizes of values


def encode_case(number: int, case: Case) -> bytes:
    """Body of a case record."""
    handed = [[index, source.case, source.output] for index, source in case.handed_on]
    return pack([number, text(case.name), case.graph, handed, text(case.note)])


def decode_case(body: bytes) -> tuple[int, Case]:
    """Inverse of `encode_case`."""
    f = Fields(unpack(body, wide=True))
    number, name, graph = f.integer(0, limits.MAX_CASES - 1), f.text(), f.integer(0, limits.MAX_GRAPHS - 1)
    handed = f.each(limits.MAX_INPUTS, _decode_handed)
    return number, Case(name, graph, handed, f.text())


def _decode_handed(f: Fields) -> tuple[int, FromCase]:
    return f.integer(0, limits.MAX_INPUTS - 1), FromCase(
        f.integer(0, limits.MAX_CASES - 1), f.integer(0, limits.MAX_OUTPUTS - 1)
    )


def element_count(shape: tuple[int, ...]) -> int:
    """Product of the sizes.

    Raises:
        LimitExceeded: If it is above the format's limit; the sizes besides a 0 count too.
    """
    if math.prod(filter(None, shape)) > limits.MAX_ELEMENTS:
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
    f = Fields(unpack(body, wide=True))
    return Weights(f.text(), f.integer(0, limits.MAX_TENSOR_BYTES), f.each(limits.MAX_WEIGHTS, _decode_weight))


def _decode_weight(f: Fields) -> Weight:
    weight = Weight(
        f.text(), f.text(), f.integers(limits.MAX_RANK, 0, limits.MAX_ELEMENTS), f.digest(),
        f.integer(0, limits.MAX_TENSOR_BYTES), f.raw(),
    )  # fmt: skip
    if element_count(weight.shape) * item_size(weight.dtype) != weight.nbytes:
        raise Malformed("dtype and shape of a weight do not make its bytes")
    if len(weight.checksums) != 4 * -(-weight.nbytes // limits.BLOCK):
        raise Malformed("a weight has another number of checksums than blocks")
    return weight


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
    f = Fields(unpack(body, wide=True))
    return Summary(
        f.digest(),
        f.text(),
        f.each(limits.MAX_GRAPHS, _decode_offsets),
        f.each(limits.MAX_CASES, _decode_offsets),
        f.integer(0, limits.MAX_TENSOR_BYTES),
        f.integer(0, limits.MAX_TENSOR_BYTES),
        f.integers(limits.MAX_NOTES, 0, limits.MAX_TENSOR_BYTES),
    )


def _decode_offsets(f: Fields) -> tuple[int, int]:
    return f.integer(0, limits.MAX_TENSOR_BYTES), f.integer(0, limits.MAX_TENSOR_BYTES)
