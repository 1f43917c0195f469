"""What is added, or should be: an input that counts too much, too little, or not at all."""

from __future__ import annotations

import numpy as np

from tapml_tui.compare.diagnosis.evidence import Evidence, Floats
from tapml_tui.compare.diagnosis.fitting import fit, fit_blend
from tapml_tui.compare.diagnosis.result import Diagnosis, Kind
from tapml_tui.compare.diagnosis.variant import CLOSE, distance
from tapml_tui.compare.diagnosis.words import blended, number
from tapml_tui.compare.precision import precision

_ALL = 0.02
_SIMILAR = 0.999
_ALPHA = {"add": 1.0, "sub": -1.0}


def bias_input(evidence: Evidence) -> Diagnosis | None:
    """What is missing is one of the inputs, for each column or channel: the bias."""
    if not evidence.whole or len(evidence.shape) < 2:
        return None
    for place, array in enumerate(evidence.inputs):
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
                words = f"the bias is missing: every {evidence.names[axis]} lacks what input {place} holds for it"
                return Diagnosis(Kind.BIAS, words + blended(found.coefficient), found.residual)
    return None


def multiple_of_input(evidence: Evidence) -> Diagnosis | None:
    """The difference is a multiple of one input: it is added with another weight, twice, or not at all."""
    addends = _addends(evidence)
    weights = _weights(evidence, addends)
    best: Diagnosis | None = None
    for place, addend in addends.items():
        found = fit(evidence, addend.copy())
        if found is None:
            continue
        more, words = found.coefficient, ""
        if weights:
            wrong = {**weights, place: weights[place] + more}
            predicted = sum(wrong[one] * addends[one] for one in addends)
            found = fit_blend(evidence, np.asarray(predicted)) or found  # free of the rounding of the reference
            words = _weighted(evidence, place, weights[place], wrong[place])
        if best is None or found.residual < best.residual:
            said = f"{words}the difference is {number(round(more, 3) or more)} times input {place}"
            best = Diagnosis(Kind.INPUT, said, found.residual, 1.0 if words else 2.0)
    return best


def _addends(evidence: Evidence) -> dict[int, Floats]:
    """The inputs that could be added to the result, in its shape; what is constant or like it shows another thing."""
    found = {}
    values = np.where(evidence.finite, evidence.reference, 0.0)
    for place, array in enumerate(evidence.inputs):
        if precision(array.dtype) is None or array.dtype.kind == "c" or array.size < 2:
            continue
        try:
            wide = np.broadcast_to(array, evidence.sizes)
        except ValueError:
            continue
        addend = wide[np.ix_(*evidence.kept)].astype(np.float64)
        if not np.isfinite(addend).all() or np.ptp(addend) == 0.0:
            continue
        energy = float(np.square(values).sum()) * float(np.square(addend).sum())
        if abs(float((values * addend).sum())) < _SIMILAR * np.sqrt(energy):
            found[place] = addend
    return found


def _weights(evidence: Evidence, addends: dict[int, Floats]) -> dict[int, float]:
    """With what weight the source adds each input, if that is all it does."""
    if not addends or not evidence.finite.all():
        return {}
    columns = np.stack([addend.reshape(-1) for addend in addends.values()], axis=1)
    weights = np.linalg.lstsq(columns, evidence.reference.reshape(-1), rcond=None)[0]
    if distance(columns @ weights, evidence.reference) > CLOSE:
        return {}
    return {place: float(weight) for place, weight in zip(addends, weights, strict=True)}


def _weighted(evidence: Evidence, place: int, right: float, wrong: float) -> str:
    if abs(wrong) < _ALL * abs(right):
        return f"input {place} is not added: "
    one = next((sign for name, sign in _ALPHA.items() if f".{name}." in evidence.operator), 0.0)
    alpha = ", as if alpha were 1" if one and abs(wrong - one) < _ALL < abs(right - one) else ""
    times = (f"{number(round(weight, 3))} times" for weight in (wrong, right))
    return f"input {place} is added {' instead of '.join(times)}{alpha}: "
