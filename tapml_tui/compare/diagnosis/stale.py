"""Somebody else's values: an earlier result, or an input copied through."""

from __future__ import annotations

import numpy as np

from tapml_tui.compare.diagnosis.evidence import Evidence, Floats
from tapml_tui.compare.diagnosis.fitting import fit, fit_blend, promising
from tapml_tui.compare.diagnosis.result import Diagnosis, Kind
from tapml_tui.compare.diagnosis.words import blended
from tapml_tui.compare.precision import precision


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


def bias_input(evidence: Evidence) -> Diagnosis | None:
    """What is missing is one of the inputs, for each column or channel: the bias."""
    if not evidence.whole or len(evidence.shape) < 2:
        return None
    for number, array in enumerate(evidence.inputs):
        if array.ndim != 1 or precision(array.dtype) is None or array.dtype.kind == "c":
            continue
        for axis in {len(evidence.shape) - 1, 1}:
            if array.size != evidence.shape[axis]:
                continue
            column = array.astype(np.float64).reshape(
                [-1 if other == axis else 1 for other in range(len(evidence.shape))]
            )
            found = fit(evidence, np.broadcast_to(-column, evidence.shape).copy())
            if found is not None and 0.0 < found.coefficient < 1.05:
                words = f"the bias is missing: every {evidence.names[axis]} lacks what input {number} holds for it"
                return Diagnosis(Kind.BIAS, words + blended(found.coefficient), found.residual)
    return None
