"""Arrays in pieces that stay in the cache, and in a dtype that arithmetic is fast in."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from tapml_tui.compare.precision import CHUNK, precision

Array: TypeAlias = npt.NDArray[Any]

_HALF_TO_SINGLE = np.float32(2.0**112)
_SIGN_AND_MAGNITUDE = np.int32(-0x7000_2000)  # 0x8FFFE000
_LARGEST_HALF = 65504.0
_SAFE_SQUARE = 1e-30
"""Above it, no square that matters to a mean in float32 has lost digits."""


def pairs(*arrays: Array) -> Iterator[tuple[int, tuple[Array, ...]]]:
    """Equal flat windows of arrays of one shape, in row-major order, with the flat index of their first element.

    What is contiguous is not copied; of all else one window at a time is.
    """
    if all(array.flags.c_contiguous for array in arrays):
        flat = tuple(array.reshape(-1) for array in arrays)
        for start in range(0, arrays[0].size, CHUNK):
            yield start, tuple(array[start : start + CHUNK] for array in flat)
        return
    start = 0
    windows = np.nditer(arrays, flags=["external_loop", "buffered", "zerosize_ok"], order="C", buffersize=CHUNK)
    for window in windows:
        parts = window if isinstance(window, tuple) else (window,)
        if parts[0].size:
            yield start, parts
        start += parts[0].size


def working_dtype(*dtypes: np.dtype[Any]) -> np.dtype[Any]:
    """float32 where it holds every one of these dtypes exactly, else float64; complex128 for complex ones."""
    if any(dtype.kind == "c" for dtype in dtypes):
        return np.dtype(np.complex128)
    units = [precision(dtype) for dtype in dtypes]
    return np.dtype(np.float64 if any(unit is None or unit.wide for unit in units) else np.float32)


def widened(array: Array, out: Array) -> Array:
    """A window in the dtype of `out`: itself where it has it already, else in `out`, every value exactly."""
    if array.dtype == out.dtype:
        return array
    out = out[: array.size]
    if array.dtype == np.float16 and out.dtype == np.float32:
        # Four times as fast as a cast: the bits, moved to where float32 has them, are the number times 2**-112.
        bits = out.view(np.int32)
        np.copyto(bits, array.view(np.int16))
        np.left_shift(bits, 13, out=bits)
        np.bitwise_and(bits, _SIGN_AND_MAGNITUDE, out=bits)
        np.multiply(out, _HALF_TO_SINGLE, out=out)
        if out.max(initial=0.0) <= _LARGEST_HALF and out.min(initial=0.0) >= -_LARGEST_HALF:
            return out  # else there are Inf and NaN, which look like larger numbers now
    np.copyto(out, array, casting="unsafe")
    return out


def rms(array: Array) -> float:
    """Root mean square of the finite elements, 0 where there are none."""
    dtype = working_dtype(array.dtype)
    if dtype.kind != "c":
        buffer, squares = np.empty(min(CHUNK, array.size), dtype), 0.0
        with np.errstate(over="ignore", invalid="ignore"):
            for _, (part,) in pairs(array):
                wide = widened(part, buffer)
                squares += float(np.dot(wide, wide))
        mean = squares / max(array.size, 1)
        if _SAFE_SQUARE < mean < math.inf:
            return math.sqrt(mean)
    return _careful_rms(array, dtype)


@np.errstate(invalid="ignore")  # a NaN may be a signalling one
def _careful_rms(array: Array, dtype: np.dtype[Any]) -> float:
    """The same where squares leave the range of the dtype, or not everything is finite."""
    peak, squares, count = 0.0, 0.0, 0
    for _, (part,) in pairs(array):
        magnitude = np.abs(part.astype(np.result_type(dtype, np.float64)))
        magnitude = magnitude[np.isfinite(magnitude)]
        if not magnitude.size:
            continue
        count += magnitude.size
        largest = float(magnitude.max())
        if largest > peak:
            squares *= (peak / largest) ** 2
            peak = largest
        if peak:
            squares += float(np.square(magnitude / peak).sum())
    return peak * math.sqrt(squares / count) if count else 0.0
