"""How far apart numbers are: as a number, and where the answer is a whole one, exactly."""

from __future__ import annotations

import math

import ml_dtypes
import numpy as np

from tapml_tui.compare.chunks import Array
from tapml_tui.compare.precision import CHUNK, precision


@np.errstate(invalid="ignore", over="ignore")  # infinity less infinity: the NaN is the answer
def max_abs(reference: Array, actual: Array) -> float:
    """Largest absolute difference (per real and imaginary part); NaN if there is one.

    In float64; where both have at most the precision of float32 in float32, which is right but for its last rounding.
    """
    a, b = reference.reshape(-1), actual.reshape(-1)
    narrow = all(fine is not None and not fine.wide for fine in map(precision, (a.dtype, b.dtype)))
    for wide in (np.float32, np.float64) if narrow else (np.float64,):
        worst = 0.0
        for start in range(0, a.size, CHUNK):
            distance = real_parts(a[start : start + CHUNK], wide) - real_parts(b[start : start + CHUNK], wide)
            worst = float(np.maximum(worst, np.abs(distance, out=distance).max()))
        if not math.isinf(worst):  # else the difference of two that are finite may have been above float32
            break
    return worst


def real_parts(chunk: Array, wide: type[np.floating]) -> Array:
    """In the precision `wide`, a complex number as two."""
    if np.issubdtype(chunk.dtype, np.complexfloating):
        chunk = np.ascontiguousarray(chunk).view(chunk.real.dtype)
    return chunk.astype(wide, copy=False)


def exact_distance(reference: Array, actual: Array) -> Array:
    """|actual - reference| of integers or bool, exactly: as uint64, which holds what float64 and int64 cannot."""
    signs = {np.uint64 if side.dtype == np.uint64 else np.int64 for side in (reference, actual)}
    if len(signs) > 1:  # no fixed width holds both
        return np.asarray(abs(actual.astype(object) - reference.astype(object)))
    left, right = (side.astype(signs.copy().pop()) for side in (reference, actual))
    # Modulo 2**64, which is right for signed integers too.
    return np.asarray(np.maximum(left, right).view(np.uint64) - np.minimum(left, right).view(np.uint64))


def ulp_distance(reference: Array, actual: Array, *, finite: bool = False) -> int:
    """The largest number of steps from one representable number to the next between two of them.

    The bits of a float are its sign and its place among the numbers of that sign: places are subtracted where
    signs agree, and added across zero (+0 and -0 are one number).

    Args:
        reference: Floating or complex, one-dimensional.
        actual: Of the same dtype and size.
        finite: Whether all elements are known to be finite; else those that are not count nothing.
    """
    if reference.dtype.kind == "c":
        component = np.dtype(f"f{reference.itemsize // 2}")
        reference, actual = (np.ascontiguousarray(side).view(component) for side in (reference, actual))
    if not finite:
        known = np.isfinite(reference) & np.isfinite(actual)
        if not known.all():
            reference, actual = reference[known], actual[known]
    info = ml_dtypes.finfo(reference.dtype)
    if not info.min < 0:  # a type without a sign
        places = [side.view(f"u{side.itemsize}") for side in (reference, actual)]
        return int(exact_distance(*places).max(initial=0))
    unused = 8 * reference.itemsize - int(info.bits)  # a type of less than a byte: its sign goes to the top
    left, right = (side.view(f"i{side.itemsize}") for side in (reference, actual))
    if unused:
        left, right = np.left_shift(left, unused), np.left_shift(right, unused)
    apart = np.bitwise_xor(left, right)
    if apart.min(initial=0) >= 0:
        np.subtract(left, right, out=apart)
        distance = np.abs(apart, out=apart)
    else:
        distance = exact_distance(_place(left), _place(right))
    return int(distance.max(initial=0)) >> unused


def _place(bits: Array) -> Array:
    """Of sign and magnitude, the integer: both zeros are 0."""
    wide = bits.astype(np.int64)
    magnitude = wide & np.iinfo(bits.dtype).max
    return np.where(wide < 0, -magnitude, magnitude)
