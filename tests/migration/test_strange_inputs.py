"""A fault upstream may feed a kernel what no model has. Healthy kernels then agree in few digits, and none is LOCAL."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tapml_tui.compare import Verdict
from tapml_tui.engine.commands import Force, Mode, SetBackend
from tests.faults.bench import Bench, bench_on
from tests.migration.placements import MODELS, carve
from tests.sampling import SEED, SOAK, count, rng

pytestmark = [pytest.mark.torch, pytest.mark.tvm, pytest.mark.slow]

QUICK, FULL = 12, 600
"""Values forced, over all models: a second each."""
Array = np.ndarray


def _one_among_zeros(recorded: Array, number: float) -> Array:
    value = np.zeros_like(recorded)
    value[..., 0] = number
    return value


def _one_row(recorded: Array, number: float) -> Array:
    value = recorded.copy()
    value[..., 0, :] = number
    return value


STRANGE: dict[str, Callable[[Array, float], Array]] = {
    "constant": np.full_like,
    "each row constant": lambda recorded, number: np.broadcast_to(recorded[..., :1] + number, recorded.shape),
    "all tokens alike": lambda recorded, _: np.broadcast_to(recorded[..., :1, :], recorded.shape),
    "nearly alike": lambda recorded, number: number + np.float32(1e-6) * recorded,
    "one among zeros": _one_among_zeros,
    "one row constant": _one_row,
    "signs in turn": lambda recorded, number: np.resize(np.array([number, -number], recorded.dtype), recorded.shape),
    "tiny": lambda recorded, _: recorded * np.float32(1e-6),
    "large": lambda recorded, _: recorded * np.float32(1e4),
}


def accused(bench: Bench) -> set[str]:
    engine = bench.driver.engine
    results = [(node, engine.result(node)) for node in range(len(engine.graph))]
    return {
        f"{engine.graph.node_id(node)}: {one.reason}" for node, one in results if one and one.verdict is Verdict.LOCAL
    }


@pytest.mark.parametrize("model", MODELS if SOAK else ["demo"])
def test_nobody_is_guilty_of_what_was_forced_upstream(model: str, tmp_path: Path) -> None:
    dice = rng(f"strange/{model}")
    with bench_on(carve(tmp_path, model), f"{SEED}", tmp_path) as bench:
        bench.go(Mode.CHAINED, "target")
        bench.run()
        left = {text.partition(":")[0] for text in accused(bench)}
        engine = bench.driver.engine
        places = sorted({place.node for found in bench.places().values() for place in found})
        for number in range(count(QUICK, FULL // len(MODELS))):
            node, kind = dice.choice(places), dice.choice(list(STRANGE))
            recorded = engine.reference(node, 0)
            if recorded is None or recorded.ndim < 2 or recorded.dtype != np.float32:
                continue
            file = tmp_path / f"{number}.npy"
            np.save(file, STRANGE[kind](recorded, np.float32(dice.choice([1.7, -0.31, 37.123]))).astype(np.float32))
            bench.driver.do(Force(node, str(file)))
            bench.run()
            found = {text for text in accused(bench) if text.partition(":")[0] not in left}
            assert not found, (engine.graph.node_id(node), kind)
            bench.driver.do(SetBackend(node, node + 1, "target"))
