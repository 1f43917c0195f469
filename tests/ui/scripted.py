"""An engine that says what a test tells it to: for states that a real one cannot be brought to.

It has the surface that the screen reads, over a graph given as (path, operator) pairs, and
carries out commands at once: a step writes the scripted result down.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from tapml_tui.backends.protocol import BackendStatus, Call, State, TensorSpec, Unit
from tapml_tui.compare.diagnosis import Diagnosis, Kind
from tapml_tui.compare.noise import Tolerance
from tapml_tui.compare.result import Comparison, Status, Verdict
from tapml_tui.engine import commands as c
from tapml_tui.engine.events import Changed, Counts, NodeResult, OutputResult, Snapshot, StopReason
from tapml_tui.engine.examining import Finding
from tapml_tui.engine.table import BREAKPOINT, STATUSES, NodeTable
from tapml_tui.engine.values import Stored
from trace_format.model import Case, GraphInput, InputKind, Node, SourceLine, Value
from trace_format.outline import build_outline, path_parts


class ScriptedGraph:
    """A graph of nodes without arguments."""

    def __init__(self, nodes: Sequence[tuple[str, str]], name: str = "model") -> None:
        self.name, self._nodes = name, list(nodes)
        self.inputs = (GraphInput("x", InputKind.USER),)
        paths = list(dict.fromkeys(path for path, _ in nodes))
        parts = [path_parts(path) for path in paths]
        index = {path: i for i, path in enumerate(paths)}
        self.outline = build_outline([index[path] for path, _ in nodes], parts)
        self._entries = np.flatnonzero(~self.outline["fold"])

    def __len__(self) -> int:
        return len(self._nodes)

    def op(self, i: int) -> str:
        return self._nodes[i][1]

    def path(self, i: int) -> str:
        return self._nodes[i][0]

    def node_id(self, i: int) -> str:
        return f"{self.path(i)}/{self.op(i)}#{i}"

    def node(self, i: int) -> Node:
        line = SourceLine("model.py", 10 + i, "forward", "y = self.step(x)")
        return Node(self.node_id(i), f"node_{i}", self.op(i), self.path(i), "torch.nn.Module", (), (), 1, (line,))

    def entry_of(self, node: int) -> int:
        return int(self._entries[node])

    def outline_label(self, entry: int) -> str:
        row = self.outline[entry]
        if not row["fold"]:
            return self.op(int(row["start"])).split(".")[1]
        return self.outline_detail(entry) or self.name

    def outline_detail(self, entry: int) -> str:
        row = self.outline[entry]
        path = self.path(int(row["start"])).encode()
        path = path[: int(row["prefix"])] if row["fold"] else path
        shown = int(self.outline["prefix"][row["parent"]]) if entry else 0
        return path[shown:].decode().removeprefix(".")

    def outline_path(self, entry: int) -> str:
        row = self.outline[entry]
        path = self.path(int(row["start"])).encode()
        return (path[: int(row["prefix"])] if row["fold"] else path).decode()

    def search(self, text: str, entry: int, step: int = 1) -> int | None:
        count = len(self.outline)
        for offset in range(1, count + 1):
            at = (entry + step * offset) % count
            row = self.outline[at]
            words = self.outline_label(at) if row["fold"] else self.node_id(int(row["start"]))
            if text.lower() in words.lower():
                return at
        return None


class ScriptedEngine:
    """Steps through a graph; `script` gives the result of a node, by index."""

    def __init__(
        self,
        nodes: Sequence[tuple[str, str]],
        on_event: Callable[[Any], None],
        *,
        script: dict[int, tuple[Status, Verdict, float]] | None = None,
        cases: int = 1,
        trace_name: str = "tiny.trace",
    ) -> None:
        self.graph = ScriptedGraph(nodes)
        self.on_event = on_event
        self.script = script or {}
        self.backend_ids = ("source", "target")
        self.targets = ()
        self.trace = SimpleNamespace(
            path=Path(trace_name),
            cases=[Case(f"case{i}", 0) for i in range(cases)],
            graphs=[self.graph],
            damage=(),
            complete=True,
            value=lambda case, ref: Value("float32", (1, 4, 8, 128), peak=4.0, rms=1.0),
        )
        self.table = NodeTable(len(self.graph), self.backend_ids)
        self.table.backend[:] = 1
        self.folds: tuple[str, ...] = ()
        self.submitted: list[c.Command] = []
        self.started = self.closed = False
        self.results: dict[int, NodeResult] = {}
        self.values: dict[tuple[int, str], np.ndarray] = {}
        target = BackendStatus("target", State.READY, latency_ms=0.2, title="llvm @loopback")
        self.snapshot = Snapshot(
            0, 0, c.Mode.CHAINED, 0, False, "", None, self._counts(), (), (target,), StopReason.START
        )

    def start(self) -> None:
        self.started = True

    def close(self) -> None:
        self.closed = True

    def change(self, **fields: Any) -> None:
        """Say that something has changed."""
        fields.setdefault("message", "")
        counts = self._counts()
        self.snapshot = replace(self.snapshot, generation=self.snapshot.generation + 1, counts=counts, **fields)
        self.on_event(Changed(self.snapshot))

    def _counts(self) -> Counts:
        per = np.bincount(self.table.status, minlength=len(STATUSES))
        return Counts(len(self.graph), int(per[1]), int(per[3]), int(per[4]), int(per[2]), int(per[0]))

    def execute(self, node: int) -> None:
        status, verdict, factor = self.script.get(node, (Status.PASSED, Verdict.CLEAN, 0.4))
        self.table.record(node, status, verdict, factor)
        comparison = Comparison(
            passed=status is Status.PASSED,
            reason="" if status is Status.PASSED else f"{factor:.3g} x the floor in 1024 of 4096 elements",
            factor=factor,
            floor=2.4e-7,
            compared=4096,
            outside=0 if status is Status.PASSED else 1024,
            max_abs=factor * 2.4e-7,
            max_rel=1e-6 * factor,
            worst=(0, 3, 7, 96),
            worst_values=(0.19, 0.0),
            law=Tolerance(2.4e-7, 0.0, "float64"),
        )
        output = OutputResult(TensorSpec("float32", (1, 4, 8, 128)), "k", None, comparison)
        diagnosis = Diagnosis(Kind.TAIL, "columns 96..127 are zero: the last 32 of 128, a tile tail")
        stored = Stored("k", output.spec, None)
        finding = Finding(0, diagnosis, comparison, stored, stored) if verdict is Verdict.LOCAL else None
        self.results[node] = NodeResult(
            node,
            "target",
            status,
            verdict,
            comparison.reason,
            factor=factor,
            outputs=(output,),
            ms=0.21,
            finding=finding,
        )

    def submit(self, command: c.Command) -> int:
        self.submitted.append(command)
        cursor, total = self.snapshot.cursor, len(self.graph)
        match command:
            case c.Step(verb=c.Verb.BACK):
                self.change(cursor=max(cursor - 1, 0), stopped=StopReason.STEP)
            case c.Step(verb=verb, entry=entry, folded=folded):
                stop = cursor + 1
                if folded and entry is not None:
                    stop = int(self.graph.outline["stop"][entry])
                elif verb is c.Verb.CONTINUE:
                    bad = [node for node in sorted(self.script) if node >= cursor]
                    stop = bad[0] + 1 if bad else total
                for node in range(cursor, min(stop, total)):
                    self.execute(node)
                wrong = verb is c.Verb.CONTINUE and stop - 1 in self.script
                self.change(cursor=min(stop, total), stopped=StopReason.MISMATCH if wrong else StopReason.STEP)
            case c.SetBackend(start=start, stop=stop, backend=backend):
                self.table.backend[start:stop] = self.backend_ids.index(backend)
                self.change()
            case c.ToggleBreakpoint(breakpoint=point):
                for node in range(total):
                    if self.graph.node_id(node) == point.pattern:
                        self.table.flags[node] ^= BREAKPOINT
                self.change()
            case c.SetMode(mode=mode):
                self.change(mode=mode)
            case c.SelectCase(case=case):
                self.change(case=case)
            case c.Rewind():
                self.change(cursor=0)
            case _:
                self.change()
        return len(self.submitted)

    def result(self, node: int) -> NodeResult | None:
        return self.results.get(node)

    def note(self, node: int) -> str:
        return ""

    def beside(self, node: int) -> tuple[NodeResult, ...]:
        return ()

    def reference(self, node: int, output: int) -> np.ndarray | None:
        return self.values.get((node, "reference"))

    def actual(self, node: int, output: int) -> np.ndarray | None:
        return self.values.get((node, "actual"))

    def proof(self, finding: Finding) -> tuple[np.ndarray, np.ndarray]:
        return self.values[0, "reference"], self.values[0, "actual"]

    def inputs(self, node: int) -> tuple[Any, ...]:
        array = self.values.get((node, "reference"))
        return (SimpleNamespace(label="x", spec=TensorSpec("float32", (4, 8)), reference=array, actual=None),)

    def unit(self, node: int) -> Unit:
        call = Call(self.graph.op(node), ())
        return Unit((call,), (), (TensorSpec("float32", (1, 4, 8, 128)),), ())


def transformer(layers: int = 2) -> list[tuple[str, str]]:
    """A decoder in (path, operator) pairs."""
    nodes = [("embed_tokens", "aten.embedding.default")]
    for i in range(layers):
        at = f"layers.{i}"
        nodes += [(f"{at}.input_layernorm", f"aten.{op}.default") for op in ("pow", "mean", "rsqrt", "mul")]
        nodes += [(f"{at}.self_attn.{name}_proj", "aten.linear.default") for name in "qkv"]
        nodes += [(f"{at}.self_attn", f"aten.{op}.default") for op in ("matmul", "softmax", "matmul")]
        nodes += [(f"{at}.self_attn.o_proj", "aten.linear.default"), (at, "aten.add.Tensor")]
        nodes += [(f"{at}.mlp.{name}_proj", "aten.linear.default") for name in ("gate", "up")]
        nodes += [(f"{at}.mlp.act_fn", "aten.silu.default"), (f"{at}.mlp", "aten.mul.Tensor")]
        nodes += [(f"{at}.mlp.down_proj", "aten.linear.default"), (at, "aten.add.Tensor")]
    return [*nodes, ("norm", "aten.rms_norm.default"), ("lm_head", "aten.linear.default")]
