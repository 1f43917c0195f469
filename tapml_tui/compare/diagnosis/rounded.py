"""Weak faults in coarse dtypes, where values are only moved: what comes out is known but for one rounding.

Of a value that is a hundredth off, bfloat16 shows one unit in the last place or none: next to that, nothing is left
over of a fit that would convince. But where the right value is known to the bit, each element says between which two
coefficients the explanation rounds to what is there; the right one lies in nearly all of these intervals.
"""

from __future__ import annotations

import numpy as np

from tapml_tui.compare.diagnosis.evidence import Evidence, Floats
from tapml_tui.compare.precision import half_ulp, precision

_COARSE = 10
"""Bits of fraction up to which weak faults are lost in rounding."""

_MISSED = 0.005
_FEWEST = 8
_SAMPLE = 1 << 16
_SLACK = 1.0 - 1e-3
"""In the middle between two numbers, both would do."""

_SPARED = 0.05
"""How many elements may be right that should be wrong, of those that are wrong."""


def fit_rounded(evidence: Evidence, direction: Floats) -> tuple[float, float] | None:
    """The coefficient with which the reference and a multiple of `direction` round to what is there.

    Returns:
        It, and the root mean square in allowances of the errors that it does not explain; None if they are too many.
    """
    unit = precision(evidence.dtype)
    if not evidence.exact or unit is None or unit.fraction_bits > _COARSE:
        return None
    if np.count_nonzero(evidence.bad) < _FEWEST:
        return None
    reference, actual, along = (
        np.where(evidence.finite, array, 0.0).reshape(-1) for array in (evidence.reference, evidence.actual, direction)
    )
    room = half_ulp(np.abs(actual), unit) * _SLACK
    chosen = np.flatnonzero(along)
    if chosen.size > _SAMPLE:
        chosen = chosen[np.random.default_rng(0).permutation(chosen.size)[:_SAMPLE]]
    if not chosen.size:
        return None
    d = along[chosen]
    centre, width = (actual[chosen] - reference[chosen]) / d, room[chosen] / np.abs(d)
    edges = np.concatenate([centre - width, centre + width])
    order = np.argsort(edges, kind="stable")
    depth = np.cumsum(np.repeat([1, -1], chosen.size)[order])
    best = int(np.argmax(depth))
    coefficient = float(np.mean(edges[order[best : best + 2]]))
    missed = (reference + coefficient * along).astype(evidence.dtype).astype(np.float64) != actual
    bad = evidence.bad.reshape(-1)
    unexplained, spared = int(np.count_nonzero(missed & bad)), int(np.count_nonzero(missed & ~bad))
    if unexplained > _MISSED * np.count_nonzero(bad) + 1 or spared > _SPARED * np.count_nonzero(bad) + 1:
        return None
    left = np.where(missed, evidence.error.reshape(-1), 0.0)
    return coefficient, float(np.sqrt(np.mean(np.square(left))))
