"""Every kernel alone, on recorded inputs: judged by the engine as `check` does, values from the real target."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from tapml_tui.backends.protocol import Operand
from tapml_tui.compare.result import Status
from tapml_tui.engine.commands import Mode
from tapml_tui.engine.events import NodeResult
from tests.faults.bench import Bench, Kernel, Place
from tests.faults.faults import KINDS
from tests.faults.peers import judged
from tests.faults.placing import Variant
from tests.faults.records import BENIGN, EIGHTFOLD, GROSS, PERCENT, Record, largest_error, within

# How many of the elements a fault has that is a region, and has no strength: a fifth, one in a hundred, one.
_REGIONS = {GROSS: 0.2, PERCENT: 0.01, EIGHTFOLD: 0.0}
_CLIPPED = 0.1  # share of the elements that a saturating store clips


@dataclass(frozen=True)
class Plan:
    """What is run at a place: benign variants by name, kinds of fault."""

    place: Place
    benign: Sequence[str]
    kinds: Sequence[str]


def prepare(bench: Bench, plans: Sequence[Plan]) -> None:
    """Have all kernels compiled ahead, in few modules."""
    pairs = []
    for plan in plans:
        unit, memory = plan.place.site.unit, bench.memory(plan.place)
        pairs += [(unit, Variant(f"benign_{name}")) for name in plan.benign]
        pairs += [(unit, bench.fault(kind, plan.place, (0.0, 0.0, 0.0, 0.0), memory)) for kind in plan.kinds]
    bench.target.prepare_variants(pairs)


def judge(bench: Bench, plans: Sequence[Plan]) -> Iterator[tuple[Kernel, Record]]:
    """Run and judge every kernel."""
    bench.go(Mode.ISOLATED, "source")
    prepare(bench, plans)
    for plan in plans:
        yield from _Judging(bench, plan).all()


class _Judging:
    """The kernels at one place: benign ones first, they are the measure of the others."""

    def __init__(self, bench: Bench, plan: Plan) -> None:
        self._bench, self._plan, self._place = bench, plan, plan.place
        reference = bench.driver.engine.reference(plan.place.node, 0)
        assert reference is not None
        magnitudes = np.abs(reference.astype(np.float64)).reshape(-1)
        self._magnitudes, self._rms = magnitudes, float(np.sqrt((magnitudes**2).mean()))
        self._envelope = 0.0
        self._low = self._high = reference

    def all(self) -> Iterator[tuple[Kernel, Record]]:
        """The records."""
        benign = []
        for name in self._plan.benign:
            kernel = Kernel(self._place, name, BENIGN, Variant(f"benign_{name}"))
            record, error = self._run(kernel)
            self._envelope = max(self._envelope, error)
            result = self._bench.arrays(self._place.node)[1]
            self._low, self._high = np.minimum(self._low, result), np.maximum(self._high, result)
            benign.append((kernel, record))
        yield from benign
        memory = self._bench.memory(self._place)
        for kind in self._plan.kinds:
            yield from self._strengths(kind, memory)

    def _strengths(self, kind: str, memory: Operand) -> Iterator[tuple[Kernel, Record]]:
        """One kind at its three strengths; what is by nature weaker than one of them does not have it."""
        if KINDS[kind].region:
            for strength, part in _REGIONS.items():
                kernel = self._wrong(kind, strength, 1.0, part, memory)
                yield kernel, self._run(kernel)[0]
            return
        kernel = self._wrong(kind, GROSS, 1.0, _CLIPPED, memory)
        record, error = self._run(kernel)
        yield kernel, record
        for strength, wanted in ((PERCENT, 0.01 * self._rms), (EIGHTFOLD, 8.0 * self._envelope)):
            if np.isfinite(error) and 0.0 < wanted < error:
                kernel = self._wrong(kind, strength, wanted / error, _CLIPPED, memory)
                yield kernel, self._run(kernel)[0]

    def _wrong(self, kind: str, strength: str, blend: float, above: float, memory: Operand) -> Kernel:
        """A wrong kernel; `above` is the share of the elements that lie above the level that it gets."""
        level = np.quantile(self._magnitudes, 1.0 - above)
        variant = self._bench.fault(kind, self._place, (blend, self._rms, level, above), memory)
        return Kernel(self._place, kind, strength, variant)

    def _run(self, kernel: Kernel) -> tuple[Record, float]:
        node = self._place.node
        self._bench.put(node, "target", kernel.variant)
        self._bench.run(node)
        result = self._bench.result(node)
        if result.status not in (Status.PASSED, Status.FAILED):
            raise RuntimeError(f"{kernel.variant.overload} at {self._place}: {result.reason} {result.detail}")
        reference, actual = self._bench.arrays(node)
        error, site = largest_error(reference, actual), self._place.site
        return Record(
            mode="isolated",
            operator=site.operator,
            dtype=site.dtype,
            kind=kernel.kind,
            strength=kernel.strength,
            found=result.status is Status.FAILED,
            factor=result.factor,
            peers=judged(reference, actual),
            envelopes=self._envelopes(actual, error),
            diagnosis=diagnosis_of(result),
            note=str(self._place),
        ), error

    def _envelopes(self, actual: np.ndarray, error: float) -> float:
        if not self._place.site.moves and within(self._low, self._high, actual):
            return 0.0
        return error / self._envelope if self._envelope else np.inf if error else 0.0


def diagnosis_of(result: NodeResult) -> str:
    """The kind of wrong that is named first, "" if nothing is said."""
    diagnosis = result.finding.diagnosis if result.finding is not None else None
    return str(diagnosis.kind) if diagnosis is not None else ""
