"""How many errors there are of each order of magnitude."""

from __future__ import annotations

import math
from collections import Counter
from functools import lru_cache
from typing import Any

import numpy as np

from tapml_tui.compare.chunks import Array

_LOWEST = -323
_POWERS = np.array([float(f"1e{power}") for power in range(_LOWEST, 309)])
_STEPS = 10
"""Decades below the largest error that are counted one by one; what is smaller still is looked up."""


class Histogram:
    """Counts of errors in [10**decade, 10**(decade + 1)); the edges are exact."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._counts: Counter[int] = Counter()

    def add(self, error: Array) -> int:
        """Count a chunk of errors, float32 or float64, none below zero; infinite ones do not count.

        Returns:
            How many are zero.
        """
        top = float(error.max(initial=0.0))
        if math.isinf(top):
            error = error[np.isfinite(error)]
            top = float(error.max(initial=0.0))
        nonzero = int(np.count_nonzero(error))
        if not nonzero:
            return error.size
        decade, counted = _decade(top), 0
        for power in range(decade, decade - _STEPS, -1):
            so_far = int(np.count_nonzero(error >= _edge(power, error.dtype)))
            self._counts[power] += so_far - counted
            counted = so_far
            if counted == nonzero:
                break
        else:
            rest = error[(error > 0) & (error < _edge(decade - _STEPS + 1, error.dtype))].astype(np.float64)
            found, counts = np.unique(np.searchsorted(_POWERS, rest, side="right"), return_counts=True)
            self._counts.update({int(i) - 1 + _LOWEST: int(n) for i, n in zip(found, counts, strict=True)})
        return error.size - nonzero

    def result(self) -> tuple[tuple[int, int], ...]:
        """(decade, count), from the smallest to the largest that has any, with those between."""
        present = [decade for decade, count in self._counts.items() if count]
        if not present:
            return ()
        return tuple((decade, self._counts[decade]) for decade in range(min(present), max(present) + 1))


def _decade(number: float) -> int:
    return int(np.searchsorted(_POWERS, number, side="right")) - 1 + _LOWEST


@lru_cache(1024)
def _edge(power: int, dtype: np.dtype[Any]) -> Any:
    """The smallest number of the dtype that is not below 10**power."""
    exact = float(_POWERS[max(power, _LOWEST) - _LOWEST])
    edge = dtype.type(exact)
    return edge if float(edge) >= exact else np.nextafter(edge, dtype.type(math.inf))
