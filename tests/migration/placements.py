"""Wrong kernels at one, two and three nodes of a chain: who is LOCAL, what becomes of the answer, who is blamed."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tapml_tui.compare.result import Status, Verdict
from tapml_tui.engine.blame import most_runs
from tapml_tui.engine.commands import FindBlame, Mode
from tests.faults.bench import Bench, Place, bench_on
from tests.faults.faults import KINDS, kinds_at
from tests.faults.placing import Variant

ROOT = Path(__file__).parents[2]
MODELS = ("minilm", "llama", "demo")
_BROKE = (Status.ERROR, Status.UNSUPPORTED)


@dataclass(frozen=True)
class Outcome:
    """What came of one placement.

    Attributes:
        model: Of `MODELS`.
        planted: Nodes with a wrong kernel, and which.
        local: The nodes that were called LOCAL.
        broken: Whether the answer was wrong.
        blamed: The causes that blame returned, all nodes together.
        runs: How many runs that took.
        nodes: How many nodes were suspected.
        proven: Each cause alone breaks the answer, and everything but all causes does not.
    """

    model: str
    planted: tuple[tuple[int, str], ...]
    local: frozenset[int]
    broken: bool
    blamed: frozenset[int]
    runs: int
    nodes: int
    proven: bool

    @property
    def guilty(self) -> frozenset[int]:
        """The nodes with a wrong kernel."""
        return frozenset(node for node, _ in self.planted)

    @property
    def local_exactly(self) -> bool:
        """The LOCAL nodes are the guilty ones."""
        return self.local == self.guilty

    @property
    def innocent_accused(self) -> frozenset[int]:
        """LOCAL nodes with a right kernel."""
        return self.local - self.guilty

    @property
    def blamed_rightly(self) -> bool:
        """Nothing to blame where the answer is right; else planted nodes alone, proven, in few enough runs."""
        if not self.broken:
            return not self.blamed
        few = self.runs <= most_runs(len(self.blamed), self.nodes)
        return bool(self.blamed) and self.blamed <= self.guilty and self.proven and few


def carve(folder: Path, model: str) -> Path:
    """The trace of a model, carved in a process of its own."""
    path = folder / f"{model}.trace"
    function = "assets/demo_model.py:build" if model == "demo" else f"tests/models.py:{model}"
    command = [sys.executable, "-m", "tapml_tui", "carve", function, "-o", str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"carving {model}: {done.stderr[-2000:]}")
    return path


def outcomes(trace: Path, model: str, seed: str, folder: Path, count: int) -> Iterator[Outcome]:
    """As many placements of wrong kernels as wanted."""
    dice = random.Random(f"{seed}/{model}")
    with bench_on(trace, seed, folder) as bench:
        found = bench.places()
        healthy = _healthy(bench)
        for number in range(count):
            operators = dice.sample(list(found), min(len(found), 1 + number % 3))
            places = {place.node: place for place in (dice.choice(found[operator]) for operator in operators)}
            yield _outcome(bench, model, healthy, [places[node] for node in sorted(places)], dice)


def _healthy(bench: Bench) -> list[int]:
    """The nodes that TVM gets wrong: they stay on the source, whose kernels are right."""
    bench.go(Mode.CHAINED, "target")
    left: list[int] = []
    while True:
        bench.run()
        results = [bench.result(node) for node in range(len(bench.driver.engine.graph))]
        wrong = [
            r.node for r in results if r.backend == "target" and (r.verdict is Verdict.LOCAL or r.status in _BROKE)
        ]
        if not wrong:
            return left
        left += wrong
        for node in wrong:
            bench.put(node, "source")


def _outcome(bench: Bench, model: str, left: list[int], places: list[Place], dice: random.Random) -> Outcome:
    planted = []
    for place in places:
        if place.node in left:
            continue
        kind = dice.choice([kind for kind in kinds_at(place.site) if kind != "stale"])
        bench.put(place.node, "target", _variant(bench, place, kind, dice))
        planted.append((place.node, kind))
    bench.run()
    put, planted = planted, []
    for node, kind in put:
        if bench.result(node).status in _BROKE:  # the suite has no such kernel for this call: nothing was planted
            bench.put(node, "target")
        else:
            planted.append((node, kind))
    bench.run()
    engine = bench.driver.engine
    local = {node for node in range(len(engine.graph)) if bench.result(node).verdict is Verdict.LOCAL}
    answer = engine.snapshot.answer
    report = bench.driver.do(FindBlame()).blame
    assert answer is not None
    assert report is not None
    proven = all(alone.passed is False for alone in report.alone) and (
        report.without is None or report.without.passed is True
    )
    for node, _ in planted:
        bench.put(node, "target")
    return Outcome(
        model=model,
        planted=tuple(planted),
        local=frozenset(local),
        broken=answer.passed is False,
        blamed=frozenset(report.blame.guilty),
        runs=report.blame.runs,
        nodes=report.blame.nodes,
        proven=proven,
    )


def _variant(bench: Bench, place: Place, kind: str, dice: random.Random) -> Variant:
    """A wrong kernel, gross or a tenth of it, in a fifth of the elements where it has a region."""
    reference = bench.driver.engine.reference(place.node, 0)
    assert reference is not None
    magnitudes = np.abs(reference.astype(np.float64)).reshape(-1)
    share = 0.2 if KINDS[kind].region else 0.1
    level = float(np.quantile(magnitudes, 1.0 - share))
    rms = float(np.sqrt((magnitudes**2).mean()))
    memory = bench.target.operand(np.ascontiguousarray(np.flip(reference)), place.site.dtype)
    blend = 1.0 if KINDS[kind].region else dice.choice([1.0, 1.0, 0.1])
    return bench.fault(kind, place, (blend, rms, level, share), memory)
