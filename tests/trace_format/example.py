"""The worked example of SPEC.md: the smallest trace, its bytes laid out and explained.

    python -m tests.trace_format.example

prints the block that SPEC.md holds; a test compares the two.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tests.trace_format.fuzz import records_of
from trace_format import Case, GraphInput, InputKind, InputRef, Node, TraceWriter, Value
from trace_format.records import HEADER, MAGIC, TRAILER, Op


def example_bytes() -> bytes:
    """One graph of one node, one case, one tensor of three numbers."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "example.trace")
        with TraceWriter(path) as writer:
            writer.add_graph("g", [GraphInput("x", InputKind.USER)], (), [node()])
            writer.add_case(Case("c", 0))
            digest = writer.add_tensor(np.array([1, 2, 3], np.int16), "int16")
            writer.add_value(0, InputRef(0), Value("int16", (3,), (1,), digest))
        return path.read_bytes()


def node() -> Node:
    """The example's node: relu of the input."""
    return Node("a/aten.relu.default#0", "relu", "aten.relu.default", "a", "", (InputRef(0),), (), 1)


def dump(data: bytes, start: int, stop: int, what: str) -> Iterator[str]:
    """Hex lines of a stretch; the first says what it is."""
    for at in range(start, stop, 16):
        line = data[at : min(at + 16, stop)].hex(" ")
        yield f"{at:06x}  {line:<47}  {what if at == start else ''}".rstrip()


def example_text() -> str:
    """The whole example."""
    data = example_bytes()
    lines = list(dump(data, 0, len(MAGIC), "magic, version 1"))
    for record in records_of(data):
        name = Op(record.opcode).name
        after = record.offset + HEADER.size
        lines += dump(data, record.offset, after, f"{name}: marker, opcode, bulk, body, CRC")
        if record.bulk_size:
            lines += dump(data, after, record.bulk, "  padding to 64")
            lines += dump(data, record.bulk, record.body, "  bulk: 1, 2, 3 as int16")
        if record.opcode < Op.GRAPH_INDEX:
            lines += dump(data, record.body, record.body + record.body_size, "  body")
        else:
            lines.append(f"   ...  ({record.body_size} bytes of body)")
        lines += dump(data, record.body + record.body_size, record.end, "  CRC of the body, padding to 8")
    lines += dump(data, len(data) - TRAILER.size, len(data), "trailer: summary, CRC, 0, magic")
    return "\n".join(lines)


if __name__ == "__main__":
    print(example_text())
