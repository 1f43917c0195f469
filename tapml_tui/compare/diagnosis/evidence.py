"""What a diagnosis looks at: both sides in float64, and the error in units of what is allowed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from tapml_tui.compare.diagnosis.words import axis_names
from tapml_tui.compare.precision import half_ulp, precision

Floats: TypeAlias = npt.NDArray[np.float64]
AllowanceLaw: TypeAlias = Callable[[Floats], Floats]

LOOKED_AT = 1 << 20
"""Elements that are looked at: float64 copies of larger arrays are thinned along their axes."""

_SAMPLE = 4096
"""Elements on which an explanation is tried before all are."""

_LAW_STEPS = 33
_MANY = 8
_CLEARLY = 2.0


@dataclass(frozen=True)
class Evidence:
    """Two arrays, thinned where they are large, and what sets them apart.

    Attributes:
        reference: What the source computed, float64. Complex arrays gain an axis of two.
        actual: What is judged, of the same shape.
        allowance: How far each element may be off; above zero everywhere.
        law: The allowance of other values than the reference, in the same kernel.
        error: `(actual - reference) / allowance`; 0 where either is not finite.
        finite: Where both sides are finite.
        dtype: Of `actual`.
        names: Singular name of each axis.
        kept: The index in the whole array of each slice that is looked at, for each axis.
        sizes: Shape of the whole array.
        inputs: What the kernel read, as it was passed.
        operator: Its name, or "".
        stale: Earlier outputs, thinned like the reference.
        bits: The actual elements as they were stored, thinned.
        exact: Whether each element has to be the right one to the bit.
    """

    reference: Floats
    actual: Floats
    allowance: Floats
    law: AllowanceLaw
    error: Floats
    finite: npt.NDArray[np.bool_]
    dtype: np.dtype[Any]
    names: tuple[str, ...]
    kept: tuple[npt.NDArray[np.intp], ...]
    sizes: tuple[int, ...]
    inputs: tuple[npt.NDArray[Any], ...] = ()
    operator: str = ""
    stale: tuple[Floats, ...] = ()
    bits: npt.NDArray[Any] = field(default_factory=lambda: np.empty(0))
    exact: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """Of what is looked at."""
        return self.reference.shape

    @property
    def whole(self) -> bool:
        """Whether every element is looked at."""
        return self.shape == self.sizes

    @cached_property
    def bad(self) -> npt.NDArray[np.bool_]:
        """Elements that are off by more than they may."""
        return np.asarray(np.abs(self.error) > (0.0 if self.exact else 1.0))

    @cached_property
    def room(self) -> Floats:
        """How much more than its allowance may be left of an element, as it is rounded where it is now."""
        size = np.abs(np.where(self.finite, self.actual, 0.0))
        return np.asarray(np.maximum(1.0, self.law(size) / self.allowance))

    @cached_property
    def half_ulp(self) -> Floats:
        """Half a unit in the last place of each element of the reference."""
        return _least(self.dtype, np.where(np.isfinite(self.reference), self.reference, 0.0))

    @property
    def convincing(self) -> bool:
        """Whether so much fails, or by so much, that chance did not choose where."""
        return bool(np.count_nonzero(self.bad) >= _MANY or np.abs(self.error).max() >= _CLEARLY)

    @property
    def fails(self) -> bool:
        """Whether anything is wrong at all: an element too far off, or a NaN or Inf on one side."""
        special = ~self.finite & ~((self.actual == self.reference) | (np.isnan(self.actual) & np.isnan(self.reference)))
        return bool(self.bad.any() or special.any())

    @cached_property
    def sample(self) -> npt.NDArray[np.intp]:
        """Flat indices: those that are off most, and some of all, so that weak and rare errors both show."""
        size = self.reference.size
        if size <= _SAMPLE:
            return np.arange(size)
        loudness = np.abs(self.error).reshape(-1)
        loudest = np.argpartition(loudness, size - _SAMPLE // 2)[size - _SAMPLE // 2 :]
        some = np.random.default_rng(0).integers(0, size, _SAMPLE // 2)
        return np.unique(np.concatenate([loudest, some]))

    def part(self, chosen: Sequence[npt.NDArray[np.intp]]) -> Evidence:
        """The evidence of some slices of each axis; it knows no inputs."""
        grid = np.ix_(*chosen)
        return Evidence(
            reference=self.reference[grid],
            actual=self.actual[grid],
            allowance=self.allowance[grid],
            law=self.law,
            error=self.error[grid],
            finite=self.finite[grid],
            dtype=self.dtype,
            names=self.names,
            kept=tuple(kept[index] for kept, index in zip(self.kept, chosen, strict=True)),
            sizes=self.sizes,
            operator=self.operator,
            stale=tuple(old[grid] for old in self.stale),
            bits=self.bits[grid],
            exact=self.exact,
        )

    def flattened(self) -> Evidence:
        """The same in memory order, as one axis of elements; it knows no inputs."""
        return Evidence(
            reference=self.reference.reshape(-1),
            actual=self.actual.reshape(-1),
            allowance=self.allowance.reshape(-1),
            law=self.law,
            error=self.error.reshape(-1),
            finite=self.finite.reshape(-1),
            dtype=self.dtype,
            names=("element",),
            kept=(np.arange(self.reference.size),),
            sizes=(self.reference.size,),
            operator=self.operator,
            stale=tuple(old.reshape(-1) for old in self.stale),
            bits=self.bits.reshape(-1),
            exact=self.exact,
        )


def gather(
    reference: npt.NDArray[Any],
    actual: npt.NDArray[Any],
    *,
    allowance: npt.NDArray[Any] | float | AllowanceLaw | None,
    inputs: Sequence[npt.NDArray[Any]],
    operator: str,
    stale: Sequence[npt.NDArray[Any]],
    axes: Sequence[str],
) -> Evidence:
    """Look at two arrays of equal shape. See `diagnose` for the arguments."""
    if reference.ndim == 0:
        reference, actual = reference.reshape(1), actual.reshape(1)
    sizes = reference.shape
    kept = tuple(_thinned(size, keep) for size, keep in zip(sizes, _budget(sizes), strict=True))
    grid = None if all(len(k) == size for k, size in zip(kept, sizes, strict=True)) else np.ix_(*kept)
    expected, got = _wide(_cut(reference, grid)), _wide(_cut(actual, grid))
    given = (
        _cut(np.broadcast_to(allowance, sizes), grid) if isinstance(allowance, np.ndarray | float | int) else allowance
    )
    names = axis_names(sizes, operator, axes)
    if expected.ndim > len(sizes):  # complex
        sizes, kept, names = (*sizes, 2), (*kept, np.arange(2)), (*names, "part (real, imaginary)")
        given = np.stack([given, given], axis=-1) if isinstance(given, np.ndarray) else given
    old = tuple(_wide(_cut(array.reshape(reference.shape), grid)) for array in stale if array.size == reference.size)
    finite = np.isfinite(expected) & np.isfinite(got)
    law = _law(reference.dtype, expected, given)
    safe = np.where(np.isfinite(expected), expected, 0.0)
    allowed = np.maximum(given if isinstance(given, np.ndarray) else law(safe), _least(reference.dtype, safe))
    with np.errstate(invalid="ignore", over="ignore"):
        error = np.where(finite, (got - expected) / allowed, 0.0)
    bits = np.ascontiguousarray(_cut(actual, grid))
    return Evidence(
        reference=expected,
        actual=got,
        allowance=allowed,
        law=_at_least_rounded(reference.dtype, law),
        error=error,
        finite=finite,
        dtype=actual.dtype,
        names=names,
        kept=kept,
        sizes=sizes,
        inputs=tuple(inputs),
        operator=operator,
        stale=old,
        bits=bits.view(bits.real.dtype).reshape(got.shape) if actual.dtype.kind == "c" else bits,
        exact=isinstance(allowance, float | int) and allowance == 0.0,
    )


def _cut(array: npt.NDArray[Any], grid: tuple[npt.NDArray[Any], ...] | None) -> npt.NDArray[Any]:
    return array if grid is None else np.asarray(array[grid])


def _wide(array: npt.NDArray[Any]) -> Floats:
    if array.dtype.kind == "c":
        pair = np.stack([array.real, array.imag], axis=-1)
        return pair.astype(np.float64)
    return np.ascontiguousarray(array).astype(np.float64).reshape(array.shape)


def _budget(sizes: tuple[int, ...]) -> tuple[int, ...]:
    """How many slices of each axis to keep: the longest axes are shortened first."""
    keep = list(sizes)
    while int(np.prod(keep, dtype=np.float64)) > LOOKED_AT:
        longest = int(np.argmax(keep))
        keep[longest] = max(1, keep[longest] * 3 // 4)
    return tuple(keep)


def _thinned(size: int, keep: int) -> npt.NDArray[np.intp]:
    """Both ends of an axis in one piece, and what is between evenly spread."""
    if keep >= size:
        return np.arange(size)
    edge = keep // 3
    between = np.linspace(edge, size - edge - 1, keep - 2 * edge).astype(np.intp)
    return np.unique(np.concatenate([np.arange(edge), between, np.arange(size - edge, size)]))


def _least(dtype: np.dtype[Any], values: Floats) -> Floats:
    unit = precision(dtype)
    if unit is None:
        return np.full(values.shape, 0.25)
    return half_ulp(np.abs(values), unit)


def _at_least_rounded(dtype: np.dtype[Any], law: AllowanceLaw) -> AllowanceLaw:
    """Where healthy kernels round nothing, wrong ones still round what they make of it, on the way and at the end."""
    return lambda values: np.maximum(law(values), 3.0 * _least(dtype, values))


def _law(dtype: np.dtype[Any], expected: Floats, given: npt.NDArray[Any] | AllowanceLaw | None) -> AllowanceLaw:
    """The allowance as a function of a value: what the caller says, or the envelope of what it gave."""
    if callable(given):
        return given
    if given is None and precision(dtype) is None:
        return lambda values: _least(dtype, values)
    if given is None:
        size = np.abs(expected[np.isfinite(expected)])
        rms = float(np.sqrt(np.mean(np.square(size)))) if size.size else 0.0
        return lambda values: 4.0 * _least(dtype, np.maximum(np.abs(values), rms))
    magnitude = np.abs(np.where(np.isfinite(expected), expected, 0.0)).reshape(-1)
    order = np.argsort(magnitude[:: max(1, magnitude.size // 65536)])
    steps = np.linspace(0, order.size - 1, _LAW_STEPS).astype(np.intp)
    knots = magnitude[:: max(1, magnitude.size // 65536)][order][steps]
    heights = np.maximum.accumulate(
        np.maximum.reduceat(given.reshape(-1)[:: max(1, magnitude.size // 65536)][order].astype(np.float64), steps)
    )

    def law(values: Floats) -> Floats:
        size = np.abs(values)
        beyond = np.maximum(1.0, size / max(float(knots[-1]), np.finfo(np.float64).tiny))
        return np.asarray(np.interp(size, knots, heights) * beyond)

    return law
