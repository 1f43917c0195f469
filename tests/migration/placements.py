"""Wrong kernels at one, two and three nodes of a chain: who is LOCAL, what becomes of the answer, who is blamed."""

from __future__ import annotations

import math
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
_TRIES = 3  # to find two places that break the answer together


@dataclass(frozen=True)
class Outcome:
    """What came of one placement.

    Attributes:
        model: Of `MODELS`.
        planted: Nodes with a wrong kernel, and which.
        local: The nodes that were called LOCAL.
        pair: They were planted so that each alone leaves the answer right, and both break it.
        broken: Whether the answer was wrong.
        healed: Whether a node got wrong inputs and gave a right result.
        causes: Those that blame returned.
        runs: How many runs that took.
        nodes: How many nodes were suspected.
        proven: Each cause alone breaks the answer, and everything but all causes does not.
    """

    model: str
    planted: tuple[tuple[int, str], ...]
    local: frozenset[int]
    pair: bool
    broken: bool
    healed: bool
    causes: tuple[frozenset[int], ...]
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
        blamed = frozenset[int]().union(*self.causes)
        if not self.broken:
            return not blamed
        if self.pair and self.causes != (self.guilty,):
            return False
        return (
            bool(blamed) and blamed <= self.guilty and self.proven and self.runs <= most_runs(len(blamed), self.nodes)
        )


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
    """As many placements of wrong kernels as wanted: at one, two and three nodes, and at two that need each other."""
    dice = random.Random(f"{seed}/{model}")
    with bench_on(trace, seed, folder) as bench:
        left = _healthy(bench)
        found = {op: [place for place in places if place.node not in left] for op, places in bench.places().items()}
        found = {op: places for op, places in found.items() if places}
        for number in range(count):
            pair: dict[int, str] = {}
            for _ in range(_TRIES if number % 4 == 3 else 0):
                pair = pair or _interacting(bench, _places(found, 2, dice), dice)
            drawn = pair or _drawn(bench, _places(found, (1, 2, 3, 2)[number % 4], dice), dice)
            yield _outcome(bench, model, drawn, pair=bool(pair))


def _places(found: dict[str, list[Place]], wanted: int, dice: random.Random) -> list[Place]:
    """Places of different operators, in graph order."""
    operators = dice.sample(list(found), min(len(found), wanted))
    return sorted((dice.choice(found[operator]) for operator in operators), key=lambda place: place.node)


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


def _outcome(bench: Bench, model: str, planted: dict[int, str], *, pair: bool) -> Outcome:
    bench.run()
    engine = bench.driver.engine
    verdicts = [bench.result(node).verdict for node in range(len(engine.graph))]
    answer = engine.snapshot.answer
    report = bench.driver.do(FindBlame()).blame
    assert answer is not None
    assert report is not None
    proven = all(alone.passed is False for alone in report.alone) and (
        report.without is None or report.without.passed is True
    )
    for node in planted:
        bench.put(node, "target")
    return Outcome(
        model=model,
        planted=tuple(sorted(planted.items())),
        local=frozenset(node for node, verdict in enumerate(verdicts) if verdict is Verdict.LOCAL),
        pair=pair,
        broken=answer.passed is False,
        healed=Verdict.HEALED in verdicts,
        causes=tuple(map(frozenset, report.blame.causes)),
        runs=report.blame.runs,
        nodes=report.blame.nodes,
        proven=proven,
    )


def _drawn(bench: Bench, places: list[Place], dice: random.Random) -> dict[int, str]:
    """Put a wrong kernel of any kind at each place; the kinds by node, of those that do harm there."""
    put: dict[int, tuple[str, Variant]] = {}
    for place in places:
        kind = dice.choice([kind for kind in kinds_at(place.site) if kind != "stale"])
        strength = 1.0 if KINDS[kind].region else dice.choice([1.0, 1.0, 0.1])
        put[place.node] = kind, _variant(bench, place, kind, strength)
        bench.put(place.node, "target", put[place.node][1])
    bench.run()
    return {node: kind for node, (kind, variant) in put.items() if _does_harm(bench, node, variant)}


def _does_harm(bench: Bench, node: int, variant: Variant) -> bool:
    """Whether a kernel gives anything but what the healthy one gives there; if not, it is taken away.

    The suite may have no such kernel for a call; rows that are all alike can be shifted without harm.
    """
    engine, result = bench.driver.engine, bench.result(node)
    if result.verdict is Verdict.LOCAL:
        return True
    spoilt = engine.actual(node, 0)
    bench.put(node, "target")
    bench.run(node)
    healthy = engine.actual(node, 0)
    if result.status in _BROKE or (spoilt is not None and healthy is not None and _bits(spoilt) == _bits(healthy)):
        return False
    bench.put(node, "target", variant)
    return True


def _bits(array: np.ndarray) -> bytes:
    return array.tobytes()


def _interacting(bench: Bench, places: list[Place], dice: random.Random) -> dict[int, str]:
    """Put wrong kernels at two places, each as strong as leaves the answer right, if both together break it."""
    chosen = [(place, _simple(place, dice)) for place in places]
    found = [(place, kind, _strongest(bench, place, kind)) for place, kind in chosen]
    strong = [(place, kind, strength) for place, kind, strength in found if strength is not None]
    for sign in (1.0, -1.0) if len(strong) == 2 else ():  # errors may cancel
        (first, one, much), (second, other, more) = strong
        bench.put(first.node, "target")
        bench.put(second.node, "target", _variant(bench, second, other, sign * more))
        alone = _breaks(bench)  # the other way round it may do so sooner
        bench.put(first.node, "target", _variant(bench, first, one, much))
        if not alone and _breaks(bench):
            return {place.node: kind for place, kind in chosen}
    for place in places:
        bench.put(place.node, "target")
    return {}


def _simple(place: Place, dice: random.Random) -> str:
    return dice.choice([kind for kind in ("scale", "offset") if kind in kinds_at(place.site)])


def _strongest(bench: Bench, place: Place, kind: str) -> float | None:
    """How much of a fault leaves the answer right, up to a tenth; None if all of it does, or nothing."""

    def breaks(strength: float) -> bool:
        bench.put(place.node, "target", _variant(bench, place, kind, strength))
        return _breaks(bench)

    right, wrong = 2.0**-26, 16.0
    found = breaks(wrong) and not breaks(right)
    while found and wrong > 1.1 * right:
        middle = math.sqrt(right * wrong)
        if breaks(middle):
            wrong = middle
        else:
            right = middle
    bench.put(place.node, "target")
    return right if found else None


def _breaks(bench: Bench) -> bool:
    bench.run()
    answer = bench.driver.engine.snapshot.answer
    return answer is not None and answer.passed is False


def _variant(bench: Bench, place: Place, kind: str, strength: float) -> Variant:
    """A wrong kernel: so much of it, or in a fifth of the elements where it has a region."""
    reference = bench.driver.engine.reference(place.node, 0)
    assert reference is not None
    magnitudes = np.abs(reference.astype(np.float64)).reshape(-1)
    share = 0.2 if KINDS[kind].region else 0.1
    level = float(np.quantile(magnitudes, 1.0 - share))
    rms = float(np.sqrt((magnitudes**2).mean()))
    memory = bench.target.operand(np.ascontiguousarray(np.flip(reference)), place.site.dtype)
    return bench.fault(kind, place, (strength, rms, level, share), memory)
