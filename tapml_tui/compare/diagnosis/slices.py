"""One number per row or column is wrong: a factor, or an addend."""

from __future__ import annotations

import numpy as np

from tapml_tui.compare.diagnosis.coarse import normalises
from tapml_tui.compare.diagnosis.evidence import Evidence, Floats
from tapml_tui.compare.diagnosis.fitting import fit
from tapml_tui.compare.diagnosis.result import Diagnosis, Kind
from tapml_tui.compare.diagnosis.words import multiple, number

_FEWEST = 4
_COARSE = 0.1
_CLEAR = 6.0
_ALIKE = 0.1
_COMMON = 0.2
"""A slice has to have this many times more elements than it is given numbers."""


def slice_scale(evidence: Evidence) -> Diagnosis | None:
    """Each slice of an axis has a factor of its own: one normalisation is wrong."""
    best: Diagnosis | None = None
    for axes, name in _grains(evidence):
        explained = _per_slice(evidence, evidence.reference, axes)
        found = fit(evidence, explained * evidence.reference)
        if found is None or abs(found.coefficient - 1.0) > 0.1 or (best and best.residual <= found.residual):
            continue
        if not _common(evidence, evidence.reference, explained, axes):
            continue
        if np.ptp(explained) < _ALIKE * np.abs(explained).max():
            continue  # then it is no factor of its own
        factors = 1.0 + explained.reshape(-1)
        low, high = (multiple(float(edge)) for edge in np.quantile(factors, (0.0, 1.0)))
        words = (
            f"each {name} is the reference times a factor of its own, from {low} to {high}: one normalisation is wrong"
        )
        kind = Kind.SLICE_SCALE
        if _scattered(evidence, explained):
            off = number(float(np.abs(explained).max()))
            words = (
                f"each {name} has a factor of its own, off by up to {off}: the sum that it is divided by is too coarse"
            )
            kind = Kind.LOW_PRECISION
        best = Diagnosis(kind, words, found.residual, float(explained.size))
    return best


def _scattered(evidence: Evidence, factors: Floats) -> bool:
    """Whether an operator that normalises rows errs in both directions, and little: rounding, no formula, does that."""
    if not normalises(evidence):
        return False
    loud = factors[np.abs(factors) > 0.25 * np.abs(factors).max()]
    share = float(np.mean(loud > 0.0))
    both = 0.15 < share < 0.85 or bool(evidence.inputs)  # with inputs, the formulas were tried
    return bool(np.abs(factors).max() < _COARSE and both)


def slice_offset(evidence: Evidence) -> Diagnosis | None:
    """Each slice of an axis has an addend of its own: a bias is missing, or a mean is not subtracted."""
    best: Diagnosis | None = None
    for axes, name in _grains(evidence):
        addends = _per_slice(evidence, np.ones_like(evidence.reference), axes)
        found = fit(evidence, np.broadcast_to(addends, evidence.shape).copy())
        if found is None or abs(found.coefficient - 1.0) > 0.1 or (best and best.residual <= found.residual):
            continue
        if not _common(evidence, np.ones_like(evidence.reference), addends, axes):
            continue
        low, high = (number(float(edge)) for edge in np.quantile(addends, (0.0, 1.0)))
        feature = axes == tuple(range(len(evidence.shape) - 1)) or name == "channel"
        if feature:
            words, kind = (
                f"each {name} is off by an amount of its own, from {low} to {high}: as if the bias were missing",
                Kind.BIAS,
            )
        else:
            words, kind = (
                f"each {name} is off by an amount of its own, from {low} to {high}: as if a mean were not subtracted",
                Kind.SLICE_OFFSET,
            )
        best = Diagnosis(kind, words, found.residual, float(addends.size))
    return best


def _grains(evidence: Evidence) -> list[tuple[tuple[int, ...], str]]:
    """(axes that share one number, name of what has a number of its own), coarse before fine."""
    ndim, shape = len(evidence.shape), evidence.shape
    grains = []
    for axis in range(ndim):
        grains.append((tuple(other for other in range(ndim) if other != axis), evidence.names[axis]))
    if ndim > 2:
        grains.append(((ndim - 1,), evidence.names[ndim - 2]))
        grains.append(((ndim - 2, ndim - 1), evidence.names[ndim - 3] + " block"))
    enough = []
    for axes, name in grains:
        shared = int(np.prod([shape[axis] for axis in axes]))
        if shared >= _FEWEST and shared < evidence.reference.size:
            enough.append((axes, name))
    return enough


def _per_slice(evidence: Evidence, pattern: Floats, axes: tuple[int, ...]) -> Floats:
    """The multiple of `pattern` that explains most of the error, for each slice; dimensions are kept."""
    scaled = np.where(evidence.finite, pattern, 0.0) / evidence.allowance
    along = (scaled * evidence.error).sum(axis=axes, keepdims=True)
    energy = np.square(scaled).sum(axis=axes, keepdims=True)
    return np.asarray(np.divide(along, energy, out=np.zeros_like(along), where=energy > 0.0))


def _common(evidence: Evidence, pattern: Floats, numbers: Floats, axes: tuple[int, ...]) -> bool:
    """Whether many slices are off clearly: a few among sound ones are slices that are wrong, not a number for each."""
    scaled = np.where(evidence.finite, pattern, 0.0) / evidence.allowance
    left = evidence.error - numbers * scaled
    energy = np.square(scaled).sum(axis=axes, keepdims=True)
    deviation = np.sqrt(float(np.mean(np.square(left))) / np.maximum(energy, np.finfo(np.float64).tiny))
    known = energy > 0.0
    clear = (np.abs(numbers) > _CLEAR * deviation) & (np.abs(numbers) > 0.02 * np.abs(numbers).max())
    # Where noise hides what a slice is off by, it says nothing.
    unsure = deviation * _CLEAR > 0.5 * np.median(np.abs(numbers[clear & known])) if (clear & known).any() else ~known
    telling = int(np.count_nonzero(known & ~(unsure & ~clear)))
    return bool(np.count_nonzero(clear & known) >= _COMMON * max(telling, 1))
