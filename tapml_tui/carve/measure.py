"""How large a recorded value is, and how far it lies from its float64 replays: one pass, in the cache.

The arithmetic is numpy's: it lets other threads run meanwhile, and starts none of its own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from tapml_tui.compare.precision import half_ulp, precision
from trace_format.model import Floor

EXACT = Floor(0.0, 0.0, "exact", 0.0, 0.0)

BOUND_ULPS = 16
"""Where no replay can be had, the floor is this many units in the last place of the largest element."""

CHUNK = 1 << 15
"""Elements at a time: what is computed of them stays in a second-level cache."""

_PLAIN = (np.dtype(np.float32), np.dtype(np.float64))
_HUGE = math.sqrt(np.finfo(np.float64).max)
_SMALLEST_SQUARED, _LARGEST_SQUARED = 1e-12, 1e16
"""Between these float32 holds the sum of a chunk of squares, to its precision."""

Array: TypeAlias = npt.NDArray[Any]


@dataclass(slots=True, eq=False)
class Against:
    """What a floor is measured against, once: values with the same bytes and the same replay share one.

    Attributes:
        replayed: The value in double precision; None where no replay could be had, or when it is measured.
        bounded: Whether the documented bound stands for the rounding of the operator itself, which is not in
            the replay.
        floor: What was measured.
    """

    replayed: Array | None
    bounded: bool = False
    floor: Floor | None = None


Yardstick: TypeAlias = Against | Floor | None
"""What a floor is to be measured against, or the floor itself where there is nothing to measure."""


class Measured(NamedTuple):
    """`peak` and `rms` as in `Value`; one floor for each yardstick."""

    peak: float | None
    rms: float | None
    floors: tuple[Floor | None, ...]


@np.errstate(invalid="ignore", over="ignore", under="ignore")
def measure(value: Array, yardsticks: tuple[Yardstick, ...] = (), chunk: int = CHUNK) -> Measured:
    """Size and floors of a value.

    Args:
        value: Floating or complex; others have no size.
        yardsticks: For each floor that is wanted; arrays in them have as many elements as `value`.
        chunk: Elements at a time. Larger ones leave the cache, and give way to other threads less often.
    """
    unit = precision(value.dtype)
    if unit is None:
        return Measured(None, None, tuple(y if isinstance(y, Floor) else None for y in yardsticks))
    flat = value.reshape(-1)
    wanted = {id(y): y for y in yardsticks if isinstance(y, Against) and y.floor is None}
    distances = [_Distance(y.replayed.reshape(-1)) for y in wanted.values() if y.replayed is not None]
    extent = _Extent()
    for start in range(0, flat.size, chunk):
        part = flat[start : start + chunk]
        if distances or part.dtype not in _PLAIN:
            wide = part.astype(np.complex128 if part.dtype.kind == "c" else np.float64, copy=False)
        magnitude = np.abs(part if part.dtype in _PLAIN else wide)
        extent.take(magnitude)
        if distances:
            half_ulps = half_ulp(magnitude.astype(np.float64, copy=False), unit)
            for distance in distances:
                distance.take(wide, half_ulps, start)
    peak, rms = extent.result()
    if not yardsticks:
        return Measured(peak, rms, ())
    epsilon = 2.0**-unit.fraction_bits
    bound = Floor(BOUND_ULPS * epsilon * (peak or 0.0), epsilon * (rms or 0.0), "bound")
    measured = iter(distances)
    for against in wanted.values():
        found = next(measured).floor() if against.replayed is not None else None
        against.floor, against.replayed = _bounded(found, bound) if against.bounded or not found else found, None
    return Measured(peak, rms, tuple(y.floor if isinstance(y, Against) else y for y in yardsticks))


def _bounded(found: Floor | None, bound: Floor) -> Floor:
    return bound if found is None else Floor(found.max_abs + bound.max_abs, found.rms + bound.rms, "bound")


class _Extent:
    """Peak and root mean square of the finite elements."""

    def __init__(self) -> None:
        self._peak = self._squares = 0.0
        self._count = 0

    def take(self, magnitude: Array) -> None:
        largest = _max(magnitude)
        if not math.isfinite(largest):
            magnitude = magnitude[np.isfinite(magnitude)]
            largest = float(magnitude.max(initial=0.0))
        self._peak = max(self._peak, largest)
        self._squares += _sum_of_squares(magnitude, largest)
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

    def take(self, part: Array, half_ulps: Array, start: int) -> None:
        error = np.subtract(part, self._replayed[start : start + part.size])
        error = np.abs(error, out=None if error.dtype.kind == "c" else error)
        largest = _max(error)
        if largest == 0.0:
            return
        if not math.isfinite(largest):
            error[~np.isfinite(error)] = 0.0
            largest = _max(error)
        self._largest = max(self._largest, largest)
        self._squares += _sum_of_squares(error, largest)
        times = error / half_ulps
        farthest = _max(times)
        if farthest > 1:  # else none exceeds its half unit
            self._excess = max(self._excess, _max(np.subtract(error, half_ulps, out=times)))
        self._half_ulps = max(self._half_ulps, farthest)

    def floor(self) -> Floor:
        rms = math.sqrt(self._squares / max(self._replayed.size, 1))
        return Floor(self._largest, rms, "float64", self._half_ulps / 2, self._excess)


def _max(magnitude: Array) -> float:
    return float(np.maximum.reduce(magnitude))  # what `max` ends in, without its two calls of Python


def _sum_of_squares(magnitude: Array, largest: float) -> float:
    """Pairwise, as numpy adds: in the magnitudes' own precision, unless their squares leave its range."""
    if magnitude.dtype == np.float32 and not _SMALLEST_SQUARED < largest < _LARGEST_SQUARED:
        magnitude = magnitude.astype(np.float64)
    return float(np.add.reduce(np.square(magnitude)))
