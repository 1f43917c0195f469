"""Carving beside a `torch.fx.Interpreter` run that keeps every value, and a plain sequential write.

Both sides compute with the same number of threads, warm up once, and take turns; of each the best run counts.
Both write a file that was not there before (replacing one frees its blocks, which is no writing) and wait for the
disk. The export is counted on neither side, nor what carving does at the same time on another core: it copies,
hashes, measures and writes the weights; what that adds to the export is printed beside. Everything else is
counted: sizes, graphs, values, the bytes and the hashes of all that is computed, floors, the tables at the end.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.bench.report import Row, interleaved

RUNS = 9
_BLOCK = 1 << 20
THREADS = 1
"""Of torch. With all of them, threads that wait for each other measure whatever else the machine is doing."""


def _interpreter_seconds(programs: list[tuple[Any, list[Any]]]) -> float:
    import torch

    kept: list[Any] = []

    class Keeper(torch.fx.Interpreter):
        def run_node(self, n: Any) -> Any:
            result = super().run_node(n)
            kept.append(result)
            return result

    started = time.perf_counter()
    with torch.no_grad():
        for graph, inputs in programs:
            Keeper(graph).run(*inputs)
    return time.perf_counter() - started


def _write_seconds(path: Path, data: bytes) -> float:
    """A plain sequential write of the same bytes, flushed to the disk as carving does."""
    path.unlink(missing_ok=True)
    started = time.perf_counter()
    with open(path, "wb") as file, memoryview(data) as view:
        for start in range(0, len(view), _BLOCK):
            file.write(view[start : start + _BLOCK])
        file.flush()
        os.fsync(file.fileno())
    return time.perf_counter() - started


def _carving_seconds(carve: Callable[..., Any], path: Path, floors: bool, in_all: list[float]) -> float:
    path.unlink(missing_ok=True)
    report = carve(out=path, floors=floors)
    in_all.append(report.export_seconds + report.record_seconds)
    seconds: float = report.record_seconds
    return seconds


def _export_seconds(workload: Any) -> float:
    """The export, and what is read out of it, with nothing on another core."""
    from tapml_tui.carve.prepare import prepare

    started = time.perf_counter()
    prepare(workload, folder="", include=None, strict=False)
    return time.perf_counter() - started


def rows() -> Iterator[Row]:
    """MiniLM and Llama, with and without floors."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    try:
        for name in ("minilm", "llama"):
            yield from _rows(name)
    finally:
        torch.set_num_threads(threads)


def _rows(name: str) -> Iterator[Row]:
    from functools import partial

    import torch
    from torch.utils import _pytree as pytree

    from tapml_tui.carve import carve_workload
    from tests import models

    workload = getattr(models, name)()
    programs = []
    for case in workload.cases:
        exported = torch.export.export(workload.module, case.args, dict(case.kwargs), strict=False)
        graph = exported.run_decompositions({}).module()
        programs.append((graph, pytree.tree_leaves((case.args, case.kwargs))))
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch, "a.trace")
        carve = partial(carve_workload, workload)
        carve(out=path, floors=False)
        data = path.read_bytes()
        measures = (
            lambda: _interpreter_seconds(programs),
            lambda: _write_seconds(path, data),
            lambda: _export_seconds(workload),
            lambda: _carving_seconds(carve, path, False, in_all),
            lambda: _carving_seconds(carve, path, True, []),
        )
        in_all: list[float] = []
        interleaved(1, measures)  # warms up
        in_all.clear()
        interpreter, write, export, plain, floors = interleaved(RUNS, measures, min)
    how = f"Interpreter {interpreter:.3f} s, plain write {write:.3f} s"
    how += f", {len(data) / 1e6:.0f} MB, {THREADS} torch thread; in all {min(in_all):.3f} s"
    how += f" without floors, of which the export, with nothing beside it, takes {export:.3f} s"
    yield Row(f"carve {name} --no-floors", plain, 2 * interpreter + 2 * write, "s", how)
    yield Row(f"carve {name} with floors", floors, 6 * interpreter + 2 * write, "s", how)
