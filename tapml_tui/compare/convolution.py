"""A convolution as the products of matrices that it is: each window of the image is a row, each kernel a column."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from tapml_tui.compare import sums
from tapml_tui.compare.noise import Known
from tapml_tui.compare.precision import Precision

Array = npt.NDArray[Any]


class Geometry(NamedTuple):
    """Where the windows of a convolution are, for each dimension of the image.

    Attributes:
        steps: From one window to the next, above 0.
        edges: Zeros before and after the image, not below 0.
        gaps: From one element of a window to the next, above 0.
        groups: Of channels that are convolved alone.
    """

    steps: tuple[int, ...]
    edges: tuple[int, ...]
    gaps: tuple[int, ...]
    groups: int


def known(x: Array, weight: Array, geometry: Geometry, unit: Precision) -> Known | None:
    """The sums of a convolution without its bias, and how far they may stray.

    Args:
        x: [batch, channels, ...]; any float dtype.
        weight: [channels out, channels / groups, ...]: as many dimensions.
        geometry: Of as many dimensions as the image has.
        unit: The dtype of the result.

    Returns:
        float64 [batch, channels out, ...]. None where the shapes do not fit, and where it would be too much.
    """
    steps, edges, gaps, groups = geometry
    (batch, channels, *image), (out, each, *kernel) = x.shape, weight.shape
    if not x.size or not weight.size or channels != groups * each or out % groups:
        return None
    wide = [size + 2 * edge for size, edge in zip(image, edges, strict=True)]
    spans = [(size - 1) * gap + 1 for size, gap in zip(kernel, gaps, strict=True)]
    places = [(size - span) // step + 1 for size, span, step in zip(wide, spans, steps, strict=True)]
    copied = batch * channels * max(math.prod(wide), math.prod(places) * math.prod(kernel))
    if min(places) < 1 or copied > sums.MOST_SQUARES:
        return None
    padded = np.pad(x, ((0, 0), (0, 0), *((edge, edge) for edge in edges)))
    every = tuple(slice(None, None, step) for step in (1, 1, *steps, *gaps))
    windows = sliding_window_view(padded, spans, tuple(range(2, x.ndim)))[every]
    windows = windows.reshape(batch, groups, each, math.prod(places), math.prod(kernel)).swapaxes(2, 3)
    rows = windows.reshape(batch, groups, math.prod(places), -1)
    found = sums.known(rows, weight.reshape(groups, out // groups, -1), unit)
    if found is None:
        return None
    straying, truth = (one if one is None else one.swapaxes(-1, -2).reshape(batch, out, *places) for one in found)
    assert straying is not None
    return Known(straying, truth)
