"""The suite: traces carved anew, kernels compiled, every one of them judged; a sample of it, or all."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.faults import carving
from tests.faults.isolated import Bench, Place, at, open_bench, places, plan, prepare
from tests.faults.placing import placing_backends
from tests.faults.records import Record
from trace_format import open_trace

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Amount:
    """How much of the suite is run.

    Attributes:
        models: Of `carving.MODELS`.
        dtypes: Of `carving.DTYPES`.
        operators: At most so many of each trace, drawn.
        benign: At most so many variants at a place.
        kinds: At most so many kinds of fault at a place.
        chained: So many faults of each trace in the chain, and as many rounds of benign variants as make sense.
    """

    models: tuple[str, ...] = carving.MODELS
    dtypes: tuple[str, ...] = carving.DTYPES
    operators: int = 99
    benign: int = 99
    kinds: int = 99
    chained: int = 40


def carve(folder: Path, models: Sequence[str] = carving.MODELS, dtypes: Sequence[str] = carving.DTYPES) -> None:
    """Carve the suite's models into a folder, in a process of its own."""
    command = [sys.executable, "-m", "tests.faults.carving", str(folder), ",".join(models), ",".join(dtypes)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"carving: {done.stderr[-2000:]}")


@contextmanager
def bench_on(path: Path, seed: str, folder: Path) -> Iterator[Bench]:
    """An engine with the suite's target on a trace; `folder` keeps what it compiles."""
    source, target = placing_backends(folder)
    bench = open_bench(open_trace(path), (source, target), target, seed)
    try:
        yield bench
    finally:
        bench.driver.__exit__()


def _some(items: Sequence[str], count: int, draw: random.Random) -> list[str]:
    return list(items) if len(items) <= count else draw.sample(items, count)


def isolated_records(bench: Bench, amount: Amount, draw: random.Random) -> Iterator[Record]:
    """The records of one trace."""
    found = places(bench.driver.engine.trace, draw)
    chosen: list[Place] = found if len(found) <= amount.operators else draw.sample(found, amount.operators)
    plans = []
    for place in chosen:
        variants, kinds = plan(place, draw)
        plans.append((place, _some(variants, amount.benign, draw), _some(kinds, amount.kinds, draw)))
    prepare(bench, plans)
    for place, variants, kinds in plans:
        yield from at(bench, place, variants, kinds)


def run(seed: str, folder: Path, amount: Amount, say: Callable[[str], None] = lambda _: None) -> list[Record]:
    """The records of the whole suite, as much of it as was asked for."""
    carve(folder, amount.models, amount.dtypes)
    records: list[Record] = []
    for model in amount.models:
        for dtype in amount.dtypes:
            draw = random.Random(f"{seed}/{model}/{dtype}")
            with bench_on(carving.path_of(folder, model, dtype), seed, folder) as bench:
                records += isolated_records(bench, amount, draw)
            say(f"{model} {dtype}: {len(records)} kernels so far")
    return records
