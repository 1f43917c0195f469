"""Which slices of one axis are wrong: the shape of a profile of error energies.

Noise and a fault are told apart as two groups of slices, each with an error energy of its own: the cut
is where the likelihood of two Gaussians of different variance is largest.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

import numpy as np
import numpy.typing as npt

from tapml_tui.compare.diagnosis.evidence import Floats

CONTRAST = 12.0
"""How much more error energy wrong slices have than the others. A fault of 8 times the benign noise has
64 times, less where values are small; rows of honest noise differ by less than this."""

_FILLED = 0.6
_PERIODS = 64
_SHORT = 4
_LISTED = 16
_SILENT = 1e-6
_LIKELY = 3.0
_SPARED = 64
_QUIETER = 400.0
_FEW = 8
_EDGE = 2
_STEP = 4.0


class Form(Enum):
    """How the wrong slices lie."""

    ONE = 1
    TAIL = 2
    HEAD = 3
    PERIODIC = 4
    RANGE = 5
    SET = 6


@dataclass(frozen=True, slots=True)
class Slices:
    """Wrong slices of one axis.

    Attributes:
        form: How they lie.
        chosen: Their indices.
        period: Distance of neighbours, for `Form.PERIODIC`.
    """

    form: Form
    chosen: npt.NDArray[np.intp]
    period: int = 0


def several(chosen: npt.NDArray[np.intp], size: int) -> Slices:
    """Slices without a simpler form; evenly spaced ones are every k-th."""
    steps = np.diff(chosen)
    if chosen.size >= 2 and bool((steps == steps[0]).all()) and steps[0] > 1:
        period = int(steps[0])
        if (chosen.size > 2 or 2 * period == size) and chosen[0] < period and chosen[-1] + period >= size:
            return Slices(Form.PERIODIC, chosen, period)
    return Slices(Form.SET, chosen)


def wrong_slices(
    energy: Floats, bad: npt.NDArray[np.intp], elements: int, visible: npt.NDArray[np.bool_] | None = None
) -> Slices | None:
    """The simplest form of wrong slices that leaves only sound ones.

    Args:
        energy: Mean squared error of each slice, in squared allowances.
        bad: How many elements of each slice fail.
        elements: How many elements a slice has.
        visible: Slices in which a fault could be seen; the others (all zero, say) go with their neighbours.

    Returns:
        None if the slices do not fall into two groups.
    """
    size = energy.size
    index = np.arange(size) if visible is None else np.flatnonzero(visible)
    if index.size < 2 or not bad.any():
        return None
    level, bad = np.maximum(energy[index], _SILENT), bad[index]
    for found in _forms(level, index, elements, size):
        # What is listed has to be seen to fail, slice by slice.
        scattered = bad.sum() < {Form.SET: 2, Form.PERIODIC: 1}.get(found.form, 0) * found.chosen.size
        if scattered or (elements >= _FEW and not _steps(found, level)):
            continue
        if _accepted(found.chosen, level, bad, elements):
            return _completed(found, index, size)
    return None


def _steps(found: Slices, level: Floats) -> bool:
    """Whether a tail or head begins with a step: an error that grows along an axis is another matter."""
    if found.form not in (Form.TAIL, Form.HEAD) or min(found.chosen.size, level.size - found.chosen.size) < _EDGE:
        return True
    cut = int(found.chosen[0]) if found.form is Form.TAIL else int(found.chosen[-1]) + 1
    before, after = level[cut - _EDGE : cut].mean(), level[cut : cut + _EDGE].mean()
    inside, outside = (after, before) if found.form is Form.TAIL else (before, after)
    return bool(inside > _STEP * outside)


def _completed(found: Slices, index: npt.NDArray[np.intp], size: int) -> Slices:
    """In terms of all slices, with those between that cannot be seen."""
    chosen = index[found.chosen]
    match found.form:
        case Form.TAIL:
            chosen = np.arange(chosen[0], size)
        case Form.HEAD:
            chosen = np.arange(chosen[-1] + 1)
        case Form.RANGE:
            chosen = np.arange(chosen[0], chosen[-1] + 1)
        case Form.PERIODIC:
            chosen = np.flatnonzero(np.isin(np.arange(size) % found.period, np.unique(chosen % found.period)))
        case Form.SET:
            return several(chosen, size)
    return Slices(found.form, chosen, found.period)


def _forms(level: Floats, index: npt.NDArray[np.intp], elements: int, size: int) -> Iterator[Slices]:
    """From the simplest to the richest; slices are counted among those that can be seen."""
    chosen = _loudest(level)
    if chosen.size == 1:
        yield Slices(Form.ONE, chosen)
    yield from _cuts(level, elements)
    yield from _periods(level, index, size)
    first, last = int(chosen.min()), int(chosen.max())
    if last - first + 1 <= chosen.size / _FILLED:
        yield Slices(Form.RANGE, np.arange(first, last + 1))
    if chosen.size <= min(_LISTED, level.size // 3):
        yield Slices(Form.SET, chosen)


def _accepted(chosen: npt.NDArray[np.intp], level: Floats, bad: npt.NDArray[np.intp], elements: int) -> bool:
    wrong = np.zeros(level.size, bool)
    wrong[chosen] = True
    spared = level.size - chosen.size
    if bad[~wrong].any() or spared == 0 or (spared < level.size / 4 and spared * elements < _SPARED):
        return False
    inside, outside = float(level[wrong].mean()), float(level[~wrong].mean())
    loud = max(4.0 * outside, float(np.median(level[bad > 0])) / _QUIETER)
    return bool(
        inside > CONTRAST * outside
        and np.count_nonzero(level[wrong] > loud) >= _FILLED * chosen.size
        and np.count_nonzero(level[~wrong] > inside / 4.0) <= 0.05 * np.count_nonzero(~wrong)
    )


def _likelihood(count: Floats, total: Floats, level: Floats) -> Floats:
    """Log-likelihood, an element per slice, of a group of `count` slices that has the energy `total`."""
    others, rest = level.size - count, float(level.sum()) - total
    inside, outside = np.maximum(total / count, _SILENT), np.maximum(rest / others, _SILENT)
    return np.asarray(-0.5 * (count * np.log(inside) + others * np.log(outside)))


def _loudest(level: Floats) -> npt.NDArray[np.intp]:
    """The group of high energy, wherever its members are."""
    order = np.argsort(-level)
    gain = _likelihood(np.arange(1.0, level.size), np.cumsum(level[order])[:-1], level)
    return np.sort(order[: int(np.argmax(gain)) + 1])


def _cuts(level: Floats, elements: int) -> Iterator[Slices]:
    """The best tail and the best head; among cuts equally likely the roundest, as tiles begin at round indices."""
    at = np.arange(1, level.size)
    before = np.cumsum(level)[:-1]
    tail = _likelihood(level.size - at.astype(float), level.sum() - before, level) * elements
    head = _likelihood(at.astype(float), before, level) * elements
    yield Slices(Form.TAIL, np.arange(_roundest(at, tail), level.size))
    yield Slices(Form.HEAD, np.arange(_roundest(at, head)))


def _roundest(at: npt.NDArray[np.intp], gain: Floats) -> int:
    likely = at[gain >= gain.max() - _LIKELY]
    return int(max(likely, key=lambda cut: int(cut) & -int(cut)))


def _periods(level: Floats, index: npt.NDArray[np.intp], size: int) -> Iterator[Slices]:
    """Every k-th slice: the best phases of the best period."""
    best: tuple[float, Slices] | None = None
    for period in range(2, min(_PERIODS, max(size // 3, min(size // 2, _SHORT))) + 1):
        phase = index % period
        sums, counts = np.bincount(phase, level, period), np.bincount(phase, minlength=period)
        order = np.argsort(-sums / np.maximum(counts, 1))[: max(1, period // 2)]
        order = order[counts[order] > 0]
        taken = np.cumsum(counts[order]).astype(float)
        order, taken = order[taken < level.size], taken[taken < level.size]
        if not order.size:
            continue
        gain = _likelihood(taken, np.cumsum(sums[order]), level)
        cut = int(np.argmax(gain))
        # A multiple of the true period fits as well: the shortest wins.
        if best is None or gain[cut] > best[0] + 1e-6 * abs(best[0]):
            chosen = np.flatnonzero(np.isin(phase, order[: cut + 1]))
            best = float(gain[cut]), Slices(Form.PERIODIC, chosen, period)
    if best is not None and best[1].chosen.size > 1:
        yield best[1]
