"""The error as a simple function of the value: scale, offset, sign, ceiling, nothing written at all."""

from __future__ import annotations

import numpy as np

from tapml_tui.compare.diagnosis.evidence import Evidence, Floats
from tapml_tui.compare.diagnosis.fitting import fit, fit_blend
from tapml_tui.compare.diagnosis.result import Diagnosis, Kind
from tapml_tui.compare.diagnosis.words import blended, multiple, number

_CEILINGS = {
    65504.0: "the largest float16",
    448.0: "the largest float8_e4m3fn",
    57344.0: "the largest float8_e5m2",
    240.0: "the largest float8_e4m3fnuz",
    127.0: "the largest int8",
    255.0: "the largest uint8",
    32767.0: "the largest int16",
    6.0: "as ReLU6 does",
}
_POISON = (0xCD, 0xCC, 0xAA, 0xA5, 0xBE, 0xDD, 0xFE, 0xFF, 0x7F)


def constant(evidence: Evidence) -> Diagnosis | None:
    """Every value is the same: zero, or a pattern that marks memory nobody wrote."""
    if not evidence.finite.all() or np.ptp(evidence.actual) != 0.0:
        return None
    if np.ptp(evidence.reference) <= evidence.allowance.max() or evidence.reference.size < 2:
        return None
    value = float(evidence.actual.flat[0])
    if value == 0.0:
        return Diagnosis(Kind.UNWRITTEN, "every value is zero: nothing was written")
    if poison := poisoned(evidence):
        return Diagnosis(Kind.UNINITIALISED, f"every value is {number(value)}, {poison}: memory that was never written")
    return Diagnosis(Kind.UNWRITTEN, f"every value is {number(value)}: nothing was computed")


def poisoned(evidence: Evidence) -> str:
    """The byte pattern that allocators and debuggers fill memory with, if every element is that."""
    raw = np.ascontiguousarray(evidence.bits).view(np.uint8)
    first = int(raw.flat[0])
    return f"bytes 0x{first:02X}" if first in _POISON and bool((raw == first).all()) else ""


def lost_sign(evidence: Evidence) -> Diagnosis | None:
    """The sign is lost."""
    for predicted, words in (
        (np.abs(evidence.reference), "negative values have lost their sign"),
        (-np.abs(evidence.reference), "positive values have become negative"),
    ):
        found = fit_blend(evidence, predicted)
        if found is not None:
            return Diagnosis(Kind.SIGN, words + blended(found.coefficient), found.residual)
    return None


def some_signs(evidence: Evidence) -> Diagnosis | None:
    """The sign is flipped in elements that lie in no slices."""
    bad = evidence.bad
    count = int(np.count_nonzero(bad))
    flipped = np.abs(evidence.actual[bad] + evidence.reference[bad]) / evidence.law(evidence.reference[bad])
    if count < 8 or count > 0.9 * bad.size or np.count_nonzero(flipped > 1.0) > 0.001 * count:
        return None
    return Diagnosis(Kind.SIGN, f"the sign is flipped in {count} of {bad.size} elements, the others agree")


def scale(evidence: Evidence) -> Diagnosis | None:
    """Every value is the same multiple of the reference; -1 times is a sign that is flipped."""
    found = fit(evidence, evidence.reference.copy())
    if found is None:
        return None
    factor = 1.0 + found.coefficient
    if abs(factor + 1.0) < 1e-2:
        return Diagnosis(Kind.SIGN, "every sign is flipped: every value is -1 times the reference", found.residual)
    return Diagnosis(Kind.SCALE, f"every value is {multiple(factor)} times the reference", found.residual)


def offset(evidence: Evidence) -> Diagnosis | None:
    """Every value is off by the same amount."""
    found = fit(evidence, np.ones_like(evidence.reference))
    if found is None:
        return None
    words = f"every value is {number(abs(found.coefficient))} too {'large' if found.coefficient > 0 else 'small'}"
    return Diagnosis(Kind.OFFSET, words, found.residual)


def saturated(evidence: Evidence) -> Diagnosis | None:
    """Values above a ceiling, or below a floor, are held there."""
    upper, lower = _ceiling(evidence, 1.0), _ceiling(evidence, -1.0)
    if upper is None and lower is None:
        return None
    high, low = np.inf if upper is None else upper, -np.inf if lower is None else -lower
    if low >= high:
        return None
    if abs(high + low) < 0.02 * high:  # noise told them apart
        high = max(high, -low)
        low = -high
    predicted = np.clip(evidence.reference, low, high)
    found = fit_blend(evidence, predicted)
    if found is None:
        return None
    count = int(np.count_nonzero(predicted != evidence.reference))
    if count > 0.9 * predicted.size:
        return None
    limits = [number(limit) for limit in (low, high) if np.isfinite(limit)]
    if len(limits) == 2:
        words = (
            f"values are clamped at +-{limits[1]}" if low == -high else f"values are clamped at {' and '.join(limits)}"
        )
    else:
        words = f"values {'above' if np.isfinite(high) else 'below'} {limits[0]} are clamped there"
    known = next(
        (f" ({name})" for top, name in _CEILINGS.items() if np.isfinite(high) and abs(high / top - 1) < 1e-3), ""
    )
    return Diagnosis(
        Kind.SATURATED, f"{words}{known}: {count} of {predicted.size}{blended(found.coefficient)}", found.residual, 2.0
    )


def _ceiling(evidence: Evidence, side: float) -> float | None:
    """Where `side * reference` stops growing: the line through the failing errors meets zero there."""
    value, error = side * evidence.reference, side * (evidence.actual - evidence.reference)
    pulled = evidence.bad & (error < 0)
    if np.count_nonzero(pulled) < 3:
        return None
    limit = _meets_zero(value[pulled], error[pulled])
    if limit is None:
        return None
    above = evidence.finite & (value > limit)
    refined = _meets_zero(value[above], error[above]) if np.count_nonzero(above) >= 3 else None
    return limit if refined is None else refined


def _meets_zero(value: Floats, error: Floats) -> float | None:
    spread = value - value.mean()
    energy = float(spread @ spread)
    if energy <= 0.0:
        return None
    slope = float(spread @ error) / energy
    return float(value.mean() - error.mean() / slope) if slope < 0.0 else None
