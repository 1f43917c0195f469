"""Slices that hold what belongs in others: permutations, wrong indices, doubled slices."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tapml_tui.compare.diagnosis.evidence import Evidence, Floats
from tapml_tui.compare.diagnosis.fitting import fit_blend
from tapml_tui.compare.diagnosis.result import Diagnosis, Kind
from tapml_tui.compare.diagnosis.words import blended, listed, plural

_MOST = 512
_COLUMNS = 1024
_FEWEST = 6
_BETTER = 0.5
_SURE = 30.0


def taken_from_others(evidence: Evidence) -> Diagnosis | None:
    """Each slice of an axis, or some of them, is a copy of another one."""
    best: Diagnosis | None = None
    for axis, size in enumerate(evidence.shape):
        if not 3 <= size <= _MOST or evidence.reference.size // size < _FEWEST:
            continue
        source, sure = _matched(evidence, axis)
        moved = np.flatnonzero(source != np.arange(size))
        if not moved.size:
            continue
        found = fit_blend(evidence, evidence.reference.take(source, axis))
        if found is not None and (best is None or found.residual < best.residual):
            kind, words = _described(evidence, axis, source, sure)
            best = Diagnosis(kind, words + blended(found.coefficient), found.residual, 1.0 + moved.size)
    return best


def _described(
    evidence: Evidence, axis: int, source: npt.NDArray[np.intp], sure: npt.NDArray[np.bool_]
) -> tuple[Kind, str]:
    moved = np.flatnonzero(source != np.arange(source.size))
    name, kept = evidence.names[axis], evidence.kept[axis]
    names = f"{plural(name)} (axis {axis})"
    first = f"{name} {int(kept[moved[0]])} holds what belongs in {name} {int(kept[source[moved[0]]])}"
    steps = (source - np.arange(source.size))[moved] % source.size
    steps = np.where(2 * steps > source.size, steps - source.size, steps)
    together = moved.size >= 3 and moved[-1] - moved[0] == moved.size - 1
    if together and bool((steps == steps[0]).all()):
        side = "before" if steps[0] < 0 else "after"
        step = abs(int(steps[0]))
        return Kind.SHIFTED, f"shifted: {moved.size} of {source.size} {names} hold what belongs {step} {side} them"
    known = source[sure]  # noise alone gives two slices the same source
    if np.unique(known).size < known.size or moved.size == 1:
        if moved.size == 1:
            return Kind.WRONG_INDEX, f"{first} (axis {axis}), as by a wrong index; all others agree"
        if np.unique(source[moved]).size == 1 and moved.size >= source.size - 1:
            return Kind.BROADCAST, f"every {name} (axis {axis}) is a copy of {name} {int(kept[source[0]])}"
        words = f"{moved.size} of {source.size} {names} hold what belongs in others, as by a wrong index: {first}"
        return Kind.WRONG_INDEX, words
    if moved.size == 2:
        return Kind.PERMUTED, f"{plural(name)} {listed(kept[moved]).replace(', ', ' and ')} (axis {axis}) are exchanged"
    return Kind.PERMUTED, f"{moved.size} of {source.size} {names} are in another order: {first}"


def _matched(evidence: Evidence, axis: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.bool_]]:
    """For every slice the one that it seems to be taken from, itself where nothing is better.

    For slices i and j the error of i is compared with `weight * (reference j - reference i)`; all sums
    over elements are matrix products. The weight is the same for all.

    Returns:
        The sources, and for which slices no other one comes near.
    """
    error, values, allowance = (_as_rows(evidence, array, axis) for array in (
        evidence.error, np.where(evidence.finite, evidence.reference, 0.0), evidence.allowance,
    ))  # fmt: skip
    inverse = 1.0 / allowance
    self_cross = (error * inverse * values).sum(axis=1, keepdims=True)
    cross = (error * inverse) @ values.T - self_cross
    weight = np.square(inverse)
    own = (weight * values * values).sum(axis=1, keepdims=True)
    energy = weight @ np.square(values).T - 2.0 * (weight * values) @ values.T + own
    total = np.square(error).sum(axis=1)
    usable = energy > 1e-9 * own
    share = np.where(usable & (cross > 0.0), cross**2 / np.where(usable, energy, 1.0), 0.0)
    source = np.argmax(share, axis=1)
    rows = np.arange(source.size)
    explained = share[rows, source]
    loud = explained >= 0.25 * explained.max()
    strength = float(np.median((cross / np.where(usable, energy, 1.0))[rows, source][loud]))
    # With the strength known, the best source is the one that leaves least over; staying saves nothing.
    saved = np.where(usable, 2.0 * strength * cross - np.square(strength) * energy, 0.0)
    saved[rows, rows] = 0.0
    source = np.argmax(saved, axis=1)
    gained = saved[rows, source]
    # A slice that is only scaled also goes against itself: what came instead has to be seen.
    scaled = np.square(self_cross[:, 0]) / np.where(own[:, 0] > 0.0, own[:, 0], 1.0)
    noise = float(np.median(total - gained)) / error.shape[1]
    seen = (gained > _BETTER * total) & (gained > scaled + _SURE * noise)
    faint = (gained > _BETTER * total) & ~seen
    if np.count_nonzero(seen) < 0.3 * np.count_nonzero(seen | faint):
        return rows, rows < 0
    source = np.where(seen | faint, source, rows)
    second = np.partition(saved, -2, axis=1)[:, -2]
    rival = np.where(source == rows, np.maximum(gained, second), second)
    return source, saved[rows, source] - rival > _SURE * noise


def _as_rows(evidence: Evidence, array: Floats, axis: int) -> Floats:
    """(slices of the axis, some of their elements): those where the error is largest, and some of all."""
    rows = np.moveaxis(array, axis, 0).reshape(array.shape[axis], -1)
    if rows.shape[1] <= _COLUMNS:
        return np.asarray(rows)
    error = np.moveaxis(evidence.error, axis, 0).reshape(rows.shape)
    loudest = np.argsort(-np.square(error).sum(axis=0))[: _COLUMNS // 2]
    some = np.random.default_rng(0).integers(0, rows.shape[1], _COLUMNS // 2)
    return np.asarray(rows[:, np.unique(np.concatenate([loudest, some]))])
