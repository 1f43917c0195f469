"""How far layer normalisation and softmax may stray over rows that no model has and a fault may make.

Layer normalisation is (x - mean) / sqrt(variance + epsilon). Where a row lies far from zero and close together, what is
left of x - mean is the rounding of the mean, and the variance, where it is taken as mean(x**2) - mean**2, is that of
two large numbers. Both are divided by next to nothing. Two healthy kernels agree there in no digit.

Sums of terms that are nearly equal err all to the same side, by up to n roundoffs (see `sums`), others like sqrt(n).
That goes for rows that are far from constant too, such as one number among zeros.
With the mean m off by e = k u mean(|x|) and mean(x**2) by k u mean(x**2), the variance is off by
v = k u mean(x**2) + 2 |m| e + e**2. With f(v) = 1 / sqrt(max(variance + v, 0) + epsilon), an element is off by
|x - m| max(f(-v) - f(0), f(0) - f(v)) + e f(-v), times its weight.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from tapml_tui.compare.noise import DEVIATIONS, FUNCTIONS, ROUNDING, Known
from tapml_tui.compare.precision import Precision
from tapml_tui.compare.sums import MOST_SQUARES, alike, narrow

Array = npt.NDArray[Any]

FAR = 16.0
"""Rows whose mean square is so many times their variance are looked at: about four deviations from zero."""

ALIKE = 4.0
"""So are rows in which a distance from the mean is, in the mean, that of so many elements. Else none is."""


def layer_norm(
    x: Array, weight: Array | None, bias: Array | None, *, width: int, epsilon: float, unit: Precision
) -> Known | None:
    """The result over rows of `width` elements, and how far it may stray.

    Args:
        x: [..., width] in any number of dimensions; any float dtype.
        weight: [width], or None.
        bias: [width], or None.
        width: Elements that are normalised together.
        epsilon: Added to the variance.
        unit: The dtype of the result.

    Returns:
        float64, in the shape of `x`. None for types narrower than float32, where no row is such, and where it would
        be too much.
    """
    if narrow(unit) or not 0 < x.size <= MOST_SQUARES or x.size % width:
        return None
    rows = x.reshape(-1, width)
    with np.errstate(all="ignore"):
        wide = rows.astype(np.float64)
        mean, squares = wide.mean(axis=-1, keepdims=True), np.square(wide).mean(axis=-1, keepdims=True)
        centred = wide - mean
        variance = np.square(centred).mean(axis=-1, keepdims=True)
        strange = squares > FAR * variance
        if (each := alike(centred, unit)) is not None:
            strange |= each[:, None] > ALIKE
        if not strange.any():
            return None
        u = unit.roundoff
        err = u * np.where(strange, width, DEVIATIONS * ROUNDING * math.sqrt(width))
        of_mean = err * np.abs(wide).mean(axis=-1, keepdims=True)
        of_variance = err * squares + 2 * np.abs(mean) * of_mean + np.square(of_mean)
        spread = 1 / np.sqrt(variance + epsilon)
        widest = 1 / np.sqrt(np.maximum(variance - of_variance, 0.0) + epsilon)
        astray = np.maximum(widest - spread, spread - 1 / np.sqrt(variance + of_variance + epsilon))
        scale = 1.0 if weight is None else weight.astype(np.float64).reshape(1, width)
        truth, apart = centred * spread * scale, np.abs(centred)
        straying = np.abs(scale) * (apart * astray + of_mean * widest) + FUNCTIONS * u * np.abs(truth)
        if bias is not None:
            truth = truth + bias.astype(np.float64).reshape(1, width)
        straying = np.where(np.isfinite(straying), straying, math.inf)
    return Known(straying.reshape(x.shape), truth.reshape(x.shape))


def softmax(x: Array, axis: int, unit: Precision) -> Known | None:
    """The result, and how far it may stray where what is small beside a running sum is lost, always to one side.

    That is at most one roundoff of the sum for each of its terms; `noise` allows for as many as the logits of models
    make likely. Beside it stand the functions, and the rounding of the argument of each exponential.

    Args:
        x: Any shape; any float dtype.
        axis: Along which it adds up to one.
        unit: The dtype of the result.

    Returns:
        float64, in the shape of `x`. None for types narrower than float32, and where it would be too much.
    """
    if narrow(unit) or not 0 < x.size <= MOST_SQUARES:
        return None
    with np.errstate(all="ignore"):
        wide = x.astype(np.float64)
        below = wide.max(axis=axis, keepdims=True) - wide
        weights = np.exp(-below)
        truth = weights / weights.sum(axis=axis, keepdims=True)
        straying = truth * unit.roundoff * (x.shape[axis] + FUNCTIONS + np.where(truth > 0, below, 0.0))
    return Known(np.where(np.isfinite(straying), straying, math.inf), truth)
