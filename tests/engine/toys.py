"""Small traces with real values and real floors, and a driver for the engine."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tapml_tui.engine import Engine
from tapml_tui.engine.commands import Command, Step, Verb
from tapml_tui.engine.events import Changed, Event, Snapshot
from tests.engine.numpy_backend import OPERATORS, NumpyBackend
from trace_format import Trace, TraceWriter, open_trace
from trace_format.model import (
    Argument,
    Case,
    Floor,
    FromCase,
    GraphInput,
    GraphOutput,
    InputKind,
    InputRef,
    Node,
    NodeRef,
    OutputKind,
    Provenance,
    Value,
)


@dataclass
class Toy:
    """A graph in the making; every tensor is SIZE x SIZE unless an operator says otherwise.

    Each call is (operator, arguments, path); arguments are refs or numbers. `hands_on`: the first input
    of each case but the first is the output of the case before. `also`: what it answers beside its last value.
    """

    calls: list[tuple[str, tuple[Argument, ...], str]] = field(default_factory=list)
    inputs: int = 2
    size: int = 8
    seed: int = 0
    cases: int = 1
    hands_on: bool = False
    also: dict[str, NodeRef] = field(default_factory=dict)
    edit: Callable[[NodeRef, Value], Value] = lambda ref, value: value

    def call(self, op: str, *args: Argument, path: str = "") -> NodeRef:
        self.calls.append((op, args, path))
        return NodeRef(len(self.calls) - 1)

    def write(self, path: Path) -> Trace:
        """Compute the reference run, its float64 replays, and write all of it down."""
        return write_together(path, self)

    def add_to(self, writer: TraceWriter, name: str, first: int) -> None:
        """Add a graph and its cases, which are counted from `first` on."""
        nodes: list[Node] = []
        for index, (op, args, place) in enumerate(self.calls):
            ordinal = sum(1 for other in nodes if (other.path, other.op) == (place, op))
            outputs = 2 if op in ("aten.aminmax.default", "aten.sort.default") else 1
            nodes.append(Node(f"{place}/{op}#{ordinal}", f"n{index}", op, place, "", args, (), outputs))
        kinds = [InputKind.USER, *[InputKind.PARAMETER] * (self.inputs - 1)]
        last = {"out": NodeRef(len(nodes) - 1)} if nodes else {}
        graph = writer.add_graph(
            name,
            [GraphInput(f"in{i}", kind, f"weight{i}" if i else "") for i, kind in enumerate(kinds)],
            [GraphOutput(name, OutputKind.USER, ref) for name, ref in (last | self.also).items()],
            nodes,
        )
        state: tuple[np.ndarray, np.ndarray] | None = None
        handed: tuple[tuple[int, FromCase], ...] = ()
        for number in range(first, first + self.cases):
            case = writer.add_case(Case(f"case{number}", graph, handed))
            last = self._values(writer, case, nodes, state)
            if self.hands_on:
                state, handed = last, ((0, FromCase(case, 0)),)

    def _values(
        self, writer: TraceWriter, case: int, nodes: Sequence[Node], state: tuple[np.ndarray, np.ndarray] | None
    ) -> tuple[np.ndarray, np.ndarray] | None:
        """Write the values of a case; its last one, as it is and in double precision."""
        random = np.random.default_rng([self.seed, case])
        values: dict[Argument, np.ndarray] = {}
        precise: dict[Argument, np.ndarray] = {}
        for i in range(self.inputs):
            array = random.normal(size=(self.size, self.size)).astype(np.float32)
            values[InputRef(i)], precise[InputRef(i)] = array, array.astype(np.float64)
            if i == 0 and state is not None:
                values[InputRef(i)], precise[InputRef(i)] = state
                continue  # it is the value of the case before, recorded there
            writer.add_value(case, InputRef(i), _value(writer, array))
        for index, node in enumerate(nodes):
            inputs = [values.get(arg, arg) for arg in node.args]
            wide = [i.astype(np.float64) if isinstance(i, np.ndarray) and i.dtype.kind == "f" else i for i in inputs]
            results = OPERATORS[node.op](*inputs)
            alone = OPERATORS[node.op](*wide)
            whole = OPERATORS[node.op](*(precise.get(arg, arg) for arg in node.args))
            for output, array in enumerate(results):
                ref = NodeRef(index, output)
                values[ref], precise[ref] = array, np.asarray(whole[output])
                value = _value(writer, array, _floor(array, alone[output], DRIFT), _floor(array, whole[output]))
                writer.add_value(case, ref, self.edit(ref, value))
        last = NodeRef(len(nodes) - 1)
        return (values[last], precise[last]) if nodes else None


def write_together(path: Path, *toys: Toy) -> Trace:
    """A trace with a graph for each toy."""
    with TraceWriter(path, Provenance()) as writer:
        cases = 0
        for number, toy in enumerate(toys):
            toy.add_to(writer, f"toy{number or ''}", cases)
            cases += toy.cases
    return open_trace(path)


DRIFT = 8.0
"""Isolated floors of toys are so much larger: a healthy one never enters the grey zone by what it inherits."""


def _floor(array: np.ndarray, precise: np.ndarray, times: float = 1.0) -> Floor | None:
    if array.dtype.kind != "f":
        return Floor(0.0, 0.0, "exact")
    with np.errstate(invalid="ignore"):
        error = np.where(precise == array, 0.0, np.abs(precise - array) * times)  # also where both are infinite
    return Floor(float(error.max()), float(np.sqrt((error**2).mean())))


def _value(
    writer: TraceWriter, array: np.ndarray, isolated: Floor | None = None, chained: Floor | None = None
) -> Value:
    digest = writer.add_tensor(array, array.dtype.name)
    return Value(array.dtype.name, array.shape, (), digest, None, True, isolated, chained)


def mlp(layers: int = 3, **options: object) -> Toy:
    """Layers of matmul, add, tanh, in folds layers.0, layers.1, ..."""
    toy = Toy(**options)  # type: ignore[arg-type]
    x: Argument = InputRef(0)
    for layer in range(layers):
        path = f"layers.{layer}"
        h = toy.call("aten.matmul.default", x, InputRef(1), path=f"{path}.attn")
        h = toy.call("aten.add.Tensor", h, x, path=path)
        x = toy.call("aten.tanh.default", h, path=f"{path}.mlp")
    return toy


class Driver:
    """An engine whose answers can be waited for."""

    def __init__(self, trace: Trace, backends: Sequence[NumpyBackend] | None = None, **options: object) -> None:
        self.events: list[Event] = []
        self.answers: dict[int, Snapshot] = {}
        self.told_twice: list[int] = []
        self.patience = 90.0  # seconds for an answer
        self._news = threading.Condition()
        chosen = backends or (NumpyBackend("source"), NumpyBackend("target"))
        self.source, self.target = chosen[0], chosen[-1]
        self.engine = Engine(trace, chosen, on_event=self._on_event, **options)  # type: ignore[arg-type]
        self.engine.start()

    def _on_event(self, event: Event) -> None:
        with self._news:
            self.events.append(event)
            if isinstance(event, Changed) and event.answers is not None:
                if event.answers in self.answers:
                    self.told_twice.append(event.answers)
                self.answers[event.answers] = event.snapshot
            self._news.notify_all()

    def wait(self, ticket: int) -> Snapshot:
        with self._news:
            assert self._news.wait_for(lambda: ticket in self.answers, self.patience), "no answer"
            return self.answers[ticket]

    def do(self, command: Command) -> Snapshot:
        return self.wait(self.engine.submit(command))

    def step(self, verb: Verb, entry: int | None = None, folded: bool = False) -> Snapshot:
        return self.do(Step(verb, entry, folded))

    def statuses(self) -> list[str]:
        results = [self.engine.result(node) for node in range(len(self.engine.graph))]
        return [str(result.status) if result is not None else "" for result in results]

    def verdicts(self) -> list[str]:
        results = [self.engine.result(node) for node in range(len(self.engine.graph))]
        return [str(result.verdict) if result is not None else "" for result in results]

    def __enter__(self) -> Driver:
        return self

    def __exit__(self, *_: object) -> None:
        self.engine.close()
        self.engine.trace.close()
