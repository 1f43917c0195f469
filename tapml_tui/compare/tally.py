"""What is known of two arrays after some chunks: the counts and the worst element of a `Comparison`."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tapml_tui.compare.chunks import Array, widened, working_dtype
from tapml_tui.compare.elements import Number, plain, told_apart
from tapml_tui.compare.noise import Law
from tapml_tui.compare.precision import CHUNK, precision
from tapml_tui.compare.result import Comparison

_FEW = 8
"""Elements that may be the worst are looked at alone if they are at most this part of a chunk (one in 8)."""
_PATIENCE = 15
"""Chunks after one with more of them, in which looking for them is not tried."""
_TIE = 2.0**-20
"""Factors that differ by less of themselves are equally bad: float32 has no more digits after four roundings."""


def _nothing() -> Array:
    return np.empty(0)


@dataclass(slots=True)
class Tally:
    """Adds up chunks.

    Attributes:
        noise: What is allowed; None where bits must be equal.
        inherited_nan: Whether a NaN in both is fine.
        limits: What each element is allowed, where that is known; of the shape of the arrays.
    """

    noise: Law | None
    inherited_nan: bool
    limits: Array | None = None
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
    first: int | None = None  # the first one outside
    expected: Array = field(default_factory=_nothing, repr=False)  # of the last chunk, if all of it was finite:
    got: Array = field(default_factory=_nothing, repr=False)  # both sides in the working dtype,
    error: Array = field(default_factory=_nothing, repr=False)  # how far they are apart,
    relative: Array = field(default_factory=_nothing, repr=False)  # and that over |expected|: with NaN, Inf,
    top_relative: float = 0.0  # the largest of it
    _worst_error: float = 0.0  # there, where the factors of several are infinite
    _buffers: tuple[Array, ...] = field(default=(), repr=False)
    _least: float = 0.0  # allowance of an element of 0, less than which there is none
    _slope: float = 0.0  # nor less than this part of an element
    _dense: int = 0  # for so many chunks more, every element is looked at without asking whether it may matter

    def prepare(self, reference: np.dtype[Any], actual: np.dtype[Any], size: int) -> None:
        """Make room to work in, for chunks of these dtypes and at most `size` elements."""
        if self.noise is None:
            return
        dtype = working_dtype(reference, actual)
        if dtype.kind != "c":
            self._buffers = tuple(np.empty(min(CHUNK, size), dtype) for _ in range(7))
        self._least = self.noise.at(0.0)
        self._slope = self.noise.steepness
        if self.limits is not None:
            self.limits = self.limits.reshape(-1).astype(np.float64 if dtype.kind == "c" else dtype)
            self._least, self._slope = float(self.limits.min()), 0.0

    def add(self, start: int, reference: Array, actual: Array) -> bool:
        """Compare one chunk, whose first element has the flat index `start`.

        Returns:
            Whether `expected`, `error` and `relative` now hold that chunk.
        """
        self.compared += reference.size
        if self.noise is None:
            if _same_bits(reference, actual) and _all_finite(reference):
                return False
            if precision(reference.dtype) is None or precision(actual.dtype) is None:
                self._add_integers(start, reference, actual)
            else:
                self._add_carefully(start, reference, actual)
        elif self._buffers and self._add_finite(start, reference, actual, self.noise):
            return True
        else:
            self._add_carefully(start, reference, actual)
        return False

    def _add_finite(self, start: int, reference: Array, actual: Array, noise: Law) -> bool:
        """The common case, fast: everything is finite. Returns whether it is."""
        expected, got = widened(reference, self._buffers[0]), widened(actual, self._buffers[1])
        error, magnitude, relative, allowed, scratch = (buffer[: expected.size] for buffer in self._buffers[2:])
        self.expected, self.got, self.error, self.relative = expected, got, error, relative
        with np.errstate(all="ignore"):
            # Close numbers are subtracted exactly (Sterbenz); of far ones the last digits do not matter.
            np.subtract(got, expected, out=error)
            np.abs(error, out=error)
            top = float(error.max())
            if not math.isfinite(top):
                return False
            self.max_abs = max(self.max_abs, top)
            np.abs(expected, out=magnitude)
            np.divide(error, magnitude, out=relative)
            self.top_relative = float(np.fmax.reduce(relative))  # skips 0 / 0
            self.max_rel = max(self.max_rel, _largest_finite(self.top_relative, relative, magnitude))
            if top <= min(self.factor, 1.0) * self._least:  # also 0 <= 0
                return True  # nothing here is outside, or worse than what was
            chosen = None
            if not self._dense:
                np.multiply(magnitude, self._slope * min(self.factor, 1.0), out=scratch)
                np.maximum(scratch, self._least * min(self.factor, 1.0), out=scratch)
                chosen = np.flatnonzero(error > scratch)
                if not chosen.size:
                    return True
                if chosen.size * _FEW > error.size:
                    chosen, self._dense = None, _PATIENCE
                else:
                    error, magnitude = error[chosen], magnitude[chosen]
                    allowed, scratch = np.empty_like(error), np.empty_like(error)
            else:
                self._dense -= 1
            noise.allow(magnitude, allowed, scratch)
            self._limit(allowed, start, reference.size, chosen)
            np.divide(error, allowed, out=scratch)
        largest = float(scratch.max())
        if largest > 1.0 - _TIE:
            close = np.flatnonzero(np.abs(scratch - 1.0) < _TIE)
            beyond = self._factors(start, close if chosen is None else chosen[close], noise) > 1.0
            scratch[close] = np.where(beyond, 1.0 + _TIE, 1.0 - _TIE)
            largest = float(scratch.max())
            outside = scratch > 1.0
            self.outside += int(np.count_nonzero(outside))
            if self.first is None and outside.any():
                place = int(outside.argmax())
                self.first = start + (place if chosen is None else int(chosen[place]))
        if largest > self.factor * (1.0 + _TIE):
            worst = int((scratch >= largest * (1.0 - _TIE)).argmax())
            worst = worst if chosen is None else int(chosen[worst])
            self.factor = float(self._factors(start, np.array([worst]), noise)[0])
            self.worst = start + worst
        return True

    def _factors(self, start: int, where: Array, noise: Law) -> Array:
        """Those of a few elements of the last chunk in double precision, as exported tests have them."""
        expected, got = _wide(self.expected[where]), _wide(self.got[where])
        allowed = noise.allowance(np.abs(expected)) if self.limits is None else self.limits[start + where]
        with np.errstate(over="ignore"):
            return np.asarray(np.abs(got - expected) / allowed)

    def _limit(self, allowed: Array, start: int, size: int, chosen: Array | None = None) -> None:
        if self.limits is not None:
            limits = self.limits[start : start + size]
            allowed[...] = limits if chosen is None else limits[chosen]

    def _add_integers(self, start: int, reference: Array, actual: Array) -> None:
        differs = np.flatnonzero(reference != actual)
        if not differs.size:
            return
        # float64 cannot hold all of int64: it measures how far off, it does not decide.
        error = np.abs(_wide(actual[differs]) - _wide(reference[differs]))
        magnitude = np.abs(_wide(reference[differs]))
        self.outside += differs.size
        if self.first is None:
            self.first = start + int(differs[0])
        self._note_worst(start, differs, np.full(differs.size, np.inf), error, magnitude)

    def _add_carefully(self, start: int, reference: Array, actual: Array) -> None:
        """Any chunk of floats, in double precision: NaN and Inf are counted, and fail unless they are the same."""
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
        if self.noise is None:
            factor = np.where(_bits_differ(reference, actual), np.inf, 0.0)
        else:
            with np.errstate(invalid="ignore", over="ignore"):
                allowed = self.noise.allowance(magnitude)
                self._limit(allowed, start, reference.size)
                factor = error / allowed
        factor[special] = 0.0
        factor[wrong_nan | wrong_inf] = np.inf
        outside = factor > 1.0
        self.outside += int(outside.sum())
        if self.first is None and outside.any():
            self.first = start + int(outside.argmax())
        error[wrong_nan | wrong_inf] = np.inf
        magnitude[special] = np.inf
        self._note_worst(start, np.arange(factor.size), factor, error, magnitude)

    def _note_worst(self, start: int, where: Array, factor: Array, error: Array, magnitude: Array) -> None:
        finite = np.isfinite(error)
        if finite.any():
            self.max_abs = max(self.max_abs, float(error[finite].max()))
            relative = error[finite & (magnitude > 0)] / magnitude[finite & (magnitude > 0)]
            if relative.size:
                self.max_rel = max(self.max_rel, float(relative.max()))
        # Among equally bad ones it is the first; where bits must agree, and all are, the one that is farthest off.
        top = float(factor.max())
        candidates = np.flatnonzero(factor >= top * (1.0 - _TIE))
        best = int(candidates[0])
        worse = top > self.factor * (1.0 + _TIE)
        if math.isinf(top):
            best = int(candidates[int(error[candidates].argmax())])
            worse = (top, error[best]) > (self.factor, self._worst_error)
        if worse:
            self.factor, self._worst_error = float(factor[best]), float(error[best])
            self.worst = start + int(where[best])

    def result(self, reference: Array, actual: Array) -> Comparison:
        """The comparison, once every chunk was added."""
        worst = values = None
        if self.worst is not None:
            worst = tuple(int(i) for i in np.unravel_index(self.worst, reference.shape))
            values = (plain(reference[worst]), plain(actual[worst]))
        return Comparison(
            passed=self.outside == 0,
            reason=self._reason(worst, values),
            factor=self.factor,
            compared=self.compared,
            outside=self.outside,
            max_abs=self.max_abs,
            max_rel=self.max_rel,
            nan=(self.nan_reference, self.nan_actual),
            inf=(self.inf_reference, self.inf_actual),
            worst=worst,
            worst_values=values,
        )

    def _reason(self, worst: tuple[int, ...] | None, values: tuple[Number, Number] | None) -> str:
        if not self.outside:
            return ""
        if self.nan_actual > self.nan_both:
            return f"NaN in {self.nan_actual - self.nan_both} of {self.compared} elements where the reference has none"
        if self.nan_reference > self.nan_both:
            return f"no NaN in {self.nan_reference - self.nan_both} elements where the reference has one"
        if self.nan_both and not self.inherited_nan:
            return f"NaN in both, in {self.nan_both} of {self.compared} elements: nothing vouches for them"
        if self.inf_differs:
            return f"Inf on one side only, or of the other sign, in {self.inf_differs} of {self.compared} elements"
        assert worst is not None and values is not None
        expected, got = told_apart(*values)
        place = f"worst at [{', '.join(map(str, worst))}]: {expected} expected, {got} computed"
        if self.noise is None:
            return f"{self.outside} of {self.compared} elements are not equal, and must be; {place}"
        return f"{self.factor:.3g} x the floor in {self.outside} of {self.compared} elements; {place}"


def _largest_finite(top: float, relative: Array, magnitude: Array) -> float:
    """The largest quotient whose divisor is not zero; `top` is that of all of them."""
    if math.isinf(top):
        top = float(relative.max(where=magnitude > 0, initial=0.0))
    return top if math.isfinite(top) else 0.0


def _wide(array: Array) -> Array:
    """As float64 (complex128 for complex), writable."""
    with np.errstate(invalid="ignore"):  # bits that nobody wrote may be a signalling NaN
        return array.astype(np.complex128 if array.dtype.kind == "c" else np.float64)


def _as_bits(array: Array) -> Array:
    contiguous = np.ascontiguousarray(array)
    return contiguous.view(np.uint8).reshape(contiguous.size, contiguous.itemsize)


def _same_bits(reference: Array, actual: Array) -> bool:
    if reference.dtype != actual.dtype:
        return False
    if reference.itemsize in (1, 2, 4, 8):
        word = f"u{reference.itemsize}"
        return bool(np.array_equal(reference.view(word), actual.view(word)))
    return bool(np.array_equal(_as_bits(reference), _as_bits(actual)))


def _bits_differ(reference: Array, actual: Array) -> Array:
    if reference.dtype != actual.dtype:
        return np.asarray(_wide(reference) != _wide(actual))
    return np.asarray((_as_bits(reference) != _as_bits(actual)).any(axis=1))


def _all_finite(array: Array) -> bool:
    return precision(array.dtype) is None or bool(np.isfinite(array).all())
