"""How fine a dtype is: half units in the last place, as float64, for every float dtype that there is."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np
import numpy.typing as npt

CHUNK = 1 << 16
"""Elements at a time: a few temporaries of this length stay in a second-level cache."""


class Precision(NamedTuple):
    """A binary floating-point dtype.

    Attributes:
        fraction_bits: Explicit bits of the fraction.
        half_smallest: Half of the smallest subnormal (of float64 all of it): half a ULP is never less.
    """

    fraction_bits: int
    half_smallest: float

    @property
    def roundoff(self) -> float:
        """The largest relative error of one rounding, u = 2**-(fraction_bits + 1)."""
        return 2.0 ** -(self.fraction_bits + 1)

    @property
    def wide(self) -> bool:
        """Whether float32 cannot hold it."""
        return self.fraction_bits > 23

    def ulp(self, magnitude: npt.NDArray[Any], out: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """One unit in the last place of each |element|.

        Args:
            magnitude: Absolute values, all in float32 or all in float64, whichever can hold this dtype.
            out: Where it goes: of the same dtype and size.
        """
        bits, exponent = (np.uint64, 0x7FF0_0000_0000_0000) if out.itemsize == 8 else (np.uint32, 0x7F80_0000)
        np.bitwise_and(magnitude.view(bits), bits(exponent), out=out.view(bits))
        np.multiply(out, out.dtype.type(2.0**-self.fraction_bits), out=out)
        np.maximum(out, out.dtype.type(2 * self.half_smallest), out=out)
        return out


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
