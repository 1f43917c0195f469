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

Roundings are not independent where terms are nearly equal, as after a fault that makes all tokens alike. A partial sum
lies on the grid of its last place, so that adding p errs by what p is off that grid, each time until the sum outgrows
it. The roundings of c equal terms add up as c, not as sqrt(c); n unit roundoffs of the sum of |p| no order exceeds
(Higham, Accuracy and Stability of Numerical Algorithms, 4.2).

Types narrower than float32 may round one partial sum to the dtype. In any order, that of a part x of the terms is x s,
with a deviation of sqrt(x (1 - x) q): four of them more are at most |s| / 2 + hypot(|s| / 2, `HIDDEN` sqrt(q)). No
partial sum is more than that of all positive terms, or of all negative ones, which counts where few terms are large.
Of these s, q and the sum of |p| are enough, which are products of matrices. All of that may be used up, as it knows
each element, so that the rounding of the sum itself in float32 stands beside it.
"""

from __future__ import annotations

import math
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from tapml_tui.compare.noise import DEVIATIONS, FLOAT32, HIDDEN, ROUNDING, Known
from tapml_tui.compare.precision import Precision, half_ulp

Array = npt.NDArray[Any]

RISK = 1e-6
"""In so many outputs of healthy nodes one element strays further, however many elements there are."""

MOST_TERMS = 1 << 22
"""Products that are looked at for one output: it takes a tenth of a second."""

MOST_MULTIPLIED = 1 << 27
"""So many where matrices of them are enough, which takes as long."""

MOST_SQUARES = 1 << 22
"""Elements of either factor that are squared for it: 16 MB."""

_SAMPLE = 32
"""Terms of a long sum that are looked at first, to see whether some are equal."""

_TOGETHER = 1 << 17
"""So many at a time, or those of one element: 5 MB."""


def known(left: Array, right: Array, unit: Precision) -> Known | None:
    """Each sum over the last dimension of left[..., i, :] * right[..., j, :], and how far it may stray.

    Args:
        left: [..., rows, terms]; any float dtype.
        right: [..., columns, terms]; the leading dimensions are broadcast.
        unit: The dtype of the result.

    Returns:
        float64 [..., rows, columns]; straying is infinite where something is not finite. None where that would be too
        many products, none, or the shapes do not fit.
    """
    if left.ndim < 2 or right.ndim < 2 or left.shape[-1] != right.shape[-1]:
        return None
    try:
        outer = np.broadcast_shapes(left.shape[:-2], right.shape[:-2])
    except ValueError:
        return None
    (rows, terms), columns = left.shape[-2:], right.shape[-2]
    sums = np.empty((*outer, rows, columns))
    result = np.empty_like(sums)
    if not 0 < result.size * terms <= MOST_TERMS:
        matrices = result.size * terms <= MOST_MULTIPLIED and max(left.size, right.size) <= MOST_SQUARES
        return _halved(left, right, unit) if matrices and result.size and narrow(unit) else None
    left, right = np.broadcast_to(left, (*outer, rows, terms)), np.broadcast_to(right, (*outer, columns, terms))
    wide = max(1, min(columns, _TOGETHER // terms))
    tall = max(1, _TOGETHER // (terms * wide))
    for place in np.ndindex(outer):
        above, beside, total, found = left[place], right[place], sums[place], result[place]
        for row, column in product(range(0, rows, tall), range(0, columns, wide)):
            down, across = slice(row, row + tall), slice(column, column + wide)
            with np.errstate(invalid="ignore"):  # a NaN may be a signalling one
                products = above[down, None].astype(np.float64) * beside[across].astype(np.float64)
            total[down, across], found[down, across] = _stray(products, RISK / result.size, unit)
    return Known(np.where(np.isfinite(result), result, math.inf), None if unit.wide else sums)


def narrow(unit: Precision) -> bool:
    """Whether it is computed in a wider type."""
    return unit.fraction_bits < FLOAT32.fraction_bits


def partial_sums(total: Array, squares: Array, sizes: Array) -> tuple[Array, Array]:
    """How large any partial sum is likely to be, and surely, of sums of which these are known: s, q and sum |p|."""
    total = np.abs(total)
    return total / 2 + np.hypot(total / 2, HIDDEN * np.sqrt(squares)), (sizes + total) / 2


def _rounded_once(total: Array, squares: Array, sizes: Array, unit: Precision) -> Array:
    likely, surely = partial_sums(total, squares, sizes)
    return np.asarray(np.minimum(unit.roundoff * likely, half_ulp(surely, unit)))


def _halved(left: Array, right: Array, unit: Precision) -> Known:
    """The same with less known of the rounding in float32."""
    with np.errstate(all="ignore"):
        rows, columns = left.astype(np.float32), right.astype(np.float32).swapaxes(-1, -2)
        total, squares, sizes = (
            np.matmul(each(rows), each(columns)).astype(np.float64) for each in (np.positive, np.square, np.abs)
        )
        result = _rounded_once(total, squares, sizes, unit) + DEVIATIONS * ROUNDING * FLOAT32.roundoff * sizes
    return Known(np.where(np.isfinite(result), result, math.inf), total)


def _stray(terms: Array, rare: float, unit: Precision) -> tuple[Array, Array]:
    """Sums over the last dimension, and how far they stray: each is beyond with a probability of `rare` at most."""
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
        if (each := alike(terms, compute)) is not None:
            surely = compute.roundoff * terms.shape[-1] * np.abs(terms).sum(axis=-1)
            result = np.minimum(result * np.sqrt(each), surely)
        if narrow(unit):
            partial = np.maximum(np.abs(onward).max(axis=-1), np.abs(backward).max(axis=-1))
            once = _rounded_once(total, squares, np.abs(terms).sum(axis=-1), unit)
            result += np.maximum(once, half_ulp(partial, unit))
    return total, result


def alike(terms: Array, compute: Precision) -> Array | None:
    """How many terms are a term but for its last places, in the mean over those of a sum that are not zero.

    None: so few are that it matters in no sum, or none are in a sample of every sum.
    """
    count = terms.shape[-1]
    if count >= 2 * _SAMPLE and not _equal(terms[..., :: count // _SAMPLE], compute).any():
        return None
    equal = _equal(terms, compute)
    if (4 * np.square(np.count_nonzero(equal, axis=-1)) < count).all():
        return None
    place = np.arange(1, count)
    before = place - np.maximum.accumulate(np.where(equal, 0, place), axis=-1)  # equal ones that a term comes after
    # A run of c has 0 + ... + (c - 1) = (c**2 - c) / 2 of them.
    return np.asarray(1 + 2 * before.sum(axis=-1) / np.maximum(np.count_nonzero(terms, axis=-1), 1))


def _equal(terms: Array, compute: Precision) -> Array:
    """Of the terms of each sum, by size, which are their smaller neighbour but for the last places."""
    ordered = np.sort(terms if compute.wide else terms.astype(np.float32), axis=-1)
    larger, smaller = ordered[..., 1:], ordered[..., :-1]
    return np.asarray((larger - smaller <= ordered.dtype.type(4 * compute.roundoff) * np.abs(larger)) & (larger != 0))
