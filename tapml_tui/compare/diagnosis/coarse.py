"""Errors that look like rounding, only more of it: sums and functions that are too coarse."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt

from tapml_tui.compare.diagnosis.evidence import Evidence, Floats
from tapml_tui.compare.diagnosis.fitting import fit
from tapml_tui.compare.diagnosis.result import Diagnosis, Kind
from tapml_tui.compare.diagnosis.words import number
from tapml_tui.compare.precision import precision

_FEWEST = 64
_FAILING = 3
_CLEARLY = 2.0
_COMMON = 0.01
_HALF = 10
_LARGEST = 0.1
_ALONG = 0.2
_BIAS = 0.25
_DENSE = 0.3
_GAP = 8.0
_OUTLIER = 12.0
_SAME = 1e-6
_TINY = np.finfo(np.float64).tiny

NORMALISING = ("softmax", "norm", "attention")


def low_precision(evidence: Evidence) -> Diagnosis | None:
    """An error without bias, that follows neither the values nor itself, and is small against the values."""
    unit = precision(evidence.dtype)
    if unit is None or evidence.reference.size < _FEWEST:
        return None
    share, worst = float(np.mean(evidence.bad)), float(np.abs(evidence.error).max())
    if worst < _CLEARLY and share < (_COMMON if unit.fraction_bits <= _HALF else _FAILING / evidence.reference.size):
        return None  # in half precision the errors of healthy kernels look the same and are as large
    values = np.where(evidence.finite, evidence.reference, 0.0)
    difference = evidence.error * evidence.allowance
    size, noise = float(np.sqrt(np.mean(values**2))), float(np.sqrt(np.mean(difference**2)))
    if not 0.0 < noise < _LARGEST * size:
        return None
    if normalises(evidence):  # a coarse sum moves a whole row
        difference = difference - _of_statistics(evidence, difference, values)
    if not _structureless(difference, values):
        return None
    if _in_one_slice(evidence.bad):
        return None
    like = next((name for name, bits in (("bfloat16", 8), ("float16", 11)) if noise > 0.3 * 2.0**-bits * size), "")
    words = f"the error looks like rounding, {number(noise / size)} of the values, without bias or structure"
    narrow = f"a sum or a function in a narrower dtype, as if in {like}"
    growing = _growing(difference)
    words += "" if growing is None else f", and grows along axis {growing} as the sum gets longer"
    return Diagnosis(Kind.LOW_PRECISION, f"{words}: {narrow if like else 'a sum or a function that is too coarse'}")


def coarse_statistics(evidence: Evidence) -> Diagnosis | None:
    """The mean and the factor by which each row is normalised are both off, by little."""
    if not normalises(evidence) or not evidence.inputs or evidence.shape[-1] < _FEWEST:
        return None
    values = np.where(evidence.finite, evidence.reference, 0.0)
    moved = _of_statistics(evidence, evidence.error * evidence.allowance, values)
    found = fit(evidence, moved)
    if found is None or float(np.mean(moved**2)) > _LARGEST**2 * float(np.mean(values**2)):
        return None
    size = number(float(np.sqrt(np.mean(moved**2) / np.mean(values**2))))
    words = f"each row is normalised with statistics that are off, by {size} of the values: their sums are too coarse"
    rows = evidence.reference.size / evidence.shape[-1]
    return Diagnosis(Kind.LOW_PRECISION, words, found.residual, 2.0 * rows)


def normalises(evidence: Evidence) -> bool:
    """Whether the operator divides each row by a sum over it."""
    return any(word in evidence.operator for word in NORMALISING)


def _of_statistics(evidence: Evidence, difference: Floats, values: Floats) -> Floats:
    """The part of the error that comes from the sums of a row: multiples of its values, weights and biases."""
    columns = values.shape[-1]
    vectors = [array.astype(np.float64) for array in evidence.inputs if array.shape == (columns,) and columns > 1]
    ones = np.ones(columns)
    taken = np.zeros_like(values)
    basis: list[Floats] = []
    for pattern in (values, *(np.broadcast_to(vector, values.shape) for vector in (vectors or [ones])[:2])):
        direction = pattern
        for other in basis:
            direction = direction - _along(direction, other)
        if float(np.square(direction).sum()) > _SAME * float(np.square(pattern).sum()):
            basis.append(direction)
            taken = taken + _along(difference, direction)
    return taken


def _along(array: Floats, direction: Floats) -> Floats:
    """The projection of each row of an array on the same row of another."""
    energy = np.square(direction).sum(axis=-1, keepdims=True)
    return np.asarray((array * direction).sum(axis=-1, keepdims=True) / np.maximum(energy, _TINY) * direction)


def _structureless(error: Floats, values: Floats) -> bool:
    """Whether errors have no bias, do not follow the values, and each other no more than the values do.

    Whatever is mixed into the reference in place of it pulls the result away from the reference: such an
    error goes against the values (a correlation of -0.7 with something unrelated). Rounding does not. But
    neighbours that are alike are rounded alike, and a sum that goes on carries its error with it.
    """
    even = _evened(error)
    if float(np.abs(even).max()) > _OUTLIER * float(np.sqrt(np.mean(even**2))):
        return False
    relative = np.divide(error, np.abs(values), out=np.zeros_like(error), where=values != 0.0)
    seen = values != 0.0
    if max(_dense(even[seen]), _dense(relative[seen])) < _DENSE:
        return False
    plain = values / np.maximum(_levels(error), _TINY)
    noise = float(np.sqrt(np.mean(even**2)))
    if abs(float(even.mean())) > _BIAS * noise or abs(_correlation(even, plain)) > _ALONG:
        return False
    chance = 6.0 / np.sqrt(error.size)
    for axis, size in enumerate(error.shape):
        if size < 2:
            continue
        own, others = _neighbours(even, axis), _neighbours(plain, axis)
        if abs(own) > max(abs(others), 0.0) + _ALONG + chance or _has_gap(error, values, axis):
            return False
    return True


def _levels(error: Floats) -> Floats:
    """The size of the error that row and column suggest: rounding follows the size of what is summed."""
    total = np.maximum(float(np.mean(error**2)), _TINY)
    level = np.ones([1] * error.ndim)
    for axis, size in enumerate(error.shape):
        if size > 1 and error.size // size >= 8:
            others = tuple(other for other in range(error.ndim) if other != axis)
            level = level * np.square(error).mean(axis=others, keepdims=True) / total
    return np.asarray(np.sqrt(level * total))


def _evened(error: Floats) -> Floats:
    return np.asarray(error / np.maximum(_levels(error), _TINY))


def _dense(error: Floats) -> float:
    """Part of the elements that have an error of about the common size."""
    return float(np.mean(np.abs(error) > 0.3 * float(np.sqrt(np.mean(error**2))))) if error.size else 0.0


def _correlation(left: Floats, right: Floats) -> float:
    energy = float(np.square(left).sum()) * float(np.square(right).sum())
    return float((left * right).sum()) / np.sqrt(energy) if energy > 0.0 else 0.0


def _neighbours(error: Floats, axis: int) -> float:
    most = 3.0 * float(np.median(np.abs(error[error != 0.0]))) if error.any() else 0.0
    moved = np.moveaxis(np.clip(error, -most, most), axis, 0)  # a few large ones tell little of the others
    return _correlation(moved[:-1], moved[1:])


def _has_gap(error: Floats, values: Floats, axis: int) -> bool:
    """Whether some slices are clearly louder than all others: rounding knows no such step."""
    size = error.shape[axis]
    if error.size // size < 32:
        return False
    others = tuple(other for other in range(error.ndim) if other != axis)
    size_of = np.square(values).mean(axis=others)
    level, seen = np.square(error).mean(axis=others), size_of > 0.0
    return _steps_up(level[seen]) and _steps_up(level[seen] / size_of[seen])


def _steps_up(level: Floats) -> bool:
    upper = np.sort(level)[level.size // 2 :]
    return bool((upper[1:] > _GAP * np.maximum(upper[:-1], _TINY)).any())


def _in_one_slice(bad: npt.NDArray[np.bool_]) -> bool:
    """Whether all that fails is in one slice of an axis: then that is where to look, and nothing says rounding."""
    count = int(np.count_nonzero(bad))
    for axis, size in enumerate(bad.shape):
        others = tuple(other for other in range(bad.ndim) if other != axis)
        if size >= 4 and count >= 3 and int(np.count_nonzero(bad, axis=others).max()) == count:
            return True
    return False


def _growing(error: Floats) -> int | None:
    """The axis along which the error grows all the way, as that of a sum that gets longer does."""
    for axis, size in enumerate(error.shape):
        if size < 8 or error.size // size < 32:
            continue
        others = tuple(other for other in range(error.ndim) if other != axis)
        quarters = [float(part.mean()) for part in np.array_split(np.square(error).mean(axis=others), 4)]
        if all(later > 1.2 * earlier for earlier, later in pairwise(quarters)):
            return axis
    return None
