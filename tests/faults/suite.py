"""The suite: traces carved anew, kernels compiled, every one of them judged; a sample of it, or all."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from tests.faults import carving
from tests.faults.arithmetic import benign
from tests.faults.bench import Bench, Kernel, bench_on
from tests.faults.chained import Chain
from tests.faults.faults import kinds_at
from tests.faults.isolated import Plan, judge
from tests.faults.records import Record

ROOT = Path(__file__).parents[2]

T = TypeVar("T")


@dataclass(frozen=True)
class Amount:
    """How much of the suite is run.

    Attributes:
        models: Of `carving.MODELS`.
        dtypes: Of `carving.DTYPES`.
        operators: At most so many of each trace, drawn.
        benign: At most so many variants at a place.
        kinds: At most so many kinds of fault at a place.
        chained: So many faults of each trace in the chain.
        rounds: So many times all nodes of a chain get benign variants.
    """

    models: tuple[str, ...] = carving.MODELS
    dtypes: tuple[str, ...] = carving.DTYPES
    operators: int = 99
    benign: int = 99
    kinds: int = 99
    chained: int = 40
    rounds: int = 4


def carve(folder: Path, models: Sequence[str], dtypes: Sequence[str]) -> None:
    """Carve the suite's models into a folder, in a process of its own."""
    command = [sys.executable, "-m", "tests.faults.carving", str(folder), ",".join(models), ",".join(dtypes)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"carving: {done.stderr[-2000:]}")


def _some(items: Sequence[T], count: int, draw: random.Random) -> list[T]:
    return list(items) if len(items) <= count else draw.sample(items, count)


def run(seed: str, folder: Path, amount: Amount, say: Callable[[str], None] = lambda _: None) -> list[Record]:
    """The records of the suite, as much of it as was asked for; `folder` is for its traces and kernels."""
    carve(folder, amount.models, amount.dtypes)
    records: list[Record] = []
    for model in amount.models:
        for dtype in amount.dtypes:
            draw = random.Random(f"{seed}/{model}/{dtype}")
            with bench_on(carving.path_of(folder, model, dtype), seed, folder) as bench:
                records += _of_trace(bench, amount, draw)
            say(f"{model} {dtype}: {len(records)} judgements so far")
    return records


def _of_trace(bench: Bench, amount: Amount, draw: random.Random) -> list[Record]:
    found = bench.places()
    plans = []
    for operator in _some(list(found), amount.operators, draw):
        place = draw.choice(found[operator])
        variants = _some(benign(operator, place.site.dtype, draw), amount.benign, draw)
        plans.append(Plan(place, variants, _some(kinds_at(place.site), amount.kinds, draw)))
    alone: list[tuple[Kernel, Record]] = list(judge(bench, plans))
    records = [record for _, record in alone]
    if not amount.chained:
        return records
    covered = [place for several in found.values() for place in several]
    chain = Chain(bench, covered, whole=plans[0].place.site.dtype == "float32")
    for _ in range(amount.rounds):
        records += chain.benign(draw)
    chain.plain()
    faults = [(kernel, record) for kernel, record in alone if not record.benign and not record.weak]
    for kernel, record in _some(faults, amount.chained, draw):
        records += chain.fault(kernel, record)
    return records
