"""A big synthetic trace for benchmarks, written at the speed of the disk.

100 000 nodes: one path with 50 000 direct children, a chain 500 paths deep, the rest like a
transformer; and as many GiB of real bytes as are asked for.

    python tests/bench/big_trace.py /tmp/big.trace --gib 8 --nodes 100000
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from trace_format import (
    Case,
    Floor,
    GraphInput,
    GraphOutput,
    InputKind,
    InputRef,
    Node,
    NodeRef,
    OutputKind,
    Provenance,
    SourceLine,
    TraceWriter,
    Value,
)

WIDE, DEEP = 0.5, 500  # share of the nodes under one path; levels of the chain
LAYER = (
    ("input_layernorm", "pow"), ("input_layernorm", "mean"), ("input_layernorm", "rsqrt"), ("input_layernorm", "mul"),
    ("self_attn.q_proj", "linear"), ("self_attn.k_proj", "linear"), ("self_attn.v_proj", "linear"),
    ("self_attn", "view"), ("self_attn", "matmul"), ("self_attn", "softmax"), ("self_attn", "matmul"),
    ("self_attn.o_proj", "linear"), ("", "add"), ("mlp.gate_proj", "linear"), ("mlp.act_fn", "silu"),
    ("mlp.up_proj", "linear"), ("mlp", "mul"), ("mlp.down_proj", "linear"), ("", "add"),
)  # fmt: skip


def places(nodes: int) -> Iterator[tuple[str, str]]:
    """(path, operator) of every node."""
    wide = int(nodes * WIDE)
    deep = min(DEEP, nodes - wide)
    for number in range(nodes - wide - deep):
        layer, place = divmod(number, len(LAYER))
        path, op = LAYER[place]
        yield f"model.layers.{layer}.{path}".rstrip("."), op
    for level in range(1, deep + 1):
        yield ".".join(["chain"] + ["down"] * (level - 1)), "relu"
    for _ in range(wide):
        yield "model.wide", "add"


def graph_nodes(nodes: int) -> Iterator[Node]:
    """The nodes; each reads the one before it, and a parameter."""
    seen: dict[tuple[str, str], int] = {}
    lines = [SourceLine("model.py", line, "forward", f"x = self.step_{line}(x)") for line in range(200)]
    for index, (path, op) in enumerate(places(nodes)):
        ordinal = seen[path, op] = seen.get((path, op), -1) + 1
        name = f"aten.{op}.default"
        before = NodeRef(index - 1) if index else InputRef(1)
        source = (lines[index % 200], lines[index // 1000 % 200])
        yield Node(
            f"{path}/{name}#{ordinal}",
            f"{op}_{index}",
            name,
            path,
            "torch.nn.Module",
            (before, InputRef(0)),
            (),
            1,
            source,
        )


def write_big_trace(path: Path, nodes: int, gib: float) -> None:
    """Write it. Equal tensors are stored once, so each begins with its own number."""
    inputs = [GraphInput("w", InputKind.PARAMETER, "w"), GraphInput("x", InputKind.USER)]
    outputs = [GraphOutput("y", OutputKind.USER, NodeRef(nodes - 1))]
    each = max(16, int(gib * (1 << 30) / (nodes + 2)) // 4)
    data = np.random.default_rng(0).standard_normal(each).astype(np.float32)
    floor = Floor(1e-7, 1e-8)
    with TraceWriter(path, Provenance(command="big_trace.py", seed=0)) as writer:
        writer.add_graph("big", inputs, outputs, graph_nodes(nodes))
        writer.add_case(Case("one", 0))
        refs: list[NodeRef | InputRef] = [InputRef(0), InputRef(1), *map(NodeRef, range(nodes))]
        for number, ref in enumerate(refs):
            data[:1].view(np.uint32)[0] = number
            digest = writer.add_tensor(data, "float32")
            value = Value("float32", (each,), (1,), digest, reproducible=True, isolated=floor, chained=floor)
            writer.add_value(0, ref, value)


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--gib", type=float, default=8.0)
    parser.add_argument("--nodes", type=int, default=100_000)
    options = parser.parse_args()
    write_big_trace(options.out, options.nodes, options.gib)
    return 0


if __name__ == "__main__":
    sys.exit(main())
