"""Errors of precision: a cast to a narrower dtype, truncation, sums that are too coarse."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import ml_dtypes
import numpy as np

from tapml_tui.compare.diagnosis.evidence import Evidence, Floats
from tapml_tui.compare.diagnosis.fitting import fit_blend, promising
from tapml_tui.compare.diagnosis.result import Diagnosis, Kind
from tapml_tui.compare.diagnosis.words import blended
from tapml_tui.compare.noise import FLOAT32
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

_FEWEST = 8
_PERIODIC, _EXPONENTIAL = {"sin", "cos", "tan"}, {"exp"}
_COARSE = 64.0
"""Unit roundoffs of the argument that its reduction costs at most."""
_GROWTH = 2.0
"""How much larger errors are, at least, where the argument is four times as large."""


def narrower(dtype: np.dtype[Any]) -> Iterator[tuple[str, Any]]:
    """Dtypes with fewer bits than one has, by name."""
    own = precision(dtype)
    for name, other in _NARROWER:
        of = precision(np.dtype(other))
        if own is not None and of is not None and of.fraction_bits < own.fraction_bits:
            yield name, other


def cast(evidence: Evidence) -> Diagnosis | None:
    """Rounded, or truncated, to a narrower dtype, or to whole numbers."""
    best: Diagnosis | None = None
    finite = np.where(evidence.finite, evidence.reference, 0.0)
    for name, dtype in narrower(evidence.dtype):
        of = precision(np.dtype(dtype))
        assert of is not None
        rounded = finite.astype(dtype).astype(np.float64)
        grid = 2.0 * half_ulp(np.abs(finite), of)
        best = _better(
            evidence, best, rounded, f"rounded to {name}: the result has its {of.fraction_bits + 1} bits only"
        )
        words = f"truncated to {name}: cut off after {of.fraction_bits + 1} bits instead of rounded"
        best = _better(evidence, best, np.trunc(finite / grid) * grid, words)
    bits = _significant_bits(evidence)
    if bits:
        mantissa, exponent = np.frexp(finite)
        for cut, done in ((np.rint, "rounded"), (np.trunc, "cut off")):
            kept = np.ldexp(cut(np.ldexp(mantissa, bits)), exponent - bits)
            best = _better(evidence, best, kept, f"{done} to {bits} bits: the result has no more of them")
    for change, words in (
        (np.trunc, "cut off to whole numbers"),
        (np.floor, "rounded down to whole numbers"),
        (np.rint, "rounded to whole numbers"),
    ):
        best = _better(evidence, best, change(finite), words)
    return best


def _significant_bits(evidence: Evidence) -> int:
    """How many bits of their significand the results use at most; 0 if that is nearly all there are."""
    unit = precision(evidence.dtype)
    values = evidence.actual[evidence.bad & evidence.finite]
    if unit is None or values.size < _FEWEST:
        return 0
    bits = np.frexp(values)[0].view(np.uint64) & np.uint64(0x000F_FFFF_FFFF_FFFF)
    lowest = int(np.bitwise_or.reduce(bits))
    used = 53 - (lowest & -lowest).bit_length() + 1 if lowest else 1
    return used if used <= unit.fraction_bits - 1 else 0


def _better(evidence: Evidence, best: Diagnosis | None, predicted: Floats, words: str) -> Diagnosis | None:
    direction = (predicted - evidence.reference).reshape(-1)[evidence.sample]
    if np.count_nonzero(direction) < _FEWEST or not promising(evidence, direction, left_over=3.0 * _FLIPPED):
        return best
    found = fit_blend(evidence, predicted, left_over=_FLIPPED)
    if found is None or (best is not None and best.residual <= found.residual):
        return best
    return Diagnosis(Kind.CAST, words + blended(found.coefficient), found.residual)


def coarse_arguments(evidence: Evidence) -> Diagnosis | None:
    """An error that is a rounding of the argument: fast intrinsics, which reduce it, by 2 pi or by powers of two.

    Of a sine it arrives as it is, of an exponential in proportion to the result.
    """
    names = set(evidence.operator.split("."))
    if not evidence.whole or len(evidence.inputs) != 1 or not names & (_PERIODIC | _EXPONENTIAL):
        return None
    scale = np.abs(evidence.reference).reshape(-1) if names & _EXPONENTIAL else np.ones(evidence.reference.size)
    angle, unit = np.abs(evidence.inputs[0].astype(np.float64)).reshape(-1), precision(evidence.inputs[0].dtype)
    if (
        unit is None
        or angle.size != evidence.reference.size
        or not evidence.finite.all()
        or not np.isfinite(angle).all()
    ):
        return None
    with np.errstate(all="ignore"):
        error = np.nan_to_num(np.abs(evidence.error * evidence.allowance).reshape(-1) / scale)
    bad, first = evidence.bad.reshape(-1), 1.0 if names & _EXPONENTIAL else np.pi
    most = _COARSE * max(FLOAT32.roundoff, unit.roundoff) * np.maximum(angle, 1.0)
    if angle[bad].min() < first or (error > most).any():
        return None
    near, far = (error[(angle > part * angle.max()) & (angle <= 2 * part * angle.max())] for part in (0.125, 0.5))
    if min(near.size, far.size) < _FEWEST or np.mean(np.square(far)) < np.square(_GROWTH) * np.mean(np.square(near)):
        return None
    words = (
        f"the error grows with the size of the input, and is small below {angle[bad].min():.3g}: the argument is "
        f"reduced too coarsely, as fast intrinsics do"
    )
    return Diagnosis(Kind.LOW_PRECISION, words)


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
