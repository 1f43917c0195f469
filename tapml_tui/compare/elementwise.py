"""Pass or fail, element by element: the rule is in `noise`, this is its use on two arrays.

Where values only move (integers, bool, a floor that says "exact") bits must agree. Averages never decide.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from tapml_tui.compare import chunks
from tapml_tui.compare.noise import HIDDEN, Known, Law, Noise, Tolerance, noise_of
from tapml_tui.compare.overrides import Override
from tapml_tui.compare.precision import coarser, precision
from tapml_tui.compare.result import Comparison
from tapml_tui.compare.tally import Tally
from trace_format.model import Floor


def compare(
    reference: npt.NDArray[Any],
    actual: npt.NDArray[Any],
    *,
    floor: Floor | None = None,
    terms: float | None = None,
    functions: bool = True,
    hidden: float = HIDDEN,
    share: float = 1.0,
    steps: bool = True,
    chained: bool = False,
    rms: float | None = None,
    known: Known | None = None,
    mixed_dtypes: bool = False,
    inherited_nan: bool = False,
    override: Override | None = None,
) -> Comparison:
    """Decide whether `actual` is `reference`, up to what healthy arithmetic may differ by.

    Memory is bounded: both are read in chunks.

    Args:
        reference: What the source computed. Any numeric dtype, ml_dtypes included, any shape.
        actual: What is judged.
        floor: The noise floor of this value. None: none was recorded, and a bound on rounding alone decides.
        terms: How many terms an element sums, here or (chained) in the longest sum upstream. None: not known.
        functions: Whether the operator computes more than sums and products. See `noise.noise_of`.
        hidden: Size of intermediates behind a smaller result. See `noise.noise_of`.
        share: How much of the error of functions arrives in a large result. See `noise.noise_of`.
        steps: Whether there is a place in it to round to a narrow type. See `noise.noise_of`.
        chained: Whether `floor` is that of the whole model up to here.
        rms: Root mean square of the finite elements of `reference`, where it is known: it saves a pass.
        known: What the inputs tell of each element, where they are at hand.
        mixed_dtypes: Whether another dtype is fine; the ULP is then that of the coarser one.
        inherited_nan: Whether a NaN in both is fine: the reference was computed from the same
            inputs, so that nobody here is to blame for it.
        override: What the user allows instead. Where bits must agree, `times` of nothing is nothing.

    Returns:
        `passed` only if at least one element was compared and all are within their allowance.
        With `compared == 0` nothing was: the caller reports that as not run.
    """
    if reference.shape != actual.shape:
        return _refused(f"wrong shape: {_shape(actual)} instead of {_shape(reference)}")
    if reference.dtype != actual.dtype and not mixed_dtypes:
        return _refused(f"wrong dtype: {actual.dtype} instead of {reference.dtype}")
    if reference.size == 0:
        return Comparison(passed=False, reason="nothing to compare: it has no elements")

    if override is not None and override.ignore:
        return Comparison(passed=False, reason=override.words, override=override.words)

    dtype = coarser(reference.dtype, actual.dtype)
    law: Law
    limits: npt.NDArray[Any] | None = None
    if override is not None and override.times is None:
        law, size = Tolerance(override.atol, override.rtol), 0.0
    elif precision(dtype) is None or (floor is not None and floor.origin == "exact"):
        return replace(_tallied(reference, actual, Tally(None, inherited_nan)), floor_origin="exact")
    else:
        size = chunks.rms(reference) if rms is None else rms
        noise = noise_of(
            dtype,
            floor,
            size,
            terms=terms,
            functions=functions,
            hidden=hidden,
            share=share,
            steps=steps,
            chained=chained,
        )
        if override is not None and override.times is not None:
            noise = replace(noise, times=override.times)
        if known is not None:
            limits = noise.knowing(reference, actual, known)
        law = noise
    result = _tallied(reference, actual, Tally(law, inherited_nan, limits))
    at = abs(result.worst_values[0]) if result.worst_values is not None else size
    allowed = law.at(at if np.isfinite(at) else size)
    if isinstance(law, Noise) and limits is not None and result.worst is not None and math.isfinite(result.factor):
        allowed = float(limits[result.worst])
        # Who looks on by magnitudes alone has to find as much.
        by_magnitudes = _tallied(reference, actual, Tally(law, inherited_nan)).factor
        law = replace(law, times=law.times * by_magnitudes / result.factor)
    return replace(
        result,
        floor=allowed,
        floor_origin=law.origin,
        override=override.words if override is not None else "",
        law=law,
    )


def _tallied(reference: npt.NDArray[Any], actual: npt.NDArray[Any], tally: Tally) -> Comparison:
    tally.prepare(reference.dtype, actual.dtype, reference.size)
    for start, (expected, got) in chunks.pairs(reference, actual):
        tally.add(start, expected, got)
    return tally.result(reference, actual)


def _refused(reason: str) -> Comparison:
    return Comparison(passed=False, reason=reason, factor=float("inf"))


def _shape(array: npt.NDArray[Any]) -> str:
    return "[" + ", ".join(map(str, array.shape)) + "]"
