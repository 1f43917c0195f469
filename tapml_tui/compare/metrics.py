"""Every measure of how two arrays differ, in one pass over chunks; none of them decides, the rule of `noise` does.

Sums are in float64. Elements that are NaN or infinite on either side have no distance: they are counted by
themselves, and what follows from the others leaves them out. Integers and bool are measured exactly.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from tapml_tui.compare import chunks
from tapml_tui.compare.blocks import BlockMap
from tapml_tui.compare.chunks import Array
from tapml_tui.compare.distances import exact_distance, ulp_distance
from tapml_tui.compare.elements import Number, plain
from tapml_tui.compare.histogram import Histogram
from tapml_tui.compare.noise import Law
from tapml_tui.compare.precision import CHUNK, precision
from tapml_tui.compare.tally import Tally


class Needed(NamedTuple):
    """The smallest tolerance that would have passed, of each kind alone; infinite where none would.

    Attributes:
        times: So many times what the rule allows.
        rtol: |actual - reference| <= rtol * |reference|.
        atol: |actual - reference| <= atol.
    """

    times: float
    rtol: float
    atol: float


class Element(NamedTuple):
    """One element: where, and both values as Python numbers."""

    index: tuple[int, ...]  # type: ignore[assignment]  # hides tuple.index, which nobody wants here
    reference: Number
    actual: Number


@dataclass(frozen=True, slots=True)
class Metrics:
    """How two arrays of one shape differ.

    Attributes:
        count: How many elements were compared.
        max_abs: Largest absolute error; of integers exactly.
        mean_abs: Mean absolute error.
        max_rel: Largest error relative to the reference element, where that is not zero.
        mean_rel: Mean of those.
        max_ulp: Largest distance in representable numbers, also across zero; of integers the largest error, of
            complex numbers that of the worse component. None if the dtypes differ.
        rmse: Root mean square error.
        snr_db: Power of the reference over power of the error, in dB: infinite without error, None without signal.
        cosine: Of the angle between both, seen as vectors; None where either has no length.
        pearson: Correlation coefficient; None where either is constant.
        nan: NaN count in (reference, actual).
        nan_differ: Where only one side is NaN.
        inf: Inf count in (reference, actual).
        inf_differ: Where one side is infinite and the other is not, or has the other sign.
        outside: How many elements are outside of what the rule allows.
        factor: Worst error in units of what is allowed.
        first: The first element that is outside, None if none is.
        worst: The one with the largest factor, None if nothing differs.
        needed: The tolerance that would have passed.
        zeros: How many elements have no error at all.
        histogram: (decade, count) upwards: so many elements have an error in [10**decade, 10**(decade + 1)).
        blocks: Largest error in each block, rows x columns; infinite where NaN or Inf differ. None for fewer than
            two elements.
        axes: Which axes were folded into the rows of `blocks` and into its columns.
    """

    count: int
    max_abs: float | int
    mean_abs: float
    max_rel: float
    mean_rel: float
    max_ulp: int | None
    rmse: float
    snr_db: float | None
    cosine: float | None
    pearson: float | None
    nan: tuple[int, int]
    nan_differ: int
    inf: tuple[int, int]
    inf_differ: int
    outside: int
    factor: float
    first: Element | None
    worst: Element | None
    needed: Needed
    zeros: int
    histogram: tuple[tuple[int, int], ...]
    blocks: Array | None
    axes: tuple[tuple[int, ...], tuple[int, ...]]

    @property
    def fraction(self) -> float:
        """Which part of the elements is outside."""
        return self.outside / self.count if self.count else 0.0


def measure(reference: Array, actual: Array, law: Law | None = None, *, rows: int = 16, columns: int = 64) -> Metrics:
    """All metrics of two arrays.

    Args:
        reference: What the source computed; any numeric dtype, any shape.
        actual: What is looked at, of the same shape.
        law: What is allowed (`noise.noise_of`); None: equal bits alone are inside.
        rows: At most so many rows of blocks.
        columns: At most so many columns.

    Raises:
        ValueError: The shapes differ.
    """
    if reference.shape != actual.shape:
        raise ValueError(f"the shapes differ: {reference.shape} and {actual.shape}")
    measuring = Measuring(reference.shape, reference.dtype, actual.dtype, law, rows=rows, columns=columns)
    measuring.feed(reference, actual)
    return measuring.result()


class Measuring:
    """Metrics of arrays that arrive piece by piece, in row-major order."""

    def __init__(
        self,
        shape: tuple[int, ...],
        reference: np.dtype[Any],
        actual: np.dtype[Any],
        law: Law | None = None,
        *,
        rows: int = 16,
        columns: int = 64,
    ) -> None:
        """Begin with nothing. See `measure`; the dtypes are those of both sides."""
        self._shape = shape
        self._exact = precision(reference) is None and precision(actual) is None
        self._comparable = reference == actual
        unit = precision(reference)
        self._roundoff = unit.roundoff if unit is not None else 0.0
        self._tally = Tally(law, inherited_nan=False)
        self._tally.prepare(reference, actual, CHUNK)
        self._sums = _Sums()
        self._histogram = Histogram()
        self._blocks = BlockMap(shape, rows, columns)
        self._max_abs: float | int = 0
        self._max_ulp = 0
        self._rtol = 0.0
        self._zeros = 0
        self._elements: dict[int, tuple[Number, Number]] = {}

    @property
    def count(self) -> int:
        """How many elements have been fed."""
        return self._tally.compared

    def feed(self, reference: Array, actual: Array) -> None:
        """The next elements of both sides, of any shape and number.

        Raises:
            ValueError: The pieces differ in size, or there are more elements than the shape has.
        """
        if reference.shape != actual.shape:
            raise ValueError(f"the pieces differ in shape: {reference.shape} and {actual.shape}")
        if self.count + reference.size > math.prod(self._shape):
            raise ValueError(f"more elements than a shape of {self._shape} has")
        for _, (expected, got) in chunks.pairs(reference, actual):
            self._feed(expected, got)

    def _feed(self, reference: Array, actual: Array) -> None:
        start, tally = self.count, self._tally
        held = tally.add(start, reference, actual)
        for place in {tally.worst, tally.first} - {None}:
            if place is not None and place >= start:
                self._elements[place] = (plain(reference[place - start]), plain(actual[place - start]))
        if held and not self._exact:
            expected, error, relative = tally.expected, tally.error, tally.relative
            self._sums.add(expected, tally.got, error, relative)
        else:
            expected, error = self._careful(reference, actual)
        self._blocks.add(start, error)
        self._zeros += self._histogram.add(error)
        if self._comparable and not self._exact and not (held and self._fewer_ulps(tally.top_relative)):
            self._max_ulp = max(self._max_ulp, ulp_distance(reference, actual, finite=held))

    def _fewer_ulps(self, relative: float) -> bool:
        """Whether relative errors up to this one are fewer steps than the most so far.

        Up to a half, both numbers have one sign and lie above |r| / 2, where a step is more than u * |r| / 2.
        """
        return relative <= 0.5 and 2 * relative <= self._max_ulp * self._roundoff

    def _careful(self, reference: Array, actual: Array) -> tuple[Array, Array]:
        """Any chunk, in double precision. Its errors are infinite where NaN or Inf differ."""
        complex_valued = reference.dtype.kind == "c" or actual.dtype.kind == "c"
        wide = np.complex128 if complex_valued else np.float64
        with np.errstate(all="ignore"):  # also the cast: a NaN may be a signalling one
            expected, got = reference.astype(wide), actual.astype(wide)
            if self._exact:
                distance = exact_distance(reference, actual)
                self._max_abs = max(self._max_abs, int(distance.max(initial=0)))
                error = distance.astype(np.float64)
                got = expected + np.where(reference > actual, -error, error)
            else:
                error = np.abs(got - expected)
            finite = np.isfinite(expected) & np.isfinite(got)
            same = (expected == got) | (np.isnan(expected) & np.isnan(got))
            error[~finite] = np.where(same[~finite], 0.0, np.inf)
            relative = error / np.abs(expected)
        self._sums.add(expected[finite], got[finite], error[finite], relative[finite])
        return expected, error

    def result(self) -> Metrics:
        """The metrics of what has been fed so far."""
        tally, sums = self._tally, self._sums
        never = tally.nan_reference or tally.nan_actual or tally.inf_differs
        max_abs = self._max_abs if self._exact else tally.max_abs
        rtol = math.inf if never or sums.blind else tally.max_rel
        return Metrics(
            count=tally.compared,
            max_abs=max_abs,
            mean_abs=sums.error / sums.count if sums.count else 0.0,
            max_rel=tally.max_rel,
            mean_rel=sums.relative / sums.relatives if sums.relatives else 0.0,
            max_ulp=int(self._max_abs) if self._exact else self._max_ulp if self._comparable else None,
            rmse=math.sqrt(sums.squared_error / sums.count) if sums.count else 0.0,
            snr_db=sums.snr_db,
            cosine=sums.cosine,
            pearson=sums.pearson,
            nan=(tally.nan_reference, tally.nan_actual),
            nan_differ=tally.nan_reference + tally.nan_actual - 2 * tally.nan_both,
            inf=(tally.inf_reference, tally.inf_actual),
            inf_differ=tally.inf_differs,
            outside=tally.outside,
            factor=tally.factor,
            first=self._element(tally.first),
            worst=self._element(tally.worst),
            needed=Needed(math.inf if never else tally.factor, rtol, math.inf if never else float(max_abs)),
            zeros=self._zeros,
            histogram=self._histogram.result(),
            blocks=self._blocks.result(),
            axes=self._blocks.axes,
        )

    def _element(self, place: int | None) -> Element | None:
        if place is None:
            return None
        index = tuple(int(i) for i in np.unravel_index(place, self._shape))
        return Element(index, *self._elements[place])


class _Sums:
    """Sums over the elements that are finite on both sides."""

    def __init__(self) -> None:
        self.count = self.relatives = 0
        self.error = self.relative = self.squared_error = 0.0
        self.blind = False  # whether a reference of zero has an error, which no relative tolerance allows
        self._reference = self._actual = 0.0
        self._power = self._actual_power = self._product = 0.0
        self._scalars = 0
        self._buffers: tuple[Array, ...] = ()

    def add(self, expected: Array, got: Array, error: Array, relative: Array) -> None:
        """Add elements.

        Args:
            expected: The reference; float32, float64 or complex128.
            got: The other side.
            error: |got - expected|.
            relative: The same over |expected|; NaN for 0 / 0.
        """
        if not error.size:
            return
        self.count += error.size
        if expected.dtype.kind == "c":  # a complex number is two real ones
            expected, got = (np.ascontiguousarray(side).view(np.float64) for side in (expected, got))
        if not self._buffers:
            self._buffers = (*(np.empty(2 * CHUNK) for _ in range(2)), np.ones(2 * CHUNK))
        size = expected.size
        reference, difference = (buffer[:size] for buffer in self._buffers[:2])
        ones = self._buffers[2]
        with np.errstate(all="ignore"):
            np.copyto(reference, expected)
            np.copyto(difference, got)
            self._scalars += size
            self._reference += float(np.dot(reference, ones[:size]))
            self._actual += float(np.dot(difference, ones[:size]))
            self._power += float(np.dot(reference, reference))
            self._actual_power += float(np.dot(difference, difference))
            self._product += float(np.dot(reference, difference))
            difference -= reference
            self.squared_error += float(np.dot(difference, difference))
            part = difference[: error.size]
            if error.size < size:
                np.copyto(part, error)
            else:
                np.abs(difference, out=difference)
            self.error += float(np.dot(part, ones[: error.size]))
            np.copyto(part, relative)
            total = float(np.dot(part, ones[: error.size]))
            if math.isfinite(total):
                self.relative, self.relatives = self.relative + total, self.relatives + part.size
            else:  # NaN for 0 / 0, Inf where only the reference is zero
                known = part[np.isfinite(part)]
                self.relative, self.relatives = self.relative + float(known.sum()), self.relatives + known.size
                self.blind = self.blind or bool(np.isinf(part).any())

    @property
    def snr_db(self) -> float | None:
        """See `Metrics`."""
        if not self._power or not math.isfinite(self._power) or not math.isfinite(self.squared_error):
            return None
        if not self.squared_error:
            return math.inf
        return 10 * (math.log10(self._power) - math.log10(self.squared_error))  # the quotient may not be a float64

    @property
    def cosine(self) -> float | None:
        """See `Metrics`."""
        return _quotient(self._product, self._power, self._actual_power)

    @property
    def pearson(self) -> float | None:
        """See `Metrics`."""
        if not self._scalars:
            return None
        count, reference, actual = self._scalars, self._reference, self._actual
        left = self._power - reference * reference / count  # a power would raise where this is infinite
        right = self._actual_power - actual * actual / count
        if left <= 1e-12 * self._power or right <= 1e-12 * self._actual_power:
            return None
        return _quotient(self._product - reference * actual / count, left, right)


def _quotient(product: float, left: float, right: float) -> float | None:
    length = math.sqrt(left) * math.sqrt(right) if left > 0 and right > 0 else 0.0
    value = product / length if length and math.isfinite(length) else math.nan
    return min(1.0, max(-1.0, value)) if math.isfinite(value) else None
