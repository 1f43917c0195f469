"""Carving beside a `torch.fx.Interpreter` run that keeps every value, and a plain sequential write."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.bench.report import Row


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


def _write_seconds(folder: Path, size: int) -> float:
    """A plain sequential write of `size` bytes, flushed to the disk as carving does."""
    block = os.urandom(1 << 20)
    started = time.perf_counter()
    with open(folder / "plain", "wb") as file:
        for _ in range(size >> 20):
            file.write(block)
        file.write(block[: size & ((1 << 20) - 1)])
        file.flush()
        os.fsync(file.fileno())
    return time.perf_counter() - started


def rows() -> Iterator[Row]:
    """MiniLM and Llama, with and without floors, three runs in turn."""
    import torch
    from torch.utils import _pytree as pytree

    from tapml_tui.carve import carve_workload
    from tests import models

    for name in ("minilm", "llama"):
        workload = getattr(models, name)()
        programs = []
        for case in workload.cases:
            exported = torch.export.export(workload.module, case.args, dict(case.kwargs), strict=False)
            graph = exported.run_decompositions({}).module()
            programs.append((graph, pytree.tree_leaves((case.args, case.kwargs))))
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            samples: dict[str, list[float]] = {"interpreter": [], "plain": [], "floors": [], "write": []}
            for run in range(4):
                interpreter = _interpreter_seconds(programs)
                plain = carve_workload(workload, out=folder / "plain.trace", floors=False)
                floors = carve_workload(workload, out=folder / "floors.trace")
                write = _write_seconds(folder, plain.size)
                if run:  # the first one warms up
                    samples["interpreter"].append(interpreter)
                    samples["plain"].append(plain.record_seconds)
                    samples["floors"].append(floors.record_seconds)
                    samples["write"].append(write)
        middle = {key: statistics.median(values) for key, values in samples.items()}
        how = (
            f"Interpreter {middle['interpreter']:.3f} s, plain write {middle['write']:.3f} s, {plain.size / 1e6:.0f} MB"
        )
        writing = 2 * middle["write"]
        yield Row(f"carve {name} --no-floors", middle["plain"], 2 * middle["interpreter"] + writing, "s", how)
        yield Row(f"carve {name} with floors", middle["floors"], 6 * middle["interpreter"] + writing, "s", how)
