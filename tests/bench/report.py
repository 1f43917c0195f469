"""One line of a benchmark: what was measured, beside what, and the promise."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """`ours` and `limit` have the same unit; the promise is kept if ours <= limit.

    Where more is better (`at_least`), it is kept if ours >= limit.
    """

    what: str
    ours: float
    limit: float
    unit: str
    how: str
    at_least: bool = False

    @property
    def kept(self) -> bool:
        return self.ours >= self.limit if self.at_least else self.ours <= self.limit

    def __str__(self) -> str:
        sign = ">=" if self.at_least else "<="
        ratio = self.ours / self.limit if self.limit else float("inf")
        mark = "ok  " if self.kept else "MISS"
        return (
            f"{mark} {self.what}: {self.ours:.4g} {self.unit} {sign} {self.limit:.4g} {self.unit}"
            f"  (ratio {ratio:.2f})  [{self.how}]"
        )


def median_of(runs: int, measure: Callable[[], float]) -> float:
    """Median of `runs` measurements, in the unit that `measure` returns."""
    return statistics.median(measure() for _ in range(runs))


def interleaved(
    runs: int,
    measures: Sequence[Callable[[], float]],
    of: Callable[[list[float]], float] = statistics.median,
) -> list[float]:
    """One number for each of several measures taken in turn, so that a drift of the machine hits all of them.

    Args:
        runs: How often each is taken.
        measures: What is taken.
        of: Makes one number of the samples of a measure. `min` for what is short, where cores are shared with
            other machines that slow down any single run: they only ever add.
    """
    samples: list[list[float]] = [[] for _ in measures]
    for _ in range(runs):
        for sample, measure in zip(samples, measures, strict=True):
            sample.append(measure())
    return [of(sample) for sample in samples]
