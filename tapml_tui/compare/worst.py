"""The elements that are furthest off, for somebody who wants to look at them one by one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from tapml_tui.compare.precision import CHUNK, precision

Floats: TypeAlias = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class WorstElement:
    """One element that differs: its index, and its error as a multiple of its floor (infinite for a NaN)."""

    index: tuple[int, ...]
    factor: float


def worst_elements(
    reference: npt.NDArray[Any],
    actual: npt.NDArray[Any],
    count: int,
    allowance: Callable[[Floats], Floats] | None,
) -> tuple[WorstElement, ...]:
    """The `count` elements with the largest factor, the worst first; the larger error first among equals.

    Read in chunks: memory does not grow with the arrays.

    Args:
        reference: What the source computed.
        actual: What is judged, of the same shape.
        count: How many at most.
        allowance: How far off an element may be, by its magnitude; None: bits must agree.
    """
    if reference.shape != actual.shape:
        return ()
    flat_reference, flat_actual = reference.reshape(-1), actual.reshape(-1)
    best = np.empty((3, 0))  # factor, error, flat index
    for start in range(0, flat_reference.size, CHUNK):
        factor, error = _errors(flat_reference[start : start + CHUNK], flat_actual[start : start + CHUNK], allowance)
        here = np.flatnonzero(error > 0)
        if best.shape[1] == count:  # most chunks have nothing that is worse
            here = here[factor[here] >= best[0, -1]]
        if here.size:
            best = np.concatenate([best, [factor[here], error[here], here + float(start)]], axis=1)
            best = best[:, np.lexsort((best[2], -best[1], -best[0]))[:count]]
    return tuple(
        WorstElement(tuple(int(i) for i in np.unravel_index(int(at), reference.shape)), float(factor))
        for factor, _, at in best.T
    )


def _errors(
    reference: npt.NDArray[Any], actual: npt.NDArray[Any], allowance: Callable[[Floats], Floats] | None
) -> tuple[Floats, Floats]:
    """Factor and absolute error of each element; both infinite for a NaN on any side, and an Inf on one."""
    wide = np.complex128 if reference.dtype.kind == "c" or actual.dtype.kind == "c" else np.float64
    expected, got = reference.astype(wide), actual.astype(wide)
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        error = np.abs(got - expected)
        error[expected == got] = 0.0
        error[np.isnan(error)] = np.inf
        if precision(reference.dtype) is None:
            error[(reference != actual) & (error == 0)] = 1.0  # int64 beyond what float64 tells apart
        if allowance is None or precision(reference.dtype) is None:
            factor = np.where(error > 0, np.inf, 0.0)
        else:
            factor = error / allowance(np.abs(expected))
    factor[np.isnan(factor)] = np.inf
    return factor, error
