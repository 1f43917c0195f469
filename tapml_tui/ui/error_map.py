"""Where in a tensor the error sits: the largest error of each block, as a picture of few characters."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tapml_tui.ui import theme
from tapml_tui.ui.lines import Line

MAX_ELEMENTS = 16 << 20  # more is not read for a picture
SHADES = "▒▓█"


def blocks(
    reference: NDArray[np.generic], actual: NDArray[np.generic], rows: int, columns: int
) -> NDArray[np.float64] | None:
    """The largest absolute error in each of at most `rows` x `columns` blocks.

    A tensor is looked at as its last axis against all others. NaN or Inf on one side only is an
    infinite error.

    Returns:
        (rows, columns), or None where there is nothing to draw: other shapes, fewer than two
        elements, too many.
    """
    if reference.shape != actual.shape or not 2 <= reference.size <= MAX_ELEMENTS or reference.dtype.kind == "c":
        return None
    wide = reference.shape[-1]
    pair = [side.reshape(-1, wide).astype(np.float64) for side in (reference, actual)]
    with np.errstate(invalid="ignore", over="ignore"):
        error = np.abs(pair[0] - pair[1])
    same = (pair[0] == pair[1]) | (np.isnan(pair[0]) & np.isnan(pair[1]))
    error[same] = 0.0
    error[np.isnan(error)] = np.inf
    for axis, count in ((0, rows), (1, columns)):
        extent = error.shape[axis]
        starts = np.unique(np.linspace(0, extent, min(count, extent), endpoint=False).astype(np.intp))
        error = np.maximum.reduceat(error, starts, axis=axis)
    return error


def draw(error: NDArray[np.float64], shape: tuple[int, ...], allowed: float) -> list[Line]:
    """The picture: light where the error is allowed, darker with its order of magnitude elsewhere."""
    finite = error[np.isfinite(error)]
    worst = max(float(finite.max(initial=0.0)), allowed, 1e-300)
    floor = max(allowed, worst * 1e-6, 1e-300)
    span = max(np.log10(worst / floor), 1e-9)
    content: list[Line] = []
    for row in error:
        line: Line = []
        for value in row:
            if value <= allowed:
                line.append(("░", theme.DIM))
            else:
                depth = 1.0 if not np.isfinite(value) else float(np.log10(max(value / floor, 1.0)) / span)
                line.append((SHADES[min(int(depth * len(SHADES)), len(SHADES) - 1)], theme.FAILED))
        content.append(line)
    count = int(np.prod(shape[:-1], dtype=np.int64))
    return [[("error by block", theme.DIM), (f"  {count} x {shape[-1]}", theme.DIM)], *content]


def picture(
    reference: NDArray[np.generic] | None, actual: NDArray[np.generic] | None, rows: int, width: int, allowed: float
) -> list[Line]:
    """The picture of two arrays in at most `rows` rows and `width` columns; nothing where none can be drawn."""
    if reference is None or actual is None:
        return []
    found = blocks(reference, actual, rows, min(width, 64))
    return draw(found, reference.shape, allowed) if found is not None else []
