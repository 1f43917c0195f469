"""A mask seen in the values: what it hides in the reference is not hidden, or the reverse."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tapml_tui.compare.diagnosis.evidence import Evidence
from tapml_tui.compare.diagnosis.result import Diagnosis, Kind

_HIDDEN = -1e4
_FEWEST = 4
_SHOWN = 0.9


def mask(evidence: Evidence) -> Diagnosis | None:
    """Elements that the reference hides (zero, -inf, or the most negative number) have values."""
    for hidden_there, hidden_here in (
        (_below(evidence.reference), _below(evidence.actual)),
        (evidence.reference == 0.0, evidence.actual == 0.0),
    ):
        found = _compared(evidence, hidden_there, hidden_here)
        if found is not None:
            return found
    return None


def _below(values: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    return np.asarray(values <= _HIDDEN)


def _compared(evidence: Evidence, there: npt.NDArray[np.bool_], here: npt.NDArray[np.bool_]) -> Diagnosis | None:
    count, size = int(np.count_nonzero(there)), there.size
    if not _FEWEST <= count <= size - _FEWEST:
        return None
    if np.array_equal(here, ~there):
        words = f"the mask is inverted: the {count} elements that it hides are the ones with values"
        return Diagnosis(Kind.MASK, words)
    differs = np.abs(np.where(np.isfinite(evidence.actual), evidence.actual, 0.0)) > evidence.allowance
    if np.count_nonzero(here & there) or np.count_nonzero(differs & there) < _SHOWN * count:
        return None
    if not _others_agree(evidence, there):
        return None
    shape = f" ({words})" if (words := _triangle(there)) else ""
    return Diagnosis(Kind.MASK, f"the mask is missing: {count} of {size} elements that it hides{shape} have values")


def _others_agree(evidence: Evidence, hidden: npt.NDArray[np.bool_]) -> bool:
    """Whether what is not hidden is right, or each row of it scaled: it shares its sum with what should be hidden."""
    failing = evidence.bad & ~hidden
    if np.count_nonzero(failing) <= 0.01 * hidden.size:
        return True
    values = np.where(hidden | ~evidence.finite, 0.0, evidence.reference) / evidence.allowance
    error = np.where(hidden, 0.0, evidence.error)
    energy = np.square(values).sum(axis=-1, keepdims=True)
    share = (values * error).sum(axis=-1, keepdims=True) / np.where(energy > 0.0, energy, 1.0)
    left = np.abs(error - share * values) > 1.0
    return bool(((share <= 0.0) & (share > -1.0)).all() and np.count_nonzero(left) <= 0.01 * hidden.size)


def _triangle(hidden: npt.NDArray[np.bool_]) -> str:
    if hidden.ndim < 2 or hidden.shape[-1] != hidden.shape[-2]:
        return ""
    rows = hidden.shape[-1]
    above = np.triu(np.ones((rows, rows), bool), 1)
    return "the causal triangle" if bool((hidden.reshape(-1, rows, rows) == above).all()) else ""
