"""Does an explanation explain? One acceptance test for all of them.

An explanation predicts a direction: the error is `coefficient * direction`. It is accepted if what is
left after it is taken away is within the allowance, if it accounts for the elements that fail, and if
the same coefficient holds in every slice of every axis and for large and small effects alike. The last
test is what tells "every value is 1.001 times the reference" from "the one column with large values is".
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tapml_tui.compare.diagnosis.evidence import Evidence, Floats
from tapml_tui.compare.diagnosis.rounded import fit_rounded

LEFT_OVER = 1e-3
"""Part of the elements that may stay outside: where an explanation is exact, only bad luck is left."""

UNEXPLAINED = 0.15
"""Part of the error energy of the failing elements that may be left: one allowance is two to four
times the largest benign error, so that noise makes less than (1/2)**2 of even the weakest failure,
and of an average one far less."""

_SCREEN = 0.4
_DEVIATION = 0.3
_SHORT = 64
_FAINT = 0.3
_MATTERS = 0.05
_WITNESSES = 4
_SEEN = 4.0


@dataclass(frozen=True, slots=True)
class Fit:
    """An accepted explanation.

    Attributes:
        coefficient: How much of the direction.
        residual: Root mean square of what is left, in allowances.
    """

    coefficient: float
    residual: float


def promising(evidence: Evidence, direction: Floats, *, left_over: float = 0.02) -> bool:
    """A quick look: whether `fit` may accept, from the sampled elements alone.

    Args:
        evidence: Of all elements.
        direction: Predicted error (up to its size) of the elements at `evidence.sample`; NaN where none is.
        left_over: Part of the sample that may stay outside.
    """
    where = evidence.sample
    known = np.isfinite(direction)
    allowance = evidence.allowance.reshape(-1)[where]
    error, scaled = evidence.error.reshape(-1)[where] * known, np.where(known, direction, 0.0) / allowance
    along, total, energy = float(error @ scaled), float(error @ error), float(scaled @ scaled)
    if not 0.0 < energy < np.inf or along * along <= _SCREEN * total * energy:
        return False
    added = along / energy * scaled
    size = np.abs(evidence.reference.reshape(-1)[where] * known) + np.abs(added * allowance)
    room = np.maximum(1.0, evidence.law(np.where(np.isfinite(size), size, 0.0)) / allowance)
    return bool(np.count_nonzero(np.abs(error - added) > room) <= left_over * where.size)


def fit(evidence: Evidence, direction: Floats, *, left_over: float = LEFT_OVER) -> Fit | None:
    """Explain the error as a multiple of `direction`, or refuse.

    Args:
        evidence: What is to be explained.
        direction: The predicted error, in the unit of the values, up to its size.
        left_over: Part of the elements that may stay outside.
    """
    exactly = fit_rounded(evidence, direction)
    if exactly is not None:
        return Fit(*exactly)
    scaled = direction / evidence.allowance
    scaled[~evidence.finite] = 0.0
    flat, error = scaled.reshape(-1), evidence.error.reshape(-1)
    energy = float(flat @ flat)
    if not np.isfinite(energy) or energy <= 0.0:
        return None
    coefficient = float(flat @ error) / energy
    left = evidence.error - coefficient * scaled
    # The corrected result may be rounded where it is, not where the reference is.
    added = coefficient * np.where(evidence.finite, direction, 0.0)
    size = np.maximum(np.abs(evidence.reference + added), np.abs(added))
    room = np.maximum(1.0, evidence.law(np.where(evidence.finite, size, 0.0)) / evidence.allowance)
    if np.count_nonzero(np.abs(left) > room) > left_over * left.size:
        return None
    bad = evidence.bad
    if float(np.square(left[bad] / room[bad]).sum()) > UNEXPLAINED * float(np.square(evidence.error[bad]).sum()):
        return None
    seen = _SEEN * float(np.sqrt(np.mean(np.square(left))))
    if np.count_nonzero(np.abs(coefficient * flat) > seen) < min(_WITNESSES, int(np.count_nonzero(flat)) // 2 + 1):
        return None  # one or two elements carry it all: anything would fit them
    # Half a ULP that is added to a number of the dtype gives that number.
    shown = np.abs(added) >= evidence.half_ulp
    if not _holds_everywhere(left, np.where(shown, coefficient * scaled, 0.0)):
        return None
    return Fit(coefficient, float(np.sqrt(np.mean(np.square(left / evidence.room)))))


def fit_blend(evidence: Evidence, predicted: Floats, *, left_over: float = LEFT_OVER) -> Fit | None:
    """Explain `actual` as the reference with some weight of `predicted` mixed in, at most all of it."""
    found = fit(evidence, predicted - evidence.reference, left_over=left_over)
    return found if found is not None and 0.0 < found.coefficient < 1.05 else None


def _holds_everywhere(left: Floats, explained: Floats) -> bool:
    """Whether no slice, and no size of the effect, asks for a clearly other coefficient.

    In a group, what is left is regressed on what was explained. The standard error is that of White
    (Econometrica 48, 1980), as noise differs from row to row; it says nothing of a short group, where
    the noise of all elements has to do.
    """
    noise = float(np.mean(np.square(left)))
    terms = (left * explained, np.square(explained), np.square(left * explained))
    for axis, size in enumerate(left.shape):
        if size == 1:
            continue
        others = tuple(other for other in range(left.ndim) if other != axis)
        cross, energy, variance = (term.sum(axis=others) for term in terms)
        if not _agree(cross, energy, variance, noise, np.full(size, left.size // size)):
            return False
    magnitude = np.abs(explained).reshape(-1)
    some = slice(None, None, max(1, magnitude.size // 16384))
    exponent = np.clip(np.frexp(magnitude[some])[1] + 64, 0, 128)
    cross, energy, variance = (np.bincount(exponent, term.reshape(-1)[some]).astype(float) for term in terms)
    return _agree(cross, energy, variance, noise, np.bincount(exponent))


def _agree(cross: Floats, energy: Floats, variance: Floats, noise: float, count: npt.NDArray[np.intp]) -> bool:
    # Where the effect is far below the noise, what is left tells of the noise: rounding follows values.
    known = energy > np.maximum(count, 1) * (_FAINT**2 * noise)
    with np.errstate(invalid="ignore", divide="ignore"):
        deviation, spread = np.abs(cross) / energy, np.sqrt(variance) / energy
        spread = np.where(count < _SHORT, np.sqrt(noise / energy), spread)
    # And what is left has to matter, in allowances: benign errors of a column may well follow its values.
    known &= deviation * np.sqrt(energy / np.maximum(count, 1)) > _MATTERS
    sigmas = 4.0 + 0.3 * math.log(max(int(np.count_nonzero(known)), 1))  # the more groups, the farther the farthest
    return not bool((deviation[known] > _DEVIATION + sigmas * spread[known]).any())
