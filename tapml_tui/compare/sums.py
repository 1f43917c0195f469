"""How far the rounding of each sum of products may stray, where its terms are at hand: sharper than any average.

`noise` knows of a sum how many terms it has and how large all results are together. A bias hides that the sums before
it were smaller; of few elements, none tells how large another may be. With the terms p at hand, their partial sums
are known, and so is the deviation of the n roundings: `ROUNDING` unit roundoffs of each partial sum, added up as
squares (see `noise.DEVIATIONS`).

In the order of the terms, or from the last one backwards, the partial sums are simply computed; independent roundings
of known numbers are as good as normal. In another order a partial sum after k of n terms is, on average, k/n of the
whole sum s, and strays from that like a Brownian bridge: the mean of its square is s**2 / 3 + q / 6, with
q = sum of p**2. The energy of a bridge has the tail exp(-pi**2 x / 2) (its largest eigenvalue is 1 / pi**2), of
which an error that is normal for a given path gets the tail exp(-pi d) in units of sqrt(q).

How rare a healthy error beyond it is: one output of a node in `1 / RISK` has such an element, however many it has.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from tapml_tui.compare.noise import ROUNDING

Array = npt.NDArray[Any]

RISK = 1e-6

MOST_TERMS = 1 << 20
"""Products that are computed for one output: about 10 ms and 40 MB."""


def straying(left: Array, right: Array, roundoff: float) -> Array | None:
    """How far each sum over the last dimension of left[..., i, :] * right[..., j, :] may stray.

    Args:
        left: [..., rows, terms]; any float dtype.
        right: [..., columns, terms]; the leading dimensions are broadcast.
        roundoff: Of the dtype that sums are carried in.

    Returns:
        float64 [..., rows, columns], in the unit of the sums. None where that would be too many products, none, or
        something that does not fit.
    """
    if left.ndim < 2 or right.ndim < 2 or left.shape[-1] != right.shape[-1]:
        return None
    try:
        outer = np.broadcast_shapes(left.shape[:-2], right.shape[:-2])
    except ValueError:
        return None
    shape = (*outer, left.shape[-2], right.shape[-2], left.shape[-1])
    if not 0 < math.prod(shape) <= MOST_TERMS:
        return None
    with np.errstate(all="ignore"):
        terms = left.astype(np.float64)[..., :, None, :] * right.astype(np.float64)[..., None, :, :]
        from_first = np.cumsum(terms, axis=-1)
        total = from_first[..., -1]
        from_last = total[..., None] - from_first + terms
        squares = np.square(terms).sum(axis=-1)  # products are rounded too
        energy = squares + np.maximum(np.square(from_first).sum(axis=-1), np.square(from_last).sum(axis=-1))
        rare = RISK / total.size
        normal = math.sqrt(2 * math.log(2 / rare))  # P(|x| > t) < 2 exp(-t**2 / 2)
        bridge = math.log(1 / rare) / math.pi * np.sqrt(squares)
        other = math.sqrt(shape[-1]) * np.hypot(bridge, normal / math.sqrt(3) * total)
        result: Array = ROUNDING * roundoff * np.maximum(other, normal * np.sqrt(energy))
    return np.where(np.isfinite(result), result, math.inf)
