"""Every kernel alone, on recorded inputs: judged by the engine as `check` does, values from the real target."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from tapml_tui.backends.protocol import Operand
from tapml_tui.compare.result import Status
from tapml_tui.engine.commands import Mode, RunNodes, SelectCase, SetBackend
from tapml_tui.engine.events import NodeResult
from tapml_tui.engine.units import Binding, bind
from tests.engine.toys import Driver
from tests.faults.arithmetic import FREEDOM, benign
from tests.faults.faults import KINDS, Kind, Site
from tests.faults.peers import judged
from tests.faults.placing import Placing, Variant
from tests.faults.records import BENIGN, EIGHTFOLD, GROSS, PERCENT, Record, largest_error
from trace_format import Trace
from trace_format.model import NodeRef

MAX_INPUTS = 4 << 20
"""Bytes. A mismatch is confirmed with all inputs uploaded again, at 25 MB/s."""

# How many of the elements a fault has that is a region, and has no strength: a fifth, one in a hundred, one.
_REGIONS = {GROSS: 0.2, PERCENT: 0.01, EIGHTFOLD: 0.0}


@dataclass(frozen=True)
class Place:
    """A node of a trace that gets the kernels of the suite."""

    site: Site
    case: int
    node: int
    name: str


def places(trace: Trace, draw: random.Random) -> list[Place]:
    """A node of every operator of the suite that the trace has, drawn, with case; twice where shapes differ."""
    found: dict[str, list[Place]] = {}
    for case in range(len(trace.cases)):
        graph = trace.graphs[trace.cases[case].graph]
        for node in range(len(graph)):
            operator = graph.op(node).rpartition(".")[0]
            binding = bind(trace, case, node) if operator in FREEDOM else None
            if isinstance(binding, Binding) and _fits(binding):
                place = Place(Site(operator, binding.unit), case, node, graph.node_id(node))
                found.setdefault(operator, []).append(place)
    return [draw.choice(candidates) for _, candidates in sorted(found.items())]


def _fits(binding: Binding) -> bool:
    unit = binding.unit
    size = sum(int(np.prod(spec.shape)) * (2 if "16" in spec.dtype else 4) for spec in unit.inputs)
    floating = "float" in unit.outputs[0].dtype
    return floating and size <= MAX_INPUTS and binding.values[0].isolated is not None


@dataclass
class Bench:
    """Runs kernels at one place after the other."""

    driver: Driver
    target: Placing
    seed: str

    def go(self, place: Place) -> None:
        """Be at the case of a place."""
        self.driver.do(SelectCase(place.case))

    def numbers(self, strength: float, reference: np.ndarray, share: float) -> Operand:
        """The first operand of a wrong kernel: strength, root mean square, the level above which `share` lies."""
        magnitude = np.abs(reference.astype(np.float64)).reshape(-1)
        level = float(np.quantile(magnitude, 1.0 - share))
        if level >= magnitude.max():
            level = float(magnitude.max())
        rms = float(np.sqrt((magnitude**2).mean()))
        return self.target.operand(np.array([strength, rms, level], np.float32), "float32")

    def memory(self, place: Place) -> Operand:
        """What an earlier call left: the value of the same node in another case."""
        trace = self.driver.engine.trace
        spec = place.site.unit.outputs[0]
        for case in range(len(trace.cases)):
            value = trace.value(case, NodeRef(place.node, 0))
            if case != place.case and value.shape == spec.shape and value.dtype == spec.dtype:
                self.driver.do(SelectCase(case))
                array = self.driver.engine.reference(place.node, 0)
                self.go(place)
                assert array is not None
                return self.target.operand(array, spec.dtype)
        raise LookupError(f"no other case of {place.name}")

    def run(self, place: Place, variant: Variant) -> tuple[NodeResult, np.ndarray | None]:
        """What the engine says of a kernel, and what the kernel gave."""
        kernel = self.target.add(variant)
        self.driver.do(SetBackend(place.node, place.node + 1, "target", kernel))
        self.driver.do(RunNodes((place.node,)))
        result = self.driver.engine.result(place.node)
        assert result is not None
        return result, self.driver.engine.actual(place.node, 0)

    def record(
        self, place: Place, kind: str, strength: str, variant: Variant, reference: np.ndarray, envelope: float
    ) -> tuple[Record, float]:
        """Run a kernel and write down what came of it, and its largest error."""
        result, actual = self.run(place, variant)
        if actual is None or result.status not in (Status.PASSED, Status.FAILED):
            raise RuntimeError(f"{variant.overload} at {place.name}: {result.status} {result.reason} {result.detail}")
        error = largest_error(reference, actual)
        return Record(
            mode="isolated",
            operator=place.site.operator,
            dtype=place.site.dtype,
            kind=kind,
            strength=strength,
            found=result.status is Status.FAILED,
            factor=result.factor,
            peers=judged(reference, actual),
            envelopes=error / envelope if envelope else np.inf if error else 0.0,
            diagnosis=diagnosis_of(result),
            note=f"({place.name}, case {place.case})",
        ), error


def diagnosis_of(result: NodeResult) -> str:
    """The kind of wrong that is named first, "" if nothing is said."""
    diagnosis = getattr(result, "diagnosis", None)
    return str(diagnosis.kind) if diagnosis is not None else ""


def fault_name(kind: str, place: Place, seed: str) -> str:
    """The overload of a wrong kernel: what is drawn in it depends on the place and the seed of the run."""
    return f"fault_{kind}_{random.Random(f'{seed}/{place.name}/{place.site.dtype}/{kind}').randrange(1 << 30)}"


def kinds_at(site: Site) -> dict[str, Kind]:
    """The kinds of fault that make sense there."""
    return {name: kind for name, kind in KINDS.items() if kind.fits(site)}


def at(bench: Bench, place: Place, variants: Sequence[str], kinds: Iterable[str]) -> Iterator[Record]:
    """The records of all kernels at a place: benign ones first, they are the measure of the others."""
    bench.go(place)
    reference = bench.driver.engine.reference(place.node, 0)
    assert reference is not None
    envelope, records = 0.0, []
    for name in variants:
        record, error = bench.record(place, name, BENIGN, Variant(f"benign_{name}"), reference, 1.0)
        envelope = max(envelope, error)
        records.append(record)
    yield from records
    memory = bench.memory(place)
    for name in kinds:
        yield from _strengths(bench, place, name, memory, reference, envelope)


def _strengths(
    bench: Bench, place: Place, name: str, memory: Operand, reference: np.ndarray, envelope: float
) -> Iterator[Record]:
    """One kind at its three strengths. Weaker than by nature there is, stronger there is not."""
    overload, kind = fault_name(name, place, bench.seed), KINDS[name]

    def variant(strength: float, share: float) -> Variant:
        return Variant(overload, (bench.numbers(strength, reference, share), memory))

    if kind.region:
        for strength, share in _REGIONS.items():
            yield bench.record(place, name, strength, variant(max(share, 1e-9), share), reference, envelope)[0]
        return
    gross, error = bench.record(place, name, GROSS, variant(1.0, 0.1), reference, envelope)
    yield gross
    rms = float(np.sqrt((reference.astype(np.float64) ** 2).mean()))
    for strength, wanted in ((PERCENT, 0.01 * rms), (EIGHTFOLD, 8.0 * envelope)):
        if np.isfinite(error) and 0.0 < wanted < error:
            yield bench.record(place, name, strength, variant(wanted / error, 0.1), reference, envelope)[0]


def plan(place: Place, draw: random.Random) -> tuple[list[str], list[str]]:
    """Everything that can be run at a place: benign variants, kinds of fault."""
    return benign(place.site.operator, place.site.dtype, draw), list(kinds_at(place.site))


def open_bench(trace: Trace, backends: Sequence[object], target: Placing, seed: str) -> Bench:
    """An engine on a trace, with nothing on the target yet."""
    driver = Driver(trace, backends, mode=Mode.ISOLATED, reuse=False, initial="source")  # type: ignore[arg-type]
    return Bench(driver, target, seed)


def prepare(bench: Bench, plans: Sequence[tuple[Place, list[str], list[str]]]) -> None:
    """Have all kernels compiled ahead, in few modules."""
    pairs = []
    for place, variants, kinds in plans:
        pairs += [(place.site.unit, Variant(f"benign_{name}")) for name in variants]
        bench.go(place)
        extras = (bench.target.operand(np.zeros(3, np.float32), "float32"), bench.memory(place))
        pairs += [(place.site.unit, Variant(fault_name(kind, place, bench.seed), extras)) for kind in kinds]
    bench.target.prepare_variants(pairs)
