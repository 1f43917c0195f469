"""Values that are held at a ceiling or a floor."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tapml_tui.compare.diagnosis.evidence import Evidence, Floats
from tapml_tui.compare.diagnosis.fitting import fit_blend
from tapml_tui.compare.diagnosis.result import Diagnosis, Kind
from tapml_tui.compare.diagnosis.words import blended, number

_CEILINGS = {
    65504.0: "the largest float16",
    448.0: "the largest float8_e4m3fn",
    57344.0: "the largest float8_e5m2",
    240.0: "the largest float8_e4m3fnuz",
    127.0: "the largest int8",
    255.0: "the largest uint8",
    32767.0: "the largest int16",
    6.0: "as ReLU6 does",
}
_FEWEST = 3
_FEWEST_HELD = 2
_ROUNDS = 2
_MORE_THAN_ALL = 1.05
_SAMPLE = 1 << 15
_MOST = 0.9


def saturated(evidence: Evidence) -> Diagnosis | None:
    """Values beyond a limit, above, below or on both sides, are held there."""
    best: Diagnosis | None = None
    for low, high in _limits(evidence):
        low, high = _refined(evidence, low, high)
        predicted = np.clip(evidence.reference, low, high)
        held = int(np.count_nonzero(predicted != evidence.reference))
        known = any(abs(high / top - 1.0) < 1e-3 for top in _CEILINGS) if np.isfinite(high) else False
        if not (1 if known else _FEWEST_HELD) <= held <= _MOST * predicted.size:
            continue
        found = fit_blend(evidence, predicted)
        if found is not None and (best is None or found.residual < best.residual):
            words = f"{_words(low, high)}: {held} of {predicted.size}{blended(found.coefficient)}"
            best = Diagnosis(Kind.SATURATED, words, found.residual, 2.0)
    return best


def _refined(evidence: Evidence, low: float, high: float) -> tuple[float, float]:
    """The same limits to the noise of an average: what is beyond them, with its weight, lies on them."""
    reference, difference = evidence.reference, evidence.actual - evidence.reference
    for _ in range(_ROUNDS):
        beyond = np.where(evidence.finite, np.clip(reference, low, high) - reference, 0.0)
        weight = np.square(1.0 / evidence.allowance)
        energy = float((weight * beyond * beyond).sum())
        strength = float((weight * beyond * difference)[evidence.finite].sum()) / energy if energy > 0.0 else 0.0
        if not 0.0 < strength < _MORE_THAN_ALL:
            break
        above, below = (evidence.finite & (beyond < 0.0)), (evidence.finite & (beyond > 0.0))
        target = reference + difference / strength
        tops, bottoms = target[above], target[below]
        if low == -high:
            if tops.size + bottoms.size:
                high = float(np.average(np.r_[tops, -bottoms], weights=np.r_[weight[above], weight[below]]))
                low = -high
        else:
            high = float(np.average(tops, weights=weight[above])) if tops.size else high
            low = float(np.average(bottoms, weights=weight[below])) if bottoms.size else low
    return low, high


def _words(low: float, high: float) -> str:
    if low == -high:
        words = f"values are clamped at +-{number(high)}"
    elif np.isfinite(low) and np.isfinite(high):
        words = f"values are clamped at {number(low)} and {number(high)}"
    elif np.isfinite(high):
        words = f"values above {number(high)} are clamped there"
    else:
        words = (
            "values below 0 are zero, as a ReLU does"
            if abs(low) < 1e-6
            else f"values below {number(low)} are clamped there"
        )
    known = (name for top, name in _CEILINGS.items() if np.isfinite(high) and abs(high / top - 1.0) < 1e-3)
    return words + next((f" ({name})" for name in known), "")


def _limits(evidence: Evidence) -> Iterator[tuple[float, float]]:
    """(floor, ceiling) that explain most: for both sides alike, for one side, for each its own."""
    yield from _plateaus(evidence)
    value, error = evidence.reference, evidence.actual - evidence.reference
    pulled = evidence.bad & (value * error < 0.0)
    if np.count_nonzero(evidence.bad) < _FEWEST:
        return
    both = _limit(evidence, np.abs(value), np.sign(value) * error) if np.count_nonzero(pulled) >= _FEWEST else None
    if both is not None and both > 0.0:
        yield -both, both
    upper = _limit(evidence, value, error) if np.count_nonzero(evidence.bad & (error < 0.0)) >= _FEWEST else None
    lower = _limit(evidence, -value, -error) if np.count_nonzero(evidence.bad & (error > 0.0)) >= _FEWEST else None
    if upper is not None:
        yield -np.inf, upper
    if lower is not None:
        yield -lower, np.inf
    if upper is not None and lower is not None and -lower < upper:
        yield -lower, upper


def _plateaus(evidence: Evidence) -> Iterator[tuple[float, float]]:
    """Ceilings that are seen: what is wrong has one value, or one for each sign."""
    wrong = evidence.actual[evidence.bad]
    above, below = wrong[wrong > evidence.reference[evidence.bad]], wrong[wrong < evidence.reference[evidence.bad]]
    if (above.size or below.size) and all(side.size == 0 or np.ptp(side) == 0.0 for side in (above, below)):
        low = float(above[0]) if above.size else -np.inf
        high = float(below[0]) if below.size else np.inf
        if low < high:
            yield low, high


def _limit(evidence: Evidence, value: Floats, error: Floats) -> float | None:
    """The ceiling c for which `weight * (c - value)` above it explains most of the error.

    With the elements sorted by value, all sums for all c are cumulative ones. The best is then refined:
    above it, a line through the errors meets zero at the ceiling.
    """
    finite = evidence.finite.reshape(-1)
    v, d, w = (array.reshape(-1)[finite] for array in (value, error, 1.0 / np.square(evidence.allowance)))
    if v.size > _SAMPLE:
        failing = np.abs(d) * np.sqrt(w) > 1.0
        failing[:: v.size // _SAMPLE] = True
        some = np.flatnonzero(failing)[: 2 * _SAMPLE]
        v, d, w = v[some], d[some], w[some]
    order = np.argsort(-v)
    v, d, w = v[order], d[order], w[order]
    sums = [np.cumsum(term) for term in (w * d, w * d * v, w, w * v, w * v * v)]
    cross = v * sums[0] - sums[1]
    energy = v * v * sums[2] - 2.0 * v * sums[3] + sums[4]
    gain = np.where((cross > 0.0) & (energy > 0.0), cross**2 / np.where(energy > 0.0, energy, 1.0), 0.0)
    best = int(np.argmax(gain))
    if gain[best] <= 0.0 or best < _FEWEST:
        return None
    v, d, w = v[:best], d[:best], w[:best]
    middle, mean = float(np.average(v, weights=w)), float(np.average(d, weights=w))
    slope = float((w * (v - middle)) @ d) / max(float(w @ np.square(v - middle)), np.finfo(np.float64).tiny)
    return middle - mean / slope if slope < 0.0 else None
