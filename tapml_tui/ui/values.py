"""Values of tensors as text: a summary, and a window along one axis. Pure, on numpy views."""

from __future__ import annotations

import cmath
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tapml_tui.ui import numbers, theme
from tapml_tui.ui.lines import Line

SUMMARY_LIMIT = 4 << 20  # elements that a summary reads; more says "of"


@dataclass(frozen=True, slots=True)
class Summary:
    """What is known of a tensor without looking at single elements. `seen` of `total` were read."""

    dtype: str
    shape: tuple[int, ...]
    low: float | None
    high: float | None
    nan: int
    inf: int
    seen: int
    total: int


@dataclass(frozen=True, slots=True)
class Window:
    """Elements along one axis.

    Attributes:
        position: Full index of the marked element.
        axis: The axis that the window runs along, -1 for a scalar.
        first: Index along the axis of the first element shown.
        reference: Source's elements, or None if there are none.
        actual: Target's elements, or None.
    """

    position: tuple[int, ...]
    axis: int
    first: int
    reference: tuple[float | int | bool | complex, ...] | None
    actual: tuple[float | int | bool | complex, ...] | None


def summarise(array: NDArray[np.generic]) -> Summary:
    """Range and counts over at most `SUMMARY_LIMIT` elements, read from the front."""
    flat = array.reshape(-1)[:SUMMARY_LIMIT]
    low = high = None
    nan = inf = 0
    if flat.size and flat.dtype != bool and not np.iscomplexobj(flat):
        if np.issubdtype(flat.dtype, np.integer):
            low, high = float(flat.min()), float(flat.max())
        else:
            wide = flat.astype(np.float32) if flat.dtype.itemsize < 4 else flat
            finite = np.isfinite(wide)
            nan, inf = int(np.isnan(wide).sum()), int(np.isinf(wide).sum())
            if finite.any():
                low = float(np.min(wide, where=finite, initial=np.inf))
                high = float(np.max(wide, where=finite, initial=-np.inf))
    return Summary(str(array.dtype), array.shape, low, high, nan, inf, int(flat.size), int(array.size))


def clamp(position: Sequence[int], shape: tuple[int, ...]) -> tuple[int, ...]:
    """A valid index nearest to a position that may belong to a tensor of another rank."""
    padded = [0] * max(len(shape) - len(position), 0) + list(position)[-len(shape) :] if shape else []
    return tuple(min(max(p, 0), max(s - 1, 0)) for p, s in zip(padded, shape, strict=True))


def read_window(
    reference: NDArray[np.generic] | None,
    actual: NDArray[np.generic] | None,
    position: tuple[int, ...],
    axis: int,
    count: int,
) -> Window:
    """At most `count` elements around `position` along `axis`, of both sides."""
    shaped = reference if reference is not None else actual
    shape = shaped.shape if shaped is not None else ()
    position = clamp(position, shape)
    if not shape or 0 in shape:
        one = not shape
        return Window(position, -1, 0, _take(reference, ()) if one else (), _take(actual, ()) if one else ())
    axis = min(max(axis, 0), len(shape) - 1)
    extent = shape[axis]
    first = min(max(position[axis] - count // 2, 0), max(extent - count, 0))
    index: tuple[int | slice, ...] = (*position[:axis], slice(first, first + count), *position[axis + 1 :])
    same = actual is None or actual.shape == shape
    return Window(position, axis, first, _take(reference, index), _take(actual, index) if same else None)


def _take(
    array: NDArray[np.generic] | None, index: tuple[int | slice, ...]
) -> tuple[float | int | bool | complex, ...] | None:
    if array is None:
        return None
    part = np.atleast_1d(array[index])
    if part.dtype.kind not in "biufc":  # ml_dtypes: bfloat16, fp8, int4
        part = part.astype(np.float32)
    return tuple(part.tolist())


def describe(summary: Summary, *, name: str) -> list[Line]:
    """A summary in one or two lines."""
    style = theme.SOURCE if name == "source" else theme.TARGET
    content: list[Line] = [[(f"{name:<7}", style)]]
    if summary.low is not None and summary.high is not None:
        span = f"{numbers.number(summary.low)} … {numbers.number(summary.high)}"
        content[0].append((span, theme.TEXT))
    elif not summary.total:
        content[0].append(("empty", theme.DIM))
    bad = [f"{count} {word}" for count, word in ((summary.nan, "NaN"), (summary.inf, "Inf")) if count]
    if bad:
        content[0].append(("  " + ", ".join(bad), theme.FAILED))
    if summary.seen < summary.total:
        content.append([(f"       range of {summary.seen:,} of {summary.total:,}", theme.DIM)])
    return content


def draw(window: Window, width: int) -> list[Line]:
    """The window: the index with its marked axis, then an element per line, both sides, difference."""
    index: Line = [("[", theme.DIM)]
    for axis, at in enumerate(window.position):
        marked = axis == window.axis
        index.append((f"{at}" if not marked else f"‹{at}›", theme.KEY if marked else theme.TEXT))
        index.append((", " if axis < len(window.position) - 1 else "", theme.DIM))
    index.append(("]", theme.DIM))
    sides = [side for side in (window.reference, window.actual) if side is not None]
    count = max(map(len, sides), default=0)
    both = len(sides) == 2
    label = max(len(str(window.first + count)), 3)
    column = min(max((width - label - 2) // (3 if both else 2), 9), 16)
    heads: Line = [(" " * (label + 1), theme.DIM)]
    for side, name, style in (
        (window.reference, "source", theme.SOURCE),
        (window.actual, "target", theme.TARGET),
    ):
        if side is not None:
            heads.append((name.rjust(column), style))
    if both:
        heads.append(("diff".rjust(column), theme.DIM))
    return [index, heads, *(_element(window, i, label, column) for i in range(count))]


def _element(window: Window, i: int, label: int, column: int) -> Line:
    at = window.first + i
    marked = window.axis < 0 or at == window.position[window.axis]
    name = "" if window.axis < 0 else str(at)
    line: Line = [((theme.CURSOR_MARK if marked else " ") + name.rjust(label), theme.CURSOR if marked else theme.DIM)]
    pair = [side[i] for side in (window.reference, window.actual) if side is not None]
    differ = len(pair) == 2 and not same(*pair)
    for value in pair:
        line.append((numbers.narrow(value, column - 1).rjust(column), theme.STRONG if marked else theme.TEXT))
    if len(pair) == 2:
        text = "=" if not differ else numbers.narrow(difference(pair[0], pair[1]), column - 1)
        line.append((text.rjust(column), theme.FAILED if differ else theme.DIM))
    return line


def same(reference: complex, actual: complex) -> bool:
    """Whether two elements are equal; NaN is NaN."""
    return reference == actual or (cmath.isnan(reference) and cmath.isnan(actual))


def difference(reference: complex, actual: complex) -> complex | float:
    """Actual minus reference; of bools as numbers."""
    if isinstance(reference, bool):
        return float(actual) - float(reference)  # type: ignore[arg-type]
    return actual - reference
