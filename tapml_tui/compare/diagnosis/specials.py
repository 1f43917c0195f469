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

_HUGE = 1e20


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
    if not count:
        return None
    size = np.abs(np.where(np.isfinite(evidence.reference), evidence.reference, 0.0))
    smallest = float(size[new].min())
    staying = size[~new & np.isfinite(evidence.actual)]
    words = f"{count} of {new.size} elements overflow to Inf"
    if staying.size and smallest > float(staying.max()):
        return Diagnosis(Kind.OVERFLOW, f"{words}: every value of size {number(smallest)} or more{_range(smallest)}")
    if where := located(evidence, new):
        words = f"{where}: overflow to Inf, {count} elements"
    return Diagnosis(Kind.OVERFLOW, words)


def lost_nan(evidence: Evidence) -> Diagnosis | None:
    """The reference has NaN that the target has not."""
    lost = np.isnan(evidence.reference) & ~np.isnan(evidence.actual)
    count = int(np.count_nonzero(lost))
    if not count or count < np.count_nonzero(evidence.bad):
        return None
    return Diagnosis(Kind.NAN, f"{count} of {lost.size} elements are NaN in the reference and are not here")


def garbage(evidence: Evidence) -> Diagnosis | None:
    """Values that no computation makes: unrelated bits read as numbers have exponents from everywhere."""
    if precision(evidence.dtype) is None:
        return None
    wrong = evidence.bad | (~np.isfinite(evidence.actual) & np.isfinite(evidence.reference))
    size = np.abs(evidence.actual[wrong & np.isfinite(evidence.actual)])
    known = np.abs(evidence.reference[evidence.finite])
    if size.size < 8 or not known.size or known.max() == 0.0:
        return None
    written = size[size > 0]
    if written.size < 4:
        return None
    exponents = np.log2(written)
    top = float(known.max())
    beyond = np.count_nonzero(written > 1e6 * top) + np.count_nonzero(
        written < 1e-12 * float(np.sqrt(np.mean(known**2)))
    )
    if beyond < 0.2 * size.size or np.ptp(exponents) < 30.0:
        return None
    where = located(evidence, wrong)
    count = int(np.count_nonzero(wrong))
    subject = where or (f"{count} of {wrong.size} values" if count < 0.99 * wrong.size else "all values")
    return Diagnosis(
        Kind.UNINITIALISED,
        f"{subject}: unrelated bits, from {number(float(written.min()))} to {number(float(written.max()))} "
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
