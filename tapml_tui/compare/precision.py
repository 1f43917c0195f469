"""How fine a dtype is: half units in the last place, as float64, for every float dtype that there is."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import ml_dtypes
import numpy as np

CHUNK = 1 << 16
"""Elements at a time: a few float64 temporaries of this length stay in a second-level cache."""


class Precision(NamedTuple):
    """A binary floating-point dtype.

    Attributes:
        fraction_bits: Explicit bits of the fraction.
        half_smallest: Half of the smallest subnormal (of float64 all of it): half a ULP is never less.
    """

    fraction_bits: int
    half_smallest: float


@lru_cache
def precision(dtype: np.dtype) -> Precision | None:
    """The precision of a float dtype, of the components of a complex one; None for all others."""
    if dtype.kind == "c":
        dtype = np.empty(0, dtype).real.dtype
    if dtype.kind in "biu":
        return None
    try:
        info = ml_dtypes.finfo(dtype)
    except ValueError:  # int4 and its like
        return None
    return Precision(int(info.nmant), max(float(info.smallest_subnormal) / 2, math.ulp(0.0)))


def coarser(left: np.dtype, right: np.dtype) -> np.dtype:
    """The one with fewer bits in its fraction; an exact dtype is the finest."""
    first, second = precision(left), precision(right)
    if first is None or second is None:
        return right if first is None else left
    return left if first.fraction_bits <= second.fraction_bits else right


def half_ulp(magnitude: np.ndarray, of: Precision) -> np.ndarray:
    """Half a unit in the last place of each |element|.

    With 2**e <= |x| < 2**(e+1), one unit is 2**(e - fraction_bits) (IEEE 754-2019, 3.3).

    Args:
        magnitude: Absolute values in float64; Inf and NaN give something large.
        of: The dtype that is meant.
    """
    power = (magnitude.view(np.uint64) & np.uint64(0x7FF0_0000_0000_0000)).view(np.float64)
    power *= 2.0 ** -(of.fraction_bits + 1)
    return np.maximum(power, of.half_smallest, out=power)


def rounding(of: Precision, terms: float) -> float:
    """One standard deviation of the error of a sum of `terms` products, relative to what is summed.

    A sum of n products has n roundings of unit roundoff u, each of the size of the partial sum; in a
    random walk these add up to u * sqrt(n) (Higham and Mary, "A New Approach to Probabilistic Rounding
    Error Analysis", SIAM J. Sci. Comput. 41(5), 2019, theorem 2.4).
    """
    return float(2.0 ** -(of.fraction_bits + 1) * math.sqrt(terms))
