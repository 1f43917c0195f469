"""How large a recorded value is, and how far it lies from its float64 replays: one pass, in the cache.

The arithmetic is numpy's: it lets other threads run meanwhile, and starts none of its own.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from tapml_tui.compare.precision import half_ulp, precision
from trace_format.model import Floor

EXACT = Floor(0.0, 0.0, "exact", 0.0, 0.0)

BOUND_ULPS = 16
"""Where no replay can be had, the floor is this many units in the last place of the largest element."""

CHUNK = 1 << 14
"""Elements at a time: a handful of float64 temporaries of this length stay in a second-level cache."""

_HUGE = math.sqrt(np.finfo(np.float64).max)

Array: TypeAlias = npt.NDArray[Any]


class Against(NamedTuple):
    """What a floor is measured against.

    Attributes:
        replayed: The value in double precision; None where no replay could be had.
        bounded: Whether the documented bound stands for the rounding of the operator itself, which is not in
            the replay.
    """

    replayed: Array | None
    bounded: bool


Yardstick: TypeAlias = Against | Floor | None
"""What a floor is to be measured against, or the floor itself where there is nothing to measure."""


class Measured(NamedTuple):
    """`peak` and `rms` as in `Value`; one floor for each yardstick."""

    peak: float | None
    rms: float | None
    floors: tuple[Floor | None, ...]


@np.errstate(invalid="ignore", over="ignore")
def measure(value: Array, yardsticks: tuple[Yardstick, ...] = ()) -> Measured:
    """Size and floors of a value.

    Args:
        value: Floating or complex; others have no size.
        yardsticks: For each floor that is wanted; arrays in them have as many elements as `value`.
    """
    unit = precision(value.dtype)
    if unit is None:
        return Measured(None, None, tuple(y if isinstance(y, Floor) else None for y in yardsticks))
    extent = _Extent()
    distances: dict[int, _Distance] = {}  # isolated and chained are one array until a value has drifted
    for yardstick in yardsticks:
        if isinstance(yardstick, Against) and yardstick.replayed is not None:
            distances.setdefault(id(yardstick.replayed), _Distance(yardstick.replayed.reshape(-1)))
    flat = value.reshape(-1)
    for start in range(0, flat.size, CHUNK):
        part = flat[start : start + CHUNK]
        wide = part.astype(np.complex128 if part.dtype.kind == "c" else np.float64)
        magnitude = np.abs(wide)
        extent.take(magnitude)
        if distances:
            unit_here = half_ulp(magnitude, unit)
            for distance in distances.values():
                distance.take(wide, unit_here, start)
    peak, rms = extent.result()
    epsilon = 2.0**-unit.fraction_bits
    bound = Floor(BOUND_ULPS * epsilon * (peak or 0.0), epsilon * (rms or 0.0), "bound")

    def floor(yardstick: Yardstick) -> Floor | None:
        if not isinstance(yardstick, Against):
            return yardstick
        if yardstick.replayed is None:
            return bound
        found = distances[id(yardstick.replayed)].floor(flat.size)
        if not yardstick.bounded:
            return found
        return Floor(found.max_abs + bound.max_abs, found.rms + bound.rms, "bound")

    return Measured(peak, rms, tuple(map(floor, yardsticks)))


class _Extent:
    """Peak and root mean square of the finite elements."""

    def __init__(self) -> None:
        self._peak = self._squares = 0.0
        self._count = 0

    def take(self, magnitude: Array) -> None:
        largest = magnitude.max()
        if not math.isfinite(largest):
            magnitude = magnitude[np.isfinite(magnitude)]
            largest = magnitude.max(initial=0.0)
        self._peak = max(self._peak, float(largest))
        self._squares += _sum_of_squares(magnitude)
        self._count += magnitude.size

    def result(self) -> tuple[float | None, float | None]:
        if not self._count:
            return None, None
        # What cannot be squared in double precision has no root mean square that we could give.
        return self._peak, math.sqrt(self._squares / self._count) if self._peak < _HUGE / self._count else None


class _Distance:
    """How far a value is from one replay.

    Elements where either is NaN or infinite count nothing: their distance has no size.
    """

    def __init__(self, replayed: Array) -> None:
        self._replayed = replayed
        self._largest = self._squares = self._half_ulps = self._excess = 0.0

    def take(self, wide: Array, half_ulps: Array, start: int) -> None:
        error = np.abs(wide - self._replayed[start : start + wide.size])
        largest = error.max()
        if largest == 0.0:
            return
        if not math.isfinite(largest):
            error[~np.isfinite(error)] = 0.0
            largest = error.max()
        self._largest = max(self._largest, float(largest))
        self._squares += _sum_of_squares(error)
        self._excess = max(self._excess, float((error - half_ulps).max()))
        self._half_ulps = max(self._half_ulps, float(np.divide(error, half_ulps, out=error).max()))

    def floor(self, count: int) -> Floor:
        return Floor(
            self._largest, math.sqrt(self._squares / max(count, 1)), "float64", self._half_ulps / 2, self._excess
        )


def _sum_of_squares(array: Array) -> float:
    return float(np.einsum("i,i->", array, array))  # one pass, no temporary, no threads of its own
