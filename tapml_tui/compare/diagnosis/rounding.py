"""Errors of precision: a cast to a narrower dtype, truncation, sums that are too coarse."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np

from tapml_tui.compare.diagnosis.evidence import Evidence, Floats
from tapml_tui.compare.diagnosis.fitting import fit_blend, promising
from tapml_tui.compare.diagnosis.result import Diagnosis, Kind
from tapml_tui.compare.diagnosis.words import blended, number
from tapml_tui.compare.precision import half_ulp, precision

_NARROWER: tuple[tuple[str, Any], ...] = (
    ("float16", np.float16),
    ("bfloat16", ml_dtypes.bfloat16),
    ("float8_e4m3fn", ml_dtypes.float8_e4m3fn),
    ("float8_e5m2", ml_dtypes.float8_e5m2),
    ("float32", np.float32),
)
_FLIPPED = 0.02
"""Part of the elements that noise may carry over a boundary of the narrower dtype."""

_FEWEST = 32
_UNEVEN = 5.0
_TINY = np.finfo(np.float64).tiny


def cast(evidence: Evidence) -> Diagnosis | None:
    """Rounded, or truncated, to a narrower dtype, or to whole numbers."""
    own = precision(evidence.dtype)
    best: Diagnosis | None = None
    finite = np.where(evidence.finite, evidence.reference, 0.0)
    for name, dtype in _NARROWER:
        of = precision(np.dtype(dtype))
        if own is None or of is None or of.fraction_bits >= own.fraction_bits:
            continue
        rounded = finite.astype(dtype).astype(np.float64)
        grid = 2.0 * half_ulp(np.abs(finite), of)
        best = _better(
            evidence, best, rounded, f"rounded to {name}: the result has its {of.fraction_bits + 1} bits only"
        )
        words = f"truncated to {name}: cut off after {of.fraction_bits + 1} bits instead of rounded"
        best = _better(evidence, best, np.trunc(finite / grid) * grid, words)
    for change, words in (
        (np.trunc, "cut off to whole numbers"),
        (np.floor, "rounded down to whole numbers"),
        (np.rint, "rounded to whole numbers"),
    ):
        best = _better(evidence, best, change(finite), words)
    return best


def _better(evidence: Evidence, best: Diagnosis | None, predicted: Floats, words: str) -> Diagnosis | None:
    direction = (predicted - evidence.reference).reshape(-1)[evidence.sample]
    if np.count_nonzero(direction) < _FEWEST or not promising(evidence, direction):
        return best
    found = fit_blend(evidence, predicted, left_over=_FLIPPED)
    if found is None or (best is not None and best.residual <= found.residual):
        return best
    return Diagnosis(Kind.CAST, words + blended(found.coefficient), found.residual)


def one_sided(evidence: Evidence) -> Diagnosis | None:
    """Half of the elements are one unit in the last place too small in size: never rounded up."""
    unit = precision(evidence.dtype)
    if unit is None:
        return None
    size = np.abs(evidence.reference[evidence.finite])
    grown = np.abs(evidence.actual[evidence.finite]) - size
    differs = np.flatnonzero(grown)
    share = differs.size / max(size.size, 1)
    if differs.size < _FEWEST or not 0.2 < share < 0.8:
        return None
    steps = grown[differs] / (2.0 * half_ulp(size[differs], unit))
    if np.count_nonzero((steps < 0.0) & (steps >= -1.01)) < (1.0 - _FLIPPED) * steps.size:
        return None
    words = (
        f"truncated instead of rounded: {differs.size} of {size.size} elements are one unit in the last place "
        f"too small in size, and none too large"
    )
    return Diagnosis(Kind.CAST, words)


def low_precision(evidence: Evidence) -> Diagnosis | None:
    """The error looks like rounding, only more of it: no structure, no bias, small against the values."""
    if precision(evidence.dtype) is None or evidence.reference.size < 2 * _FEWEST:
        return None
    error = evidence.error
    noise, root = float(np.sqrt(np.mean(error**2))), np.where(evidence.finite, evidence.reference, 0.0)
    values = float(np.sqrt(np.mean(root**2)))
    absolute = float(np.sqrt(np.mean(np.square(error * evidence.allowance))))
    if not 0.0 < absolute < 0.1 * values or not _structureless(error, root / evidence.allowance):
        return None
    unit = next((name for name, bits in (("bfloat16", 8), ("float16", 11)) if absolute > 0.3 * 2.0**-bits * values), "")
    words = f"the error looks like rounding, {number(absolute / values)} of the values, without bias or structure"
    reason = (
        f"a sum or a function in a narrower dtype, as if in {unit}"
        if unit
        else "a sum or a function that is too coarse"
    )
    return Diagnosis(Kind.LOW_PRECISION, f"{words}: {reason}", noise)


def _structureless(error: Floats, values: Floats) -> bool:
    """Whether errors have no bias, do not follow the values, nor each other, and are of one size.

    Whatever is mixed into the reference in place of it pulls the result away from the reference: such an
    error goes against the values (a correlation of -0.7 with something unrelated). Rounding does not.
    """
    noise = float(np.sqrt(np.mean(error**2)))
    if abs(float(error.mean())) > 0.25 * noise:
        return False
    along = float((error * values).sum()) / float(np.sqrt((error**2).sum() * (values**2).sum()))
    if abs(along) > 0.2:
        return False
    if np.count_nonzero(np.abs(error) > 0.3 * noise) < 0.4 * error.size:
        return False
    for axis, size in enumerate(error.shape):
        if size < 2:
            continue
        here, there = np.moveaxis(error, axis, 0)[:-1], np.moveaxis(error, axis, 0)[1:]
        scale = float(np.sqrt((here**2).sum() * (there**2).sum()))
        others = tuple(other for other in range(error.ndim) if other != axis)
        mean = error.mean(axis=others)
        loud = np.square(error).mean(axis=others) / noise**2
        relative = loud / np.maximum(np.square(values).mean(axis=others), _TINY) * np.mean(np.square(values))
        if error.size // size >= _FEWEST and min(_spread(loud), _spread(relative)) > _UNEVEN:
            return False
        expected = 1.0 / (error.size // size)
        chance = 6.0 / np.sqrt(error.size)
        if abs(float((here * there).sum())) > (0.2 + chance) * scale:
            return False
        if float(np.mean(mean**2)) > (expected * (1.0 + 6.0 * np.sqrt(2.0 / size)) + 0.2) * noise**2:
            return False
    return True


def _spread(level: Floats) -> float:
    """How much louder the loudest slice is than most."""
    return float(level.max()) / max(float(np.median(level)), _TINY)
