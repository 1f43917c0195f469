"""How far softmax(Q K^T) V may stray in a type narrower than float32, where Q, K and V are at hand.

With weights p_j = softmax(s)_j of scores s, an element is o = sum p_j v_j. A healthy kernel computes it
in float32, and rounds once to the narrow type. What real ones round on the way:

- The weights, for the second product (flash attention, also PyTorch's on CPUs): each errs by u p_j, where they are
  added up before that, so does o by sum u p_j v_j; where after, by sum u p_j (v_j - o).
- The scores, or the scaled query before them (most that are no flash attention): a score errs by u times itself, or
  times the root of the sum of its squared products, and its weight by as much, relative to itself. The sum of the
  weights errs with them: o by sum p_j e_j (v_j - o).
- A partial sum of the p_j v_j, as in `sums`.

The largest of them counts. Each is a sum of independent roundings: of the deviation `noise.ROUNDING` times the root of
the sum of squares, and never more than the sum of sizes, which is the smaller one where few weights are large; by
Cauchy's inequality, (sum w |v - o|)**2 <= sum w * sum w (v - o)**2. All of them are products of matrices. And weights
that are divided by their sum lead nowhere out of the range of the values.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from tapml_tui.compare.arithmetic import exponentials
from tapml_tui.compare.noise import DEVIATIONS, FLOAT32, FUNCTIONS, ROUNDING, Known
from tapml_tui.compare.precision import Precision
from tapml_tui.compare.sums import MOST_MULTIPLIED, RISK, narrow, partial_sums

Array = npt.NDArray[Any]

MOST_SCORES = 1 << 19
"""Of one head: 4 MB, of which a few are held at a time."""


def known(query: Array, key: Array, value: Array, unit: Precision, *, mask: Array | None, scale: float) -> Known | None:
    """The result of attention, and how far it may stray.

    Args:
        query: [..., rows, head]; any float dtype.
        key: [..., columns, head]; the leading dimensions are those of the query.
        value: [..., columns, width]; as well.
        unit: The dtype of the result.
        mask: Broadcast to [..., rows, columns]: bool, True for what is looked at, or added to the scores.
        scale: Of the scores.

    Returns:
        float64 [..., rows, width]; NaN where nothing is looked at. None for wider types, where the shapes do not fit
        and where it would be too much.
    """
    if not narrow(unit) or query.ndim < 2 or not query.ndim == key.ndim == value.ndim:
        return None
    *outer, rows, head = query.shape
    columns, width = value.shape[-2:]
    fits = [*outer, columns, head] == list(key.shape) and tuple(outer) == value.shape[:-2]
    products = math.prod(outer) * rows * columns * (head + width)
    if not fits or not 0 < products <= MOST_MULTIPLIED or rows * columns > MOST_SCORES:
        return None
    try:
        masks = None if mask is None else np.broadcast_to(mask, (*outer, rows, columns))
    except ValueError:
        return None
    truth = np.empty((*outer, rows, width))
    straying = np.empty_like(truth)
    normal = ROUNDING * math.sqrt(2 * math.log(2 * truth.size / RISK))
    for at in np.ndindex(*outer):
        with np.errstate(all="ignore"):  # a NaN may be a signalling one
            q, k, v = (one[at].astype(np.float64) for one in (query, key, value))
            seen = None if masks is None else masks[at]
            truth[at], straying[at] = _head(q, k, v, seen, scale=scale, unit=unit, normal=normal)
    return Known(straying, truth)


def _head(
    query: Array, key: Array, value: Array, mask: Array | None, *, scale: float, unit: Precision, normal: float
) -> tuple[Array, Array]:
    """Result and straying of one head in float64; `normal` is as many units of a sum of squares as are healthy."""
    scores = scale * (query @ key.T)
    sizes = abs(scale) * (np.abs(query) @ np.abs(key).T)
    terms = abs(scale) * np.sqrt(np.square(query) @ np.square(key).T)
    added = scores
    if mask is not None:
        added = np.where(mask, scores, -math.inf) if mask.dtype == bool else scores + mask.astype(np.float64)
    weights = np.exp(added - added.max(axis=-1, keepdims=True))
    weights /= weights.sum(axis=-1, keepdims=True)
    result, span = weights @ value, np.ptp(value, axis=0)

    def spread(weights: Array) -> Array:
        """Of each column: sum w (v - o)**2."""
        wide = weights @ np.square(value) - 2 * result * (weights @ value)
        return np.asarray(np.maximum(wide + np.square(result) * weights.sum(axis=-1, keepdims=True), 0.0))

    def moved(errors: Array) -> Array:
        """By weights that err so much, and their sum with them."""
        sure = np.sqrt(errors.sum(axis=-1, keepdims=True) * spread(errors))
        likely = normal * np.sqrt(spread(np.square(errors)))
        return np.asarray(np.minimum(np.minimum(sure, likely), span))

    u, there = unit.roundoff, weights > 0
    rounded = u * np.maximum(weights, np.minimum(weights, unit.half_smallest) / u)
    sizeable = np.maximum(np.maximum(np.abs(scores), terms), np.where(there, np.abs(added), 0.0))
    of_scores = np.where(there, weights * np.expm1(u * sizeable), 0.0)
    absolute, squares = weights @ np.abs(value), np.square(weights) @ np.square(value)
    alone = np.minimum(rounded @ np.abs(value), normal * np.sqrt(np.square(rounded) @ np.square(value)))
    once = u * np.minimum(*partial_sums(result, squares, absolute))  # also before it is divided
    in_float32 = FUNCTIONS * (1 + sizes) + DEVIATIONS * ROUNDING * math.sqrt(exponentials(key.shape[0]))
    narrowest = FLOAT32.roundoff * ((weights * in_float32) @ np.abs(value))
    return result, narrowest + np.maximum.reduce([moved(rounded), alone, moved(of_scores), once])
