"""The suite: traces carved anew, kernels compiled, every one of them judged; a sample of it, or all."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
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
    """The records of the suite, as much of it as was asked for.

    Args:
        seed: What everything that is drawn is drawn from.
        folder: For its traces and kernels.
        amount: How much.
        say: Gets a line about each trace, and about each kernel that is not judged as it should be.
    """
    carve(folder, amount.models, amount.dtypes)
    records: list[Record] = []
    for model in amount.models:
        for dtype in amount.dtypes:
            draw = random.Random(f"{seed}/{model}/{dtype}")
            say(f"{model} {dtype}")
            with bench_on(carving.path_of(folder, model, dtype), seed, folder) as bench:
                for record in _of_trace(bench, amount, draw):
                    records.append(record)
                    if record.benign == record.found and not record.weak:
                        say(f"  {'FALSE ALARM' if record.found else 'MISSED'} {record}")
    return records


def _of_trace(bench: Bench, amount: Amount, draw: random.Random) -> Iterator[Record]:
    found = bench.places()
    plans = []
    for operator in _some(list(found), amount.operators, draw):
        place = draw.choice(found[operator])
        variants = _some(benign(operator, place.site.dtype, draw), amount.benign, draw)
        plans.append(Plan(place, variants, _some(kinds_at(place.site), amount.kinds, draw)))
    wrong: list[tuple[Kernel, Record]] = []
    for kernel, record in judge(bench, plans):
        if not record.benign and not record.weak:
            wrong.append((kernel, record))
        yield record
    if not amount.chained:
        return
    covered = [place for several in found.values() for place in several]
    chain = Chain(bench, covered, whole=plans[0].place.site.dtype == "float32")
    for _ in range(amount.rounds):
        yield from chain.benign(draw)
    chain.plain()
    for kernel, record in _some(wrong, amount.chained, draw):
        yield from chain.fault(kernel, record)
