"""Traces for the tests of the format: small, and with everything in them."""

from __future__ import annotations

import json
from pathlib import Path

import ml_dtypes
import numpy as np

from trace_format import (
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
    SourceLine,
    Trace,
    TraceWriter,
    Value,
)

LINES = (SourceLine("model.py", 12, "forward", "return self.o_proj(x)"), SourceLine("model.py", 40, "call", "y = f(x)"))
PROVENANCE = Provenance(
    "2026-01-02T03:04:05Z", "tapml-tui carve m.py:build", (("torch", "2.13.0"),), "m.py", "ab" * 32, 7, "float32", "cpu"
)
HOSTILE = "\x1b[31m[/bold]\u202eevil\nname"


def small_nodes() -> tuple[Node, ...]:
    """Seven nodes with every kind of argument, several outputs, and hostile names."""
    return (
        Node("/aten.mm.default#0", "mm", "aten.mm.default", "", "T", (InputRef(0), InputRef(1)), (), 1),
        Node(
            "layers.0/aten.split.Tensor#0", "split", "aten.split.Tensor", "layers.0", "L",
            (NodeRef(0), (1, 2, -3), None, True, 1.5, 2 - 1j, "text"), (("dtype", Named("dtype", "half")),), 3, LINES,
        ),
        Node("layers.0.q/aten.linear.default#0", "q", "aten.linear.default", "layers.0.q", "", (NodeRef(1, 2),), (), 1),
        Node(
            "layers.0.attn/aten.cat.default#0", "cat", "aten.cat.default", "layers.0.attn", "A",
            ((NodeRef(1, 0), NodeRef(1, 1), InputRef(0)), 0), (), 1, LINES[:1],
        ),
        Node("layers.0.attn/aten.cat.default#1", "cat_1", "aten.cat.default", "layers.0.attn", "A", ((),), (), 1),
        Node(HOSTILE, HOSTILE, "aten.add.Tensor", "layers.1", HOSTILE, (NodeRef(4), float("inf")), (), 1, (), HOSTILE),
        Node("head/aten.linear.default#0", "head", "aten.linear.default", "head", "H", (NodeRef(5),), (), 1),
    )  # fmt: skip


INPUTS = (GraphInput("ids", InputKind.USER), GraphInput("w", InputKind.PARAMETER, "embed.weight"))
OUTPUTS = (
    GraphOutput("logits", OutputKind.USER, NodeRef(6)),
    GraphOutput("cache", OutputKind.STATE, NodeRef(3), "cache"),
    GraphOutput("none", OutputKind.USER, None),
)


def small_trace(path: Path) -> Path:
    """A trace under 8 KiB with two graphs, three cases, handed-on state, scalars, notes."""
    with TraceWriter(path, PROVENANCE) as writer:
        writer.add_graph("model", INPUTS, OUTPUTS, small_nodes())
        writer.add_graph("empty", (), (), ())
        writer.add_case(Case("hello", 0, note="the first"))
        writer.add_case(Case("again", 0, ((0, FromCase(0, 1)),)))
        writer.add_case(Case("nothing", 1))
        ids = writer.add_tensor(np.arange(3), "int64")
        half = np.linspace(-1, 1, 6).astype(ml_dtypes.bfloat16)
        weights = writer.add_tensor(half, "bfloat16")
        writer.add_value(0, InputRef(0), Value("int64", (3,), (1,), ids))
        writer.add_value(0, InputRef(1), Value("bfloat16", (2, 3), (3, 1), weights))
        writer.add_value(1, InputRef(1), Value("bfloat16", (2, 3), (3, 1), weights))
        floor = Floor(1e-7, 1e-8, ulps=1.5, excess=2e-8)
        for node in (0, 2, 3, 6):
            digest = writer.add_tensor(np.full((2, 2), node, np.float32), "float32")
            exact = Floor(0.0, 0.0, "exact", 0.0)
            value = Value(
                "float32", (2, 2), (2, 1), digest, None, True, floor, exact, peak=float(node), rms=float(node)
            )
            writer.add_value(0, NodeRef(node), value)
        writer.add_value(0, NodeRef(1, 0), Value("", (), scalar=2**40))
        writer.add_value(0, NodeRef(1, 2), Value("float32", (0, 4), (4, 1), writer.add_tensor(b""), rms=0.0))
        writer.add_value(0, NodeRef(4), Value("float32", (5,), note="was not recorded"))
        writer.add_note("a note")
    return path


def everything(trace: Trace) -> dict[str, object]:
    """All that a trace says, as plain comparable data."""
    graphs = []
    for graph in trace.graphs:
        indptr, nodes, outputs = graph.producers
        graphs.append(
            (
                graph.name,
                graph.inputs,
                graph.outputs,
                [graph.node(node) for node in range(len(graph))],
                [(graph.op(n), graph.node_id(n), graph.path(n), graph.node_name(n)) for n in range(len(graph))],
                [graph.find_id(graph.node_id(node)) for node in range(len(graph))],
                [(*graph.outline[entry].tolist(), graph.outline_label(entry)) for entry in range(len(graph.outline))],
                (indptr.tolist(), nodes.tolist(), outputs.tolist()),
            )
        )
    values = {}
    for number, case in enumerate(trace.cases):
        graph = trace.graphs[case.graph]
        refs = [InputRef(i) for i in range(len(graph.inputs))]
        refs += [NodeRef(n, o) for n in range(len(graph)) for o in range(graph.output_count(n))]
        for ref in refs:
            value = trace.value(number, ref)
            array = trace.array(value).tobytes() if value.tensor else None
            values[number, type(ref).__name__, *ref] = (value, array)
    return {
        "content": trace.content_id, "kind": trace.kind, "provenance": trace.provenance, "notes": trace.notes,
        "cases": tuple(trace.cases), "graphs": graphs, "values": values,
    }  # fmt: skip


def write_safetensors(path: Path, tensors: dict[str, tuple[str, list[int], bytes]]) -> Path:
    """A .safetensors file from (dtype, shape, bytes), without the library."""
    header, at = {}, 0
    for name, (dtype, shape, data) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + len(data)]}
        at += len(data)
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"".join(data for _, _, data in tensors.values()))
    return path
