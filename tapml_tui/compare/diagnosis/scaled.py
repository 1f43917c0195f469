"""Slices that are all wrong in the same way: scaled (zero and a flipped sign included) or moved by one amount.

Weak faults hide in the noise of small elements. Where the error in wrong slices is a multiple of the
value, each slice can be asked whether that multiple explains it or none does; that sees far smaller
effects than the energy of the error (`regions`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations

import numpy as np
import numpy.typing as npt

from tapml_tui.compare.diagnosis.evidence import Evidence, Floats
from tapml_tui.compare.diagnosis.fitting import Fit, fit
from tapml_tui.compare.diagnosis.profiles import Form, Slices, several
from tapml_tui.compare.diagnosis.regions import Region, barely, described, lone
from tapml_tui.compare.diagnosis.result import Diagnosis

_MISSED = 0.02
_PERIODS = 64
_LARGEST_SET = 16
_ENOUGH = 64
_SIGMAS = 6.0
_ALIKE = 0.2
_OLD = 2
_PART = 0.75


def scaled_slices(evidence: Evidence) -> Diagnosis | None:
    """Some slices are a multiple of the reference, off by an amount, or left from before, and all others agree."""
    best: Diagnosis | None = None
    old = _likely(evidence)
    for pattern in (evidence.reference, np.ones_like(evidence.reference), *old):
        for region in _regions(evidence, pattern):
            found = _fit_in(evidence, pattern, region)
            if found is None or barely(evidence, region) or lone(evidence, region):
                continue
            forms = region.found.values()
            freedom = 1.0 + sum(len(s.chosen) if s.form is Form.SET else s.form.value / 2 for s in forms)
            if best is None or _score(evidence, found.residual, freedom) < _score(
                evidence, best.residual, best.freedom
            ):
                best = replace(described(evidence, region), residual=found.residual, freedom=freedom)
    return best


def _likely(evidence: Evidence) -> list[Floats]:
    """Towards which earlier results what fails has moved: those that share most with the error."""
    moves = [old - evidence.reference for old in evidence.stale]
    error = np.where(evidence.bad, evidence.error, 0.0)

    def alike(move: Floats) -> float:
        scaled = np.where(evidence.bad & np.isfinite(move), move, 0.0) / evidence.allowance
        energy = float(np.square(scaled).sum())
        return -float((error * scaled).sum()) / np.sqrt(energy) if energy > 0.0 else 0.0

    return sorted(moves, key=alike)[:_OLD]


def _score(evidence: Evidence, residual: float, freedom: float) -> float:
    size = evidence.reference.size
    return 2.0 * size * float(np.log(max(residual, 0.03))) + freedom * float(np.log(size))


def _fit_in(evidence: Evidence, pattern: Floats, region: Region) -> Fit | None:
    direction = np.zeros_like(pattern)
    grid = np.ix_(*region.chosen)
    direction[grid] = pattern[grid]
    found = fit(evidence, direction)
    return found if found is not None and _sound_outside(evidence, pattern, region, found.coefficient) else None


def _sound_outside(evidence: Evidence, pattern: Floats, region: Region, coefficient: float) -> bool:
    """Whether no slice outside follows the pattern about as much: then each has a factor of its own."""
    scaled = np.where(evidence.finite, pattern, 0.0) / evidence.allowance
    scaled[np.ix_(*region.chosen)] = 0.0
    along, energy = evidence.error * scaled, np.square(scaled)
    for axis, size in enumerate(along.shape):
        if size < 2 or along.size // size < _ENOUGH:
            continue
        others = tuple(other for other in range(along.ndim) if other != axis)
        total, spread = along.sum(axis=others), np.sqrt(np.square(along).sum(axis=others))
        alike = np.abs(total) > _ALIKE * abs(coefficient) * energy.sum(axis=others)
        if bool((alike & (np.abs(total) > _SIGMAS * spread)).any()):
            return False
    return True


def _regions(evidence: Evidence, pattern: Floats) -> Iterator[Region]:
    """Where taking away one multiple of `pattern` helps most: along one axis, then at corners of two."""
    scaled = np.where(evidence.finite, pattern, 0.0) / evidence.allowance
    cross, energy = evidence.error * scaled, np.square(scaled)
    bad = evidence.bad
    total = float(energy[bad].sum())
    if total <= 0.0:
        return
    coefficient = float(cross[bad].sum()) / total
    # How much the squared error falls by taking away what the pattern explains, element by element.
    gain = 2.0 * coefficient * cross - np.square(coefficient) * energy
    shape, everything = evidence.shape, tuple(np.arange(size) for size in evidence.shape)
    for axis, size in enumerate(shape):
        if size < 2:
            continue
        others = tuple(other for other in range(len(shape)) if other != axis)
        for slices in _forms(gain.sum(axis=others)):
            if slices.chosen.size > _PART * size:
                continue  # that few slices are right says little of the others
            yield Region({axis: slices}, (*everything[:axis], slices.chosen, *everything[axis + 1 :]))
    yield from _cells(gain)
    for first, second in combinations([axis for axis, size in enumerate(shape) if size >= 2], 2):
        others = tuple(axis for axis in range(len(shape)) if axis not in (first, second))
        field = np.flip(gain.sum(axis=others)).cumsum(axis=0).cumsum(axis=1)
        rows, columns = (int(i) + 1 for i in np.unravel_index(int(np.argmax(field)), field.shape))
        if rows < shape[first] and columns < shape[second]:
            chosen = list(everything)
            chosen[first], chosen[second] = everything[first][-rows:], everything[second][-columns:]
            corner = {axis: Slices(Form.TAIL, chosen[axis]) for axis in (first, second)}
            yield Region(corner, tuple(chosen))


def _cells(gain: Floats) -> Iterator[Region]:
    """One index of several axes: one row of one matrix, one head of one sentence."""
    axes = [axis for axis, size in enumerate(gain.shape) if size >= 2]
    most = float(np.maximum(gain, 0.0).sum())
    for count in range(2, len(axes)):
        for those in combinations(axes, count):
            others = tuple(axis for axis in range(gain.ndim) if axis not in those)
            field = gain.sum(axis=others, keepdims=True)
            if float(field.max()) < most / 2.0:
                continue
            place = np.unravel_index(int(np.argmax(field)), field.shape)
            chosen = [np.arange(size) for size in gain.shape]
            for axis in those:
                chosen[axis] = np.array([place[axis]])
            yield Region({axis: Slices(Form.ONE, chosen[axis]) for axis in those}, tuple(chosen))


def _forms(gain: Floats) -> Iterator[Slices]:
    """Sets of slices that hold nearly all that can be gained, the simplest first."""
    size, most = gain.size, float(np.maximum(gain, 0.0).sum())
    if most <= 0.0:
        return

    def enough(chosen: npt.NDArray[np.intp]) -> bool:
        return 0 < chosen.size < size and float(gain[chosen].sum()) >= (1.0 - _MISSED) * most

    one = np.array([int(np.argmax(gain))])
    suffix = np.cumsum(gain[::-1])[::-1]
    tail = np.arange(int(np.argmax(suffix)), size)
    head = np.arange(int(np.argmax(np.cumsum(gain))) + 1)
    for form, chosen in ((Form.ONE, one), (Form.TAIL, tail), (Form.HEAD, head)):
        if enough(chosen) and (form is Form.ONE or chosen.size > 1):
            yield Slices(form, chosen)
    index = np.arange(size)
    for period in range(2, min(_PERIODS, size // 3) + 1):
        phases = np.flatnonzero(np.bincount(index % period, gain) > 0.0)
        chosen = np.flatnonzero(np.isin(index % period, phases))
        if phases.size <= max(1, period // 2) and enough(chosen):
            yield Slices(Form.PERIODIC, chosen, period)
            break
    helped = np.flatnonzero(gain > _MISSED / size * most)
    if helped.size < 2:
        return
    between = np.arange(helped[0], helped[-1] + 1)
    if enough(between):
        yield Slices(Form.RANGE, between)
    if helped.size <= min(_LARGEST_SET, size // 3) and enough(helped):
        yield several(helped, size)
