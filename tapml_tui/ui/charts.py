"""Pictures of an error in characters: where it sits, and how large it is. Readable without colour."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from tapml_tui.ui import lines, theme
from tapml_tui.ui.lines import Line

WITHIN = "░"
SHADES = "▒▓█"
EIGHTHS = "▁▂▃▄▅▆▇█"
WIDEST = 64  # columns of a map: more say no more
TALL_FROM = 8  # rows from which a histogram has a line for each decade


def folded(blocks: NDArray[np.float64], rows: int, columns: int) -> NDArray[np.float64]:
    """The largest of neighbouring blocks, so that at most `rows` x `columns` are left."""
    for axis, count in ((0, rows), (1, columns)):
        extent = blocks.shape[axis]
        if extent > count:
            starts = np.linspace(0, extent, count, endpoint=False).astype(np.intp)
            blocks = np.maximum.reduceat(blocks, starts, axis=axis)
    return blocks


def error_map(blocks: NDArray[np.float64], rows: int, width: int) -> list[Line]:
    """Light where the error is allowed, darker with its order of magnitude elsewhere.

    Args:
        blocks: (rows, columns), the worst error of each block as a multiple of its floor; not finite
            where a NaN or an Inf is wrong.
        rows: Lines that there are at most.
        width: Cells in a line.
    """
    picture = folded(blocks, rows, min(width, WIDEST))
    over = np.where(np.isfinite(picture), np.log10(np.maximum(np.nan_to_num(picture), 1.0)), np.inf)
    deepest = max(float(over[np.isfinite(over)].max(initial=0.0)), 1e-9)
    stretch = max(min(width, WIDEST) // picture.shape[1], 1)
    down = max(rows // picture.shape[0], 1) if picture.shape[0] > 1 else 1
    content: list[Line] = []
    for values, depths in zip(picture, over, strict=True):
        line: Line = []
        for value, depth in zip(values, depths, strict=True):
            if value <= 1.0:
                line.append((WITHIN * stretch, theme.DIM))
            else:
                shade = SHADES[min(int(depth / deepest * len(SHADES)), len(SHADES) - 1)] if depth < np.inf else "█"
                line.append((shade * stretch, theme.FAILED))
        content += [line] * min(down, 2)
    return content


def histogram(decades: Mapping[int, int], width: int, rows: int, *, equal: int, allowed: float) -> list[Line]:
    """How many elements have an error of which order of magnitude.

    Heights are logarithmic: one wild element among a million is to be seen. A bar `│` stands behind
    the decade that the floor lies in.

    Args:
        decades: How many errors are in [10**k, 10**(k + 1)), by k.
        width: Cells in a line.
        rows: Lines that there are at most; with few, one line is all.
        equal: How many elements do not differ at all.
        allowed: The floor, to mark the decade that it lies in.
    """
    counts = {decade: count for decade, count in decades.items() if count}
    if not counts:
        return []
    first, last = min(counts), max(counts)
    span = range(first, last + 1)
    most = max(math.log10(count) + 1 for count in counts.values())
    marked = math.floor(math.log10(allowed)) if allowed > 0 else None
    # What is far below the floor shares one line where there is no room for all.
    lowest = max(first, last - rows + 2)
    if rows >= TALL_FROM and (lowest == first or (marked is not None and lowest <= marked)):
        below = sum(count for decade, count in counts.items() if decade <= lowest)
        most = max(most, math.log10(max(below, 1)) + 1)
        heading: Line = [("elements by |error|", theme.DIM), (f"   {equal:,} are equal" if equal else "", theme.DIM)]
        content = [heading, _decade(lowest, below, width, most, marked, sign="≤" if lowest > first else "")]
        return content + [_decade(at, counts.get(at, 0), width, most, marked) for at in range(lowest + 1, last + 1)]
    bars: Line = []
    for decade in span:
        count = counts.get(decade, 0)
        height = math.ceil((math.log10(count) + 1) / most * len(EIGHTHS)) if count else 0
        beyond = marked is not None and decade > marked
        bars.append((EIGHTHS[height - 1] if height else " ", theme.FAILED if beyond else theme.TEXT))
        if decade == marked and decade < last:
            bars.append(("│", theme.DIM))
    return [[("|error| ", theme.DIM), (f"1e{first:+03d} ", theme.DIM), *bars, (f" 1e{last + 1:+03d}", theme.DIM)]]


def _decade(decade: int, count: int, width: int, most: float, marked: int | None, *, sign: str = "") -> Line:
    """One line of a tall histogram; with a sign before it, of that decade and those below."""
    number, tail = f" {count:,}" if count else "", " ← floor" if decade == marked else ""
    room = max(width - 7 - len(number) - len(tail), 4)
    filled = math.ceil((math.log10(count) + 1) / most * room) if count else 0
    style = theme.FAILED if marked is not None and decade > marked else theme.PASSED
    label = (f"{sign}1e{decade:+03d}".ljust(7), theme.DIM)
    return lines.cut([label, ("█" * filled, style), (number, theme.TEXT), (tail, theme.DIM)], width)
