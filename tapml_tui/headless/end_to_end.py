"""How far a model's final outputs are off: a number for the whole, that judges no node."""

from __future__ import annotations

import numpy as np

_CHUNK = 1 << 20


def cosine(reference: np.ndarray, actual: np.ndarray) -> float:
    """Cosine of the angle between two arrays of one shape, in float64.

    Two arrays of zeros point the same way (1.0); zeros against anything else do not (0.0). NaN if either has a NaN.
    """
    dot = left = right = 0.0
    a, b = reference.reshape(-1), actual.reshape(-1)
    for start in range(0, a.size, _CHUNK):
        x, y = _real(a[start : start + _CHUNK]), _real(b[start : start + _CHUNK])
        dot, left, right = dot + float(x @ y), left + float(x @ x), right + float(y @ y)
    if left == 0.0 or right == 0.0:
        return float(left == right)
    return dot / float(np.sqrt(left) * np.sqrt(right))


def max_abs(reference: np.ndarray, actual: np.ndarray) -> float:
    """Largest absolute difference, in float64 (per real and imaginary part); NaN if there is one."""
    a, b = reference.reshape(-1), actual.reshape(-1)
    worst = 0.0
    for start in range(0, a.size, _CHUNK):
        with np.errstate(invalid="ignore"):  # infinity less infinity: the NaN is the answer
            distance = np.abs(_real(a[start : start + _CHUNK]) - _real(b[start : start + _CHUNK]))
        worst = float(np.maximum(worst, distance.max()))
    return worst


def _real(chunk: np.ndarray) -> np.ndarray:
    """float64, a complex number as two."""
    if np.issubdtype(chunk.dtype, np.complexfloating):
        return chunk.astype(np.complex128).view(np.float64)
    return chunk.astype(np.float64)
