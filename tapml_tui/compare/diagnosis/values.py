"""The error as a simple function of the value: scale, offset, sign, ceiling, nothing written at all."""

from __future__ import annotations

import numpy as np

from tapml_tui.compare.diagnosis.evidence import Evidence
from tapml_tui.compare.diagnosis.fitting import fit, fit_blend
from tapml_tui.compare.diagnosis.result import Diagnosis, Kind
from tapml_tui.compare.diagnosis.words import blended, multiple, number

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
        if found is not None and abs(found.coefficient - 0.5) > 0.01:  # half of it is zero: see `ceilings`
            return Diagnosis(Kind.SIGN, words + blended(found.coefficient), found.residual, 1.5)
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
