"""The right values in the wrong place: layouts, shifts, reversals, broadcasts, permutations.

Each explanation says for every element which element of the reference stands there instead.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import permutations

import numpy as np
import numpy.typing as npt

from tapml_tui.compare.diagnosis.evidence import Evidence, Floats
from tapml_tui.compare.diagnosis.fitting import Fit, fit_blend, promising
from tapml_tui.compare.diagnosis.result import Diagnosis, Kind
from tapml_tui.compare.diagnosis.words import blended, plural

_MOST_AXES = 5
_MOST_FACTORS = 24
_LINES = 64
_LANES = (2, 4, 8)
_BORDER = 0.25


@dataclass(frozen=True)
class _Move:
    """`source` gives the flat index that an element was taken from, for flat indices of elements."""

    kind: Kind
    words: str
    shape: tuple[int, ...]
    order: tuple[int, ...]
    reversed_axis: int | None = None

    def source(self, where: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
        """Where in the reference the elements at `where` come from."""
        moved = np.unravel_index(where, tuple(self.shape[axis] for axis in self.order))
        place = [moved[0]] * len(self.shape)
        for position, axis in enumerate(self.order):
            place[axis] = moved[position]
        if self.reversed_axis is not None:
            place[self.reversed_axis] = self.shape[self.reversed_axis] - 1 - place[self.reversed_axis]
        return np.asarray(np.ravel_multi_index(tuple(place), self.shape))

    def applied(self, reference: Floats) -> Floats:
        """The whole reference, moved."""
        moved = reference.reshape(self.shape)
        if self.reversed_axis is not None:
            moved = np.flip(moved, self.reversed_axis)
        return np.ascontiguousarray(moved.transpose(self.order)).reshape(reference.shape)


def layouts(evidence: Evidence) -> Diagnosis | None:
    """Transposed, or read in the layout of a transposed buffer."""
    if not evidence.whole:
        return None
    reference = evidence.reference.reshape(-1)
    sampled = reference[evidence.sample]
    for move in _layouts(evidence):
        if not promising(evidence, reference[move.source(evidence.sample)] - sampled):
            continue
        found = fit_blend(evidence, move.applied(evidence.reference))
        if found is not None:
            return Diagnosis(move.kind, move.words + blended(found.coefficient), found.residual)
    return None


def _layouts(evidence: Evidence) -> Iterator[_Move]:
    shape = evidence.shape
    real = [axis for axis, size in enumerate(shape) if size > 1]
    if 2 <= len(real) <= _MOST_AXES:
        squeezed = tuple(shape[axis] for axis in real)
        orders = sorted(permutations(range(len(real))), key=lambda order: sum(a != b for a, b in enumerate(order)))
        for order in orders[1:]:
            moved = [axis for position, axis in enumerate(order) if position != axis]
            said = " and ".join(str(real[axis]) for axis in sorted(moved)) if len(moved) == 2 else (
                f"{', '.join(str(real[axis]) for axis in range(len(order)))} in the order "
                f"{', '.join(str(real[axis]) for axis in order)}"
            )  # fmt: skip
            same = tuple(squeezed[axis] for axis in order) == squeezed
            words = f"transposed: axes {said}" + (" are exchanged" if len(moved) == 2 else "")
            words += "" if same else ", the buffer is laid out so and read in the shape of the reference"
            yield _Move(Kind.TRANSPOSED, words, squeezed, order)
    for axis in real:
        size, before, after = shape[axis], shape[:axis], shape[axis + 1 :]
        names = plural(evidence.names[axis])
        for width in (width for width in _LANES if size % width == 0 and size > width):
            words = f"neighbouring {names} have changed places" if width == 2 else (
                f"within every {width} {names} the order is reversed"
            )  # fmt: skip
            grouped = (*before, size // width, width, *after)
            yield _Move(Kind.PERMUTED, f"{words} (axis {axis})", grouped, tuple(range(len(grouped))), axis + 1)
        for outer in [f for f in range(2, size // 2 + 1) if size % f == 0][:_MOST_FACTORS]:
            inner = size // outer
            order = (*range(axis), axis + 1, axis, *range(axis + 2, len(shape) + 1))
            yield _Move(
                Kind.PERMUTED,
                f"{names} are interleaved: {outer} groups of {inner} lie as {inner} groups of {outer}",
                (*before, outer, inner, *after),
                order,
            )
            if axis > 0 and shape[axis - 1] > 1:  # (row, head, feature) against (head, row, feature)
                swapped = (*range(axis - 1), axis, axis - 1, *range(axis + 1, len(shape) + 1))
                words = f"transposed: {plural(evidence.names[axis - 1])} and {outer} groups of {inner} {names}"
                yield _Move(Kind.TRANSPOSED, words, (*before, outer, inner, *after), swapped)
                back = (*before[:-1], outer, before[-1], inner, *after)
                yield _Move(Kind.TRANSPOSED, words, back, swapped)


def shifted(evidence: Evidence) -> Diagnosis | None:
    """Moved by some slices along an axis, or by some elements in memory, around the end or not."""
    found = _shifted(evidence)
    if found is None and sum(size > 1 for size in evidence.shape) > 1 and evidence.whole:
        found = _shifted(evidence.flattened())
    return found


def _shifted(evidence: Evidence) -> Diagnosis | None:
    for axis, size in enumerate(evidence.shape):
        if size < 3 or not evidence.whole:
            continue
        for step in _steps(evidence, axis):
            taken = (np.arange(size) - step) % size
            predicted = evidence.reference.take(taken, axis)
            inner = np.arange(max(step, 0), size + min(step, 0)) if abs(step) <= _BORDER * size else np.arange(size)
            direction = predicted - evidence.reference
            border = np.isin(np.arange(size), inner, invert=True)
            np.moveaxis(direction, axis, 0)[border] = np.nan
            if not promising(evidence, direction.reshape(-1)[evidence.sample]):
                continue
            every = [inner if other == axis else np.arange(n) for other, n in enumerate(evidence.shape)]
            found = fit_blend(evidence.part(every), predicted.take(inner, axis))
            if found is not None:
                name, side = evidence.names[axis], "before" if step > 0 else "after"
                words = f"shifted by {abs(step)} {name if abs(step) == 1 else plural(name)} (axis {axis}): "
                words += f"each holds what belongs {abs(step)} {side} it"
                if _wraps(evidence, predicted, axis, inner, found):
                    words += ", around the end"
                kind = Kind.SHIFTED
                if 2 * abs(step) == size:
                    words, kind = (
                        f"the two halves of the {plural(name)} (axis {axis}) have changed places",
                        Kind.PERMUTED,
                    )
                return Diagnosis(kind, words + blended(found.coefficient), found.residual)
    return None


def _wraps(evidence: Evidence, predicted: Floats, axis: int, inner: npt.NDArray[np.intp], found: Fit) -> bool:
    """Whether what was moved out at one end came in at the other."""
    left = evidence.error - found.coefficient * (predicted - evidence.reference) / evidence.allowance
    border = np.delete(left, inner, axis)
    return border.size == 0 or float(np.sqrt(np.mean(border**2))) < 3.0 * max(found.residual, 1e-6)


def _steps(evidence: Evidence, axis: int) -> list[int]:
    """The shifts that the cross-correlation of error and reference offers, by Fourier transform."""
    size = evidence.shape[axis]
    error = np.moveaxis(evidence.error, axis, -1).reshape(-1, size)
    rows = np.argsort(-np.square(error).sum(axis=1))[:_LINES]
    values = np.moveaxis(np.where(evidence.finite, evidence.reference, 0.0) / evidence.allowance, axis, -1)
    values = values.reshape(-1, size)[rows]
    values = values - values.mean(axis=1, keepdims=True)
    spectrum = np.fft.rfft(error[rows], axis=1) * np.conj(np.fft.rfft(values, axis=1))
    matching = np.fft.irfft(spectrum.sum(axis=0), size)
    ranked = [int(step) if step <= size // 2 else int(step) - size for step in np.argsort(-matching)[:4]]
    return list(dict.fromkeys([step for step in [*ranked, 1, -1] if step]))


def reversed_axis(evidence: Evidence) -> Diagnosis | None:
    """Read backwards along an axis."""
    for axis, size in enumerate(evidence.shape):
        if size < 2 or not evidence.whole:
            continue
        predicted = np.flip(evidence.reference, axis)
        if promising(evidence, (predicted - evidence.reference).reshape(-1)[evidence.sample]):
            found = fit_blend(evidence, predicted)
            if found is not None:
                words = f"the {plural(evidence.names[axis])} (axis {axis}) are in reverse order"
                return Diagnosis(Kind.PERMUTED, words + blended(found.coefficient), found.residual)
    return None


def broadcast(evidence: Evidence) -> Diagnosis | None:
    """Every slice of an axis is a copy of the first, or of the last."""
    for axis, size in enumerate(evidence.shape):
        for index in (0, size - 1) if size > 1 else ():
            one = evidence.reference.take([index], axis)
            predicted = np.broadcast_to(one, evidence.shape).copy()
            if promising(evidence, (predicted - evidence.reference).reshape(-1)[evidence.sample]):
                found = fit_blend(evidence, predicted)
                if found is not None:
                    name = evidence.names[axis]
                    words = f"every {name} (axis {axis}) is a copy of {name} {int(evidence.kept[axis][index])}"
                    return Diagnosis(Kind.BROADCAST, words + blended(found.coefficient), found.residual)
    return None
