"""The verdict pass and all metrics on 256 MiB, beside `np.allclose` in the same run.

Seconds are those of the clock, and the best of several runs in turn: a
neighbour on the machine slows both. Memory is what numpy and Python allocate, at its peak.
"""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable, Iterator

import ml_dtypes
import numpy as np

from tapml_tui.compare import compare
from tapml_tui.compare.metrics import measure
from tapml_tui.compare.noise import noise_of
from tests.bench.report import Row
from trace_format.model import Floor

BYTES = 256 << 20
RUNS = 5
FLOOR = Floor(2e-6, 4e-7, "float64", 3e4, 1.9e-6)


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _best(*works: Callable[[], object]) -> list[float]:
    return [min(times) for times in zip(*([_seconds(work) for work in works] for _ in range(RUNS)), strict=True)]


def _peak(work: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def _pair(dtype: np.dtype) -> tuple[np.ndarray, np.ndarray]:
    """A reference, and what a healthy kernel makes: errors of a few float32 roundings, then rounded to the dtype."""
    random = np.random.default_rng(0)
    size = BYTES // dtype.itemsize
    reference, actual = np.empty((size >> 12, 4096), dtype), np.empty((size >> 12, 4096), dtype)
    for start in range(0, size >> 12, 256):
        part = slice(start, start + 256)
        exact = random.standard_normal((256, 4096), np.float32)
        reference[part] = exact
        actual[part] = exact + random.standard_normal(exact.shape, np.float32) * np.float32(2e-7)
    return reference, actual


def rows() -> Iterator[Row]:
    """float32 with its promise, float16 and bfloat16 with what they are."""
    for name, promised in (("float32", True), ("float16", False), ("bfloat16", False)):
        dtype = np.dtype(getattr(ml_dtypes, name, name))
        reference, actual = _pair(dtype)

        def verdict(reference: np.ndarray = reference, actual: np.ndarray = actual) -> object:
            return compare(reference, actual, floor=FLOOR, terms=384.0, functions=False)

        def metrics(reference: np.ndarray = reference, actual: np.ndarray = actual) -> object:
            return measure(reference, actual, noise_of(reference.dtype, FLOOR, 1.0, terms=384.0, functions=False))

        def numpys(reference: np.ndarray = reference, actual: np.ndarray = actual) -> object:
            return np.allclose(reference, actual, rtol=1e-2, atol=1e-2)

        assert verdict().passed and numpys()
        *ours, theirs = _best(verdict, metrics, numpys)
        for what, work, seconds, promise in (("verdict", verdict, ours[0], 1.5), ("metrics", metrics, ours[1], 0.6)):
            how = f"{BYTES / seconds / 1e9:.2f} GB/s of each side; np.allclose {BYTES / theirs / 1e9:.2f} GB/s"
            least = promise if promised else 0.0
            yield Row(f"{what} {name}", theirs / seconds, least, "x np.allclose", how, at_least=True)
            memory = _peak(work) / (1 << 20)
            yield Row(f"{what} {name}, peak memory", memory, 64.0, "MiB", f"{BYTES >> 20} MiB a side")
