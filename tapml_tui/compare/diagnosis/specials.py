"""NaN and Inf: where they are, and whether they were born here."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tapml_tui.compare.diagnosis.evidence import Evidence
from tapml_tui.compare.diagnosis.regions import located
from tapml_tui.compare.diagnosis.result import Diagnosis, Kind
from tapml_tui.compare.diagnosis.words import number
from tapml_tui.compare.precision import precision

_FEWEST = 8
_ABSURD = 0.6
_MIXED = 0.2
_ROUNDED = 0.1
_SINGLE = 23
_UNRELATED = 0.5
"""Part of what is wrong that is nowhere near the reference, where memory was never written."""


def not_a_number(evidence: Evidence) -> Diagnosis | None:
    """NaN where the reference has none."""
    new = np.isnan(evidence.actual) & ~np.isnan(evidence.reference)
    count = int(np.count_nonzero(new))
    if not count:
        return None
    where = located(evidence, new) or f"{count} of {new.size} elements"
    verb = "is" if where.startswith(("row ", "column ")) else "are"
    words = (
        f"every value is NaN: {_born(evidence.inputs)}"
        if new.all()
        else f"{where} {verb} NaN: {_born(evidence.inputs)}"
    )
    return Diagnosis(Kind.NAN, words)


def overflow(evidence: Evidence) -> Diagnosis | None:
    """Inf where the reference is finite."""
    new = np.isinf(evidence.actual) & np.isfinite(evidence.reference)
    count = int(np.count_nonzero(new))
    if not count or np.count_nonzero(_clearly_wrong(evidence)) > count:
        return None  # what else is wrong is more than that
    size = np.abs(np.where(np.isfinite(evidence.reference), evidence.reference, 0.0))
    smallest = float(size[new].min())
    staying = size[~new & np.isfinite(evidence.actual)]
    words = f"{count} of {new.size} elements overflow to Inf"
    if staying.size and smallest > float(staying.max()):
        return Diagnosis(Kind.OVERFLOW, f"{words}: every value of size {number(smallest)} or more{_range(smallest)}")
    if where := located(evidence, new):
        words = f"{where}: overflow to Inf, {count} elements"
    return Diagnosis(Kind.OVERFLOW, words)


def _clearly_wrong(evidence: Evidence) -> npt.NDArray[np.bool_]:
    """Elements that fail by more than rounding to a narrower dtype could explain."""
    difference = np.abs(evidence.error) * evidence.allowance
    return np.asarray(evidence.bad & (difference > _ROUNDED * np.abs(evidence.reference)))


def lost_nan(evidence: Evidence) -> Diagnosis | None:
    """The reference has NaN that the target has not."""
    lost = np.isnan(evidence.reference) & ~np.isnan(evidence.actual)
    count = int(np.count_nonzero(lost))
    if not count or count < np.count_nonzero(evidence.bad):
        return None
    return Diagnosis(Kind.NAN, f"{count} of {lost.size} elements are NaN in the reference and are not here")


def garbage(evidence: Evidence) -> Diagnosis | None:
    """Values that no computation makes: unrelated bits read as numbers have exponents from everywhere."""
    unit = precision(evidence.dtype)
    wrong = evidence.bad | (~np.isfinite(evidence.actual) & np.isfinite(evidence.reference))
    known = np.abs(evidence.reference[evidence.finite])
    if unit is None or not wrong.any() or not known.any():
        return None
    elsewhere = ~np.isfinite(evidence.actual) | _clearly_wrong(evidence)
    if np.mean(elsewhere[wrong]) < _UNRELATED:  # what is near the reference everywhere was computed
        return None
    size, top, rms = np.abs(evidence.actual[wrong]), float(known.max()), float(np.sqrt(np.mean(known**2)))
    written = size[np.isfinite(size) & (size > 0.0)]
    beyond = float(np.mean(~(size <= 1e6 * top))) + float(np.mean((size > 0.0) & (size < 1e-12 * rms)))
    # A half type cannot show that range: Inf and NaN beside values that are next to nothing have to do.
    half = unit.fraction_bits < _SINGLE
    mixed = min(float(np.mean(~(size <= 100.0 * top))), float(np.mean(size < 1e-3 * rms))) if half else 0.0
    if size.size < _FEWEST or written.size < _FEWEST // 2:  # so few tell by themselves only if nearly all are absurd
        absurd = np.unique(written).size > 1 and written.max() > 1e6 * top and beyond > _ABSURD
        if not absurd and not (mixed >= _MIXED and size.size >= _FEWEST // 2 and written.size):
            return None
    elif not (float(np.ptp(np.log2(written))) > 30.0 and beyond > 0.2) and mixed <= 0.08:
        return None
    where, count = located(evidence, wrong), int(np.count_nonzero(wrong))
    subject = where or (f"{count} of {wrong.size} values" if count < 0.99 * wrong.size else "all values")
    strange = int(np.count_nonzero(~np.isfinite(size)))
    beside = f" ({strange} NaN or Inf)" if strange else ""
    return Diagnosis(
        Kind.UNINITIALISED,
        f"{subject}: unrelated bits, from {number(float(written.min()))} to {number(float(written.max()))}{beside} "
        f"where the reference ends at {number(top)}: memory that was never written",
    )


def _born(inputs: Sequence[npt.NDArray[np.generic]]) -> str:
    floating = [array for array in inputs if precision(array.dtype) is not None]
    if not floating:
        return "the reference has none"
    if any(bool(np.isnan(array).any()) for array in floating):
        return "an input had NaN already"
    if any(bool(np.isinf(array).any()) for array in floating):
        return "born here, no input had any (one holds Inf)"
    return "born here, no input had any"


def _range(smallest: float) -> str:
    for top, name in ((3.38e38, "float32"), (65504.0, "float16")):
        if smallest > top:
            return f", as in {name}, which ends at {number(top)}"
    return ""
