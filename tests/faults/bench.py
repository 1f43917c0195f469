"""Where kernels of the suite run: nodes of a carved trace, in an engine over the real source and the real target."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tapml_tui.backends.protocol import Operand
from tapml_tui.engine.commands import Mode, RunNodes, SelectCase, SetBackend, SetMode
from tapml_tui.engine.events import NodeResult
from tapml_tui.engine.units import Binding, bind, not_comparable
from tapml_tui.engine.values import References
from tests.engine.toys import Driver
from tests.faults.arithmetic import FREEDOM
from tests.faults.faults import Site
from tests.faults.placing import Placing, Variant, placing_backends
from trace_format import Trace, open_trace
from trace_format.model import NodeRef

MAX_INPUTS = 4 << 20
"""Bytes. A mismatch is confirmed with all inputs uploaded again, at 25 MB/s."""
PATIENCE = 900.0
"""Seconds for one answer of the engine: all of a chain on a machine that has other work."""


@dataclass(frozen=True)
class Place:
    """A node of a trace, in one case, that gets kernels of the suite."""

    site: Site
    case: int
    node: int
    name: str

    def __str__(self) -> str:
        return f"{self.name} in case {self.case}"


@dataclass(frozen=True)
class Kernel:
    """A kernel at a place: a kind of fault at a strength, or a benign variant by name."""

    place: Place
    kind: str
    strength: str
    variant: Variant


def _fits(binding: Binding) -> bool:
    unit = binding.unit
    size = sum(int(np.prod(spec.shape)) * (2 if "16" in spec.dtype else 4) for spec in unit.inputs)
    return "float" in unit.outputs[0].dtype and size <= MAX_INPUTS and not not_comparable(binding.values[0])


@dataclass
class Bench:
    """An engine on a trace, at one of its cases; what is drawn depends on the seed."""

    driver: Driver
    target: Placing
    seed: str
    case: int

    def __post_init__(self) -> None:
        self._references = References(self.trace)

    @property
    def trace(self) -> Trace:
        """What was carved."""
        return self.driver.engine.trace

    def places(self) -> dict[str, list[Place]]:
        """The nodes with an operator of the suite, by operator; what overflowed in the model itself is left out."""
        found: dict[str, list[Place]] = {}
        engine = self.driver.engine
        for node in range(len(engine.graph)):
            operator = engine.graph.op(node).rpartition(".")[0]
            binding = bind(self.trace, self.case, node) if operator in FREEDOM else None
            if isinstance(binding, Binding) and _fits(binding):
                reference = engine.reference(node, 0)
                if reference is not None and np.isfinite(reference.astype(np.float32)).all():
                    site = Site(operator, binding.unit)
                    found.setdefault(operator, []).append(Place(site, self.case, node, engine.graph.node_id(node)))
        return dict(sorted(found.items()))

    def go(self, mode: Mode, placed_on: str) -> None:
        """Into a mode, every node on one side."""
        self.driver.do(SetMode(mode))
        self.driver.do(SelectCase(self.case))
        self.driver.do(SetBackend(0, len(self.driver.engine.graph), placed_on))

    def put(self, node: int, backend: str, variant: Variant | None = None) -> None:
        """Place a node, with a kernel of its own if wanted."""
        kernel = None if variant is None else self.target.add(variant)
        self.driver.do(SetBackend(node, node + 1, backend, kernel))

    def run(self, *nodes: int) -> None:
        """Run nodes; without any, all."""
        self.driver.do(RunNodes(nodes or None))

    def result(self, node: int) -> NodeResult:
        """What the engine says of a node."""
        result = self.driver.engine.result(node)
        assert result is not None
        return result

    def arrays(self, node: int) -> tuple[np.ndarray, np.ndarray]:
        """Recorded and computed value of a node."""
        reference, actual = self.driver.engine.reference(node, 0), self.driver.engine.actual(node, 0)
        if reference is None or actual is None:
            raise RuntimeError(f"{self.driver.engine.graph.node_id(node)}: {self.result(node)}")
        return reference, actual

    def earlier(self, node: int) -> list[np.ndarray]:
        """The value of the same node in other cases, of the same shape."""
        here, found = self.trace.value(self.case, NodeRef(node, 0)), []
        for case in range(len(self.trace.cases)):
            value = self.trace.value(case, NodeRef(node, 0))
            array = self._references.array(value) if case != self.case else None
            if array is not None and (value.shape, value.dtype) == (here.shape, here.dtype):
                found.append(array)
        return found

    def memory(self, place: Place) -> Operand:
        """What an earlier call left."""
        return self.target.operand(self.earlier(place.node)[0], place.site.dtype)

    def fault(self, kind: str, place: Place, numbers: Sequence[float], memory: Operand) -> Variant:
        """A wrong kernel: what is drawn in it depends on place and seed; numbers as `kernels.py` says."""
        draw = random.Random(f"{self.seed}/{place}/{place.site.dtype}/{kind}")
        operand = self.target.operand(np.array(numbers, np.float32), "float32")
        return Variant(f"fault_{kind}_{draw.randrange(1 << 30)}", (operand, memory))


@contextmanager
def bench_on(path: Path, seed: str, folder: Path) -> Iterator[Bench]:
    """An engine with the suite's target on a trace, at a case that is drawn; `folder` keeps what it compiles."""
    source, target = placing_backends(folder)
    trace = open_trace(path)
    with Driver(trace, (source, target), mode=Mode.ISOLATED, reuse=False, initial="source") as driver:  # type: ignore[arg-type]
        driver.patience = PATIENCE
        case = random.Random(f"{seed}/{path.name}").randrange(len(trace.cases))
        bench = Bench(driver, target, seed, case)
        driver.do(SelectCase(case))
        yield bench
