"""How far the rounding of each sum of products may stray, where its terms are at hand: sharper than any average.

`noise` knows of a sum how many terms it has and how large all results are together. A bias hides that the sums before
it were smaller, rows differ, and of few elements none tells how large another may be. With the terms p at hand, the
partial sums are known, and so is the deviation of the n roundings: `ROUNDING` unit roundoffs of each partial sum, added
up as squares (see `noise.DEVIATIONS`).

In the order of the terms, or from the last one backwards, the partial sums are simply computed; independent roundings
of known numbers are as good as normal. In another order a partial sum after k of n terms is, on average, k/n of the
whole sum s, and strays from that like a Brownian bridge: the mean of its square is s**2 / 3 + q / 6, with
q = sum of p**2. The energy of a bridge has the tail exp(-pi**2 x / 2) (its largest eigenvalue is 1 / pi**2), of
which an error that is normal for a given path gets the tail exp(-pi d) in units of sqrt(q).

Types narrower than float32 may round one partial sum to the dtype: one of those two orders, or the sum of any half of
the terms, which is s / 2 with a deviation of sqrt(q) / 2. Four of them are `HIDDEN` times sqrt(q). Of these sums s and
q are enough, which are products of matrices.
"""

from __future__ import annotations

import math
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from tapml_tui.compare.noise import FLOAT32, HIDDEN, ROUNDING
from tapml_tui.compare.precision import Precision

Array = npt.NDArray[Any]

RISK = 1e-6
"""In so many outputs of healthy nodes one element strays further, however many elements there are."""

MOST_TERMS = 1 << 22
"""Products that are looked at for one output: it takes a tenth of a second."""

MOST_MULTIPLIED = 1 << 27
"""So many where matrices of them are enough, which takes as long."""

MOST_SQUARES = 1 << 22
"""Elements of either factor that are squared for it: 16 MB."""

_TOGETHER = 1 << 17
"""So many at a time, or those of one element: 5 MB."""


def straying(left: Array, right: Array, unit: Precision) -> Array | None:
    """How far each sum over the last dimension of left[..., i, :] * right[..., j, :] may stray.

    Args:
        left: [..., rows, terms]; any float dtype.
        right: [..., columns, terms]; the leading dimensions are broadcast.
        unit: The dtype of the result.

    Returns:
        float64 [..., rows, columns], in the unit of the sums; infinite where something is not finite. None where that
        would be too many products, none, or the shapes do not fit.
    """
    if left.ndim < 2 or right.ndim < 2 or left.shape[-1] != right.shape[-1]:
        return None
    try:
        outer = np.broadcast_shapes(left.shape[:-2], right.shape[:-2])
    except ValueError:
        return None
    (rows, terms), columns = left.shape[-2:], right.shape[-2]
    result = np.empty((*outer, rows, columns))
    if not 0 < result.size * terms <= MOST_TERMS:
        matrices = result.size * terms <= MOST_MULTIPLIED and max(left.size, right.size) <= MOST_SQUARES
        return _halved(left, right, unit) if matrices and result.size and _narrow(unit) else None
    left, right = np.broadcast_to(left, (*outer, rows, terms)), np.broadcast_to(right, (*outer, columns, terms))
    wide = max(1, min(columns, _TOGETHER // terms))
    tall = max(1, _TOGETHER // (terms * wide))
    for place in np.ndindex(outer):
        above, beside, found = left[place], right[place], result[place]
        for row, column in product(range(0, rows, tall), range(0, columns, wide)):
            down, across = slice(row, row + tall), slice(column, column + wide)
            with np.errstate(invalid="ignore"):  # a NaN may be a signalling one
                products = above[down, None].astype(np.float64) * beside[across].astype(np.float64)
            found[down, across] = _stray(products, RISK / result.size, unit)
    return np.where(np.isfinite(result), result, math.inf)


def _narrow(unit: Precision) -> bool:
    return unit.fraction_bits < FLOAT32.fraction_bits


def _halved(left: Array, right: Array, unit: Precision) -> Array:
    """What one rounding of the sum of half of the terms can make, by sums and sums of squares."""
    with np.errstate(all="ignore"):
        rows, columns = left.astype(np.float32), right.astype(np.float32).swapaxes(-1, -2)
        total = np.abs(np.matmul(rows, columns)).astype(np.float64)
        squares = np.matmul(np.square(rows), np.square(columns)).astype(np.float64)
        result = unit.roundoff * (total / 2 + HIDDEN * np.sqrt(squares))
    return np.where(np.isfinite(result), result, math.inf)


def _stray(terms: Array, rare: float, unit: Precision) -> Array:
    """Of sums over the last dimension: each is beyond with a probability of `rare` at most."""
    compute = unit if unit.fraction_bits > FLOAT32.fraction_bits else FLOAT32
    normal = math.sqrt(2 * math.log(2 / rare))  # P(|x| > t) < 2 exp(-t**2 / 2)
    with np.errstate(all="ignore"):
        onward = np.cumsum(terms, axis=-1)
        total = onward[..., -1]
        backward = total[..., None] - onward + terms
        squares = np.einsum("...k,...k", terms, terms)  # products are rounded too
        energy = squares + np.maximum(*(np.einsum("...k,...k", sums, sums) for sums in (onward, backward)))
        bridge = math.log(1 / rare) / math.pi * np.sqrt(squares)
        shuffled = math.sqrt(terms.shape[-1]) * np.hypot(bridge, normal / math.sqrt(3) * total)
        result: Array = ROUNDING * compute.roundoff * np.maximum(shuffled, normal * np.sqrt(energy))
        if _narrow(unit):
            partial = np.maximum(np.abs(onward).max(axis=-1), np.abs(backward).max(axis=-1))
            partial = np.maximum(partial, np.abs(total) / 2 + HIDDEN * np.sqrt(squares))
            result = np.maximum(result, unit.roundoff * partial)
    return result
