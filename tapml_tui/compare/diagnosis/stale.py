"""Somebody else's values: an earlier result, or an input copied through."""

from __future__ import annotations

import numpy as np

from tapml_tui.compare.diagnosis.evidence import Evidence, Floats
from tapml_tui.compare.diagnosis.fitting import fit_blend, promising
from tapml_tui.compare.diagnosis.result import Diagnosis, Kind
from tapml_tui.compare.diagnosis.words import blended


def stale(evidence: Evidence) -> Diagnosis | None:
    """The result of an earlier call is still there."""
    for old in evidence.stale:
        found = _copy(evidence, old)
        if found is not None:
            return Diagnosis(
                Kind.STALE, f"stale: this is the result of an earlier call{blended(found[0])}", found[1], 0.5
            )
    return None


def copied(evidence: Evidence) -> Diagnosis | None:
    """An input was handed through."""
    if not evidence.whole:
        return None
    for number, array in enumerate(evidence.inputs):
        if array.size == evidence.reference.size and array.dtype.kind != "c":
            found = _copy(evidence, array.astype(np.float64).reshape(evidence.shape))
            if found is not None:
                part = blended(found[0])
                words = f"nothing was computed: this is a copy of input {number}{part}"
                return Diagnosis(Kind.STALE, words, found[1], 2.0 if part else 1.0)
    return None


def _copy(evidence: Evidence, other: Floats) -> tuple[float, float] | None:
    if not promising(evidence, (other - evidence.reference).reshape(-1)[evidence.sample]):
        return None
    found = fit_blend(evidence, other)
    return None if found is None else (found.coefficient, found.residual)
