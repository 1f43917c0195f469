"""Blame and switches on a 4-layer Llama: what they cost beside one chained run."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tapml_tui.backends.protocol import Execute
from tapml_tui.engine.commands import FindBlame, Mode
from tests.bench.report import Row
from tests.faults.bench import Bench, Place, bench_on
from tests.faults.placing import Variant
from tests.migration.placements import carve

FAR = 0.1
"""The wrong kernel is about here in the graph: most of it lies behind."""


def _timed(do: Callable[[], object]) -> float:
    begun = time.perf_counter()
    do()
    return time.perf_counter() - begun


class _Counted:
    """Requests to both sides."""

    def __init__(self, bench: Bench) -> None:
        self.number = 0
        for backend in (bench.driver.source, bench.driver.target):
            self._count(backend)

    def _count(self, backend: Any) -> None:
        execute = backend.execute

        def counted(request: Execute) -> None:
            self.number += 1
            execute(request)

        backend.execute = counted


def _wrong(bench: Bench, place: Place) -> Variant:
    reference = bench.driver.engine.reference(place.node, 0)
    assert reference is not None
    rms = float(np.sqrt(np.square(reference.astype(np.float64)).mean()))
    memory = bench.target.operand(np.ascontiguousarray(np.flip(reference)), place.site.dtype)
    return bench.fault("scale", place, (1.0, rms, rms, 0.2), memory)


def _downstream(bench: Bench, node: int) -> int:
    """How many nodes depend on a node, itself included."""
    indptr, nodes, _ = bench.driver.engine.graph.producers
    reached = {node}
    for consumer in range(node + 1, len(bench.driver.engine.graph)):
        if reached.intersection(int(p) for p in nodes[indptr[consumer] : indptr[consumer + 1]]):
            reached.add(consumer)
    return len(reached)


def rows() -> Iterator[Row]:
    """One wrong linear layer near the beginning."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        trace = carve(folder, "llama")
        with bench_on(trace, "bench", folder) as bench:  # compiles
            bench.go(Mode.CHAINED, "target")
            bench.run()
        with bench_on(trace, "bench", folder) as bench:
            bench.go(Mode.CHAINED, "target")
            bench.run(0)  # starts the workers
            run = _timed(bench.run)
            size = len(bench.driver.engine.graph)
            place = min(bench.places()["aten.linear"], key=lambda place: abs(place.node - FAR * size))
            bench.put(place.node, "target", _wrong(bench, place))
            bench.run()
            sent = _Counted(bench)
            bench.put(place.node, "source")
            bench.run()
            depends = _downstream(bench, place.node)
            how = f"{depends} of {size} nodes depend on it; a mismatch asks the source too"
            yield Row("executions after one switch", sent.number, 2 * depends, "", how)
            bench.put(place.node, "target", _wrong(bench, place))
            bench.run()
            report = None

            def blame() -> None:
                nonlocal report
                report = bench.driver.do(FindBlame()).blame

            seconds = _timed(blame)
            assert report is not None
            how = f"{report.blame.runs} runs; one chained run {run:.2f} s; guilty {report.causes}"
            yield Row("blame of one fault, in chained runs", seconds / run, 10.0, "x", how)
