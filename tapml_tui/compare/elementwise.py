"""Pass or fail, element by element, against a noise floor.

The rule: |actual - reference| <= limit * max(floor, half a ULP of the reference element). Where
values only move (integers, bool, a floor that says "exact") bits must agree. Averages never decide.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from tapml_tui.compare.precision import CHUNK, Precision, coarser, half_ulp, precision, rounding
from tapml_tui.compare.result import Comparison
from tapml_tui.compare.summary import summarize
from trace_format.model import Floor

_Number: TypeAlias = complex | float | int | bool

LIMIT = 16.0
"""How many floors a healthy element may be off.

The floor is the source's own rounding error. A target that is as good but sums in another order has
an error of the same law with another constant: n roundings grow like sqrt(n), not like n (Higham and
Mary, "A New Approach to Probabilistic Rounding Error Analysis", SIAM J. Sci. Comput. 41(5), 2019,
theorem 2.4), so a kernel that sums one after the other is off by about sqrt(L) times a source that
sums in L lanes side by side. L = 64 on the CPUs that make references (16 floats in a vector times
four accumulators): 8. Another factor of 2, because reference and actual are both off.
"""

DEVIATIONS = 6.0
"""How many standard deviations of the rounding of a long sum are healthy.

A source that adds in a tree hardly errs where a target that adds one after the other is off by
u * sqrt(n) (see `rounding`) of what it sums, for which the element stands, or the root mean square of
all where it is smaller; for n = 4096 that is more than `LIMIT` floors. The same theorem bounds the
chance to be beyond lambda deviations by 2 * exp(-lambda**2 / 2): 3e-8 for 6.
"""


def compare(
    reference: np.ndarray,
    actual: np.ndarray,
    *,
    floor: Floor | None = None,
    limit: float = LIMIT,
    terms: float = 1.0,
    mixed_dtypes: bool = False,
    inherited_nan: bool = False,
) -> Comparison:
    """Decide whether `actual` is `reference`, up to its noise floor.

    Memory is bounded: both are read in chunks of `CHUNK` elements.

    Args:
        reference: What the source computed. Any numeric dtype, ml_dtypes included, any shape.
        actual: What is judged.
        floor: The noise floor of this value. None: none was recorded, half a ULP alone counts.
        limit: How many floors an element may be off.
        terms: How many products an element sums, here or (chained) in the longest sum upstream.
            Where the floor alone would fail it, `DEVIATIONS` of the rounding of such a sum pass.
        mixed_dtypes: Whether another dtype is fine; the ULP is then that of the coarser one.
        inherited_nan: Whether a NaN in both is fine: the reference was computed from the same
            inputs, so that nobody here is to blame for it.

    Returns:
        `passed` only if at least one element was compared and all are within their allowance.
        With `compared == 0` nothing was: the caller reports that as not run.
    """
    if reference.shape != actual.shape:
        return _refused(f"wrong shape: {_shape(actual)} instead of {_shape(reference)}")
    if reference.dtype != actual.dtype and not mixed_dtypes:
        return _refused(f"wrong dtype: {actual.dtype} instead of {reference.dtype}")
    if reference.size == 0:
        return Comparison(passed=False, reason="nothing to compare: it has no elements")

    unit = precision(coarser(reference.dtype, actual.dtype))
    if unit is None or (floor is not None and floor.origin == "exact"):
        return replace(_tallied(reference, actual, _Tally(None, 0.0, 0.0, inherited_nan)), floor_origin="exact")
    size, origin = (floor.max_abs, floor.origin) if floor is not None else (0.0, "bound")
    result = replace(_tallied(reference, actual, _Tally(unit, size, limit, inherited_nan)), floor_origin=origin)
    if result.passed or terms <= 1.0:
        return result
    relative = DEVIATIONS / limit * rounding(unit, terms)
    wider = max(size, relative * (summarize(reference).rms or 0.0))
    return replace(
        _tallied(reference, actual, _Tally(unit, wider, limit, inherited_nan, relative)), floor_origin="bound"
    )


def _tallied(reference: np.ndarray, actual: np.ndarray, tally: _Tally) -> Comparison:
    for start, expected, got in _chunks(reference, actual):
        tally.add(start, expected, got)
    return tally.result(reference, actual)


def _refused(reason: str) -> Comparison:
    return Comparison(passed=False, reason=reason, factor=float("inf"))


def _shape(array: np.ndarray) -> str:
    return "[" + ", ".join(map(str, array.shape)) + "]"


def _chunks(reference: np.ndarray, actual: np.ndarray) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Pairs of equal flat windows; `reshape` copies only what is not contiguous."""
    flat_reference, flat_actual = reference.reshape(-1), actual.reshape(-1)
    for start in range(0, reference.size, CHUNK):
        yield start, flat_reference[start : start + CHUNK], flat_actual[start : start + CHUNK]


@dataclass(slots=True)
class _Tally:
    """What is known after some chunks. `unit` is None where elements must be equal."""

    unit: Precision | None
    floor: float
    limit: float
    inherited_nan: bool
    relative: float = 0.0  # part of each element that counts as noise
    compared: int = 0
    outside: int = 0
    nan_reference: int = 0
    nan_actual: int = 0
    nan_both: int = 0
    inf_reference: int = 0
    inf_actual: int = 0
    inf_differs: int = 0
    max_abs: float = 0.0
    max_rel: float = 0.0
    factor: float = 0.0
    worst: int | None = None

    def add(self, start: int, reference: np.ndarray, actual: np.ndarray) -> None:
        """Compare one chunk, whose first element has the flat index `start`."""
        self.compared += reference.size
        if _same_bits(reference, actual) and _all_finite(reference):
            return
        if precision(reference.dtype) is None or precision(actual.dtype) is None:
            self._add_integers(start, reference, actual)
        else:
            self._add_floats(start, reference, actual)

    def _add_integers(self, start: int, reference: np.ndarray, actual: np.ndarray) -> None:
        differs = np.flatnonzero(reference != actual)
        if not differs.size:
            return
        # float64 cannot hold all of int64: it measures how far off, it does not decide.
        error = np.abs(_wide(actual[differs]) - _wide(reference[differs]))
        magnitude = np.abs(_wide(reference[differs]))
        self.outside += differs.size
        self._note_worst(start, differs, np.full(differs.size, np.inf), error, magnitude)

    def _add_floats(self, start: int, reference: np.ndarray, actual: np.ndarray) -> None:
        expected, got = _wide(reference), _wide(actual)
        nan_expected, nan_got = np.isnan(expected), np.isnan(got)
        inf_expected, inf_got = np.isinf(expected), np.isinf(got)
        # A NaN is told by its own counts; Inf only has to be the same one.
        special = nan_expected | nan_got | inf_expected | inf_got
        self.nan_reference += int(nan_expected.sum())
        self.nan_actual += int(nan_got.sum())
        self.nan_both += int((nan_expected & nan_got).sum())
        self.inf_reference += int(inf_expected.sum())
        self.inf_actual += int(inf_got.sum())
        wrong_nan = nan_expected != nan_got if self.inherited_nan else nan_expected | nan_got
        wrong_inf = (inf_expected | inf_got) & ~(nan_expected | nan_got) & (expected != got)
        self.inf_differs += int(wrong_inf.sum())

        magnitude = np.abs(expected)
        with np.errstate(invalid="ignore", over="ignore"):
            error = np.abs(got - expected)
        error[special] = 0.0
        if self.unit is None:
            factor = np.where(_bits_differ(reference, actual), np.inf, 0.0)
        else:
            noise = np.maximum(half_ulp(magnitude, self.unit), self.floor)
            if self.relative:
                noise = np.maximum(noise, self.relative * magnitude)
            factor = error / noise
        factor[special] = 0.0
        factor[wrong_nan | wrong_inf] = np.inf
        self.outside += int((factor > self.limit).sum())
        error[wrong_nan | wrong_inf] = np.inf
        magnitude[special] = np.inf
        self._note_worst(start, np.arange(factor.size), factor, error, magnitude)

    def _note_worst(
        self, start: int, where: np.ndarray, factor: np.ndarray, error: np.ndarray, magnitude: np.ndarray
    ) -> None:
        finite = np.isfinite(error)
        if finite.any():
            self.max_abs = max(self.max_abs, float(error[finite].max()))
            relative = error[finite & (magnitude > 0)] / magnitude[finite & (magnitude > 0)]
            if relative.size:
                self.max_rel = max(self.max_rel, float(relative.max()))
        # Among equally bad factors (all infinite where bits must agree) the largest error is shown.
        candidates = np.flatnonzero(factor == factor.max())
        best = int(candidates[int(error[candidates].argmax())])
        if factor[best] > self.factor:
            self.factor = float(factor[best])
            self.worst = start + int(where[best])

    def result(self, reference: np.ndarray, actual: np.ndarray) -> Comparison:
        """The comparison, once every chunk was added."""
        worst = values = None
        if self.worst is not None:
            worst = tuple(int(i) for i in np.unravel_index(self.worst, reference.shape))
            values = (_plain(reference[worst]), _plain(actual[worst]))
        return Comparison(
            passed=self.outside == 0,
            reason=self._reason(worst, values),
            factor=self.factor,
            limit=self.limit,
            floor=self.floor,
            compared=self.compared,
            outside=self.outside,
            max_abs=self.max_abs,
            max_rel=self.max_rel,
            nan=(self.nan_reference, self.nan_actual),
            inf=(self.inf_reference, self.inf_actual),
            worst=worst,
            worst_values=values,
        )

    def _reason(self, worst: tuple[int, ...] | None, values: tuple[_Number, _Number] | None) -> str:
        if not self.outside:
            return ""
        if self.nan_actual > self.nan_both:
            return f"NaN in {self.nan_actual - self.nan_both} of {self.compared} elements where the reference has none"
        if self.nan_reference > self.nan_both:
            return f"no NaN in {self.nan_reference - self.nan_both} elements where the reference has one"
        if self.nan_both:
            return f"NaN in both, in {self.nan_both} of {self.compared} elements: nothing vouches for them"
        if self.inf_differs:
            return f"Inf on one side only, or of the other sign, in {self.inf_differs} of {self.compared} elements"
        assert worst is not None and values is not None
        expected, got = _told_apart(*values)
        place = f"worst at [{', '.join(map(str, worst))}]: {expected} expected, {got} computed"
        if self.unit is None:
            return f"{self.outside} of {self.compared} elements are not equal, and must be; {place}"
        return f"{self.factor:.3g} x the floor in {self.outside} of {self.compared} elements; {place}"


def _wide(array: np.ndarray) -> np.ndarray:
    """As float64 (complex128 for complex), writable."""
    return array.astype(np.complex128 if array.dtype.kind == "c" else np.float64)


def _as_bits(array: np.ndarray) -> np.ndarray:
    contiguous = np.ascontiguousarray(array)
    return contiguous.view(np.uint8).reshape(contiguous.size, contiguous.itemsize)


def _same_bits(reference: np.ndarray, actual: np.ndarray) -> bool:
    if reference.dtype != actual.dtype:
        return False
    if reference.itemsize in (1, 2, 4, 8):
        word = f"u{reference.itemsize}"
        return bool(np.array_equal(reference.view(word), actual.view(word)))
    return bool(np.array_equal(_as_bits(reference), _as_bits(actual)))


def _bits_differ(reference: np.ndarray, actual: np.ndarray) -> np.ndarray:
    if reference.dtype != actual.dtype:
        return np.asarray(_wide(reference) != _wide(actual))
    return np.asarray((_as_bits(reference) != _as_bits(actual)).any(axis=1))


def _all_finite(array: np.ndarray) -> bool:
    return precision(array.dtype) is None or bool(np.isfinite(array).all())


def _told_apart(*values: _Number) -> list[str]:
    """Numbers in six digits, or in all of them where six make them look equal."""
    short = [repr(value) if isinstance(value, int) else f"{value:.6g}" for value in values]
    return short if len(set(short)) == len(short) else [repr(value) for value in values]


def _plain(element: object) -> _Number:
    """A Python number that prints well, of a numpy or ml_dtypes scalar."""
    array = np.asarray(element)
    match array.dtype.kind:
        case "b":
            return bool(array)
        case "i" | "u":
            return int(array)
        case "c":
            return complex(array)
    return float(array) if precision(array.dtype) is not None else int(array)
