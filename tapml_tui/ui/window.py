"""A window on two axes of a tensor: both sides and their difference around one element. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from tapml_tui.ui import numbers, theme
from tapml_tui.ui.lines import Line
from tapml_tui.ui.values import clamp, difference, same

Array: TypeAlias = "NDArray[np.generic]"
_Number: TypeAlias = complex | float | int | bool

CELL = 9  # cells of a number, with the space before it
LABEL = 6  # cells of the column that holds the name of a side or an index


@dataclass(frozen=True, slots=True)
class Axes:
    """The two axes that a window shows; -1 where the tensor has fewer."""

    row: int
    column: int


@dataclass(frozen=True, slots=True)
class Tile:
    """Elements around one.

    Attributes:
        shape: Of the whole tensor.
        position: Full index of the marked element.
        axes: What rows and columns run along.
        rows: Index of the first row.
        columns: Index of the first column.
        reference: Elements of the source, row by row.
        actual: Elements of the target.
    """

    shape: tuple[int, ...]
    position: tuple[int, ...]
    axes: Axes
    rows: int
    columns: int
    reference: tuple[tuple[_Number, ...], ...]
    actual: tuple[tuple[_Number, ...], ...]


def axes_of(shape: tuple[int, ...]) -> Axes:
    """The last two axes along which there is more than one element."""
    long = [axis for axis, extent in enumerate(shape) if extent > 1] or list(range(len(shape)))
    return Axes(long[-2] if len(long) > 1 else -1, long[-1] if long else -1)


def extent(height: int, width: int) -> tuple[int, int]:
    """How many rows and columns of elements fit: three tiles with a heading each, under two lines."""
    return max((height - 3) // 3 - 1, 1), max((width - LABEL) // CELL, 1)


def read(reference: Array, actual: Array, position: tuple[int, ...], rows: int, columns: int) -> Tile:
    """The elements around `position` (clamped into the tensor), of two arrays of one shape."""
    position = clamp(position, reference.shape)
    axes = axes_of(reference.shape)
    row, rows = _around(position, reference.shape, axes.row, rows)
    column, columns = _around(position, reference.shape, axes.column, columns)
    index: list[int | slice] = list(position)
    for axis, first, count in ((axes.row, row, rows), (axes.column, column, columns)):
        if axis >= 0:
            index[axis] = slice(first, first + count)
    one, other = (_plain(side[tuple(index)], rows, columns) for side in (reference, actual))
    return Tile(reference.shape, position, axes, row, column, one, other)


def _around(position: tuple[int, ...], shape: tuple[int, ...], axis: int, count: int) -> tuple[int, int]:
    """First index and number of elements along an axis, so that the marked one is in the middle."""
    if axis < 0:
        return 0, 1
    first = min(max(position[axis] - count // 2, 0), max(shape[axis] - count, 0))
    return first, min(count, shape[axis] - first)


def _plain(part: Array, rows: int, columns: int) -> tuple[tuple[_Number, ...], ...]:
    part = np.asarray(part).reshape(rows, columns)
    if part.dtype.kind not in "biufc":  # ml_dtypes: bfloat16, fp8, int4
        part = part.astype(np.float32)
    return tuple(map(tuple, part.tolist()))


def moved(position: tuple[int, ...], axis: int, by: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The position `by` elements on along an axis, inside the tensor."""
    if axis < 0:
        return position
    return clamp((*position[:axis], position[axis] + by, *position[axis + 1 :]), shape)


def draw(tile: Tile, width: int) -> list[Line]:
    """The index with its two axes marked, then source, target and difference, each with the indices of both axes."""
    index: Line = [("at [", theme.DIM)]
    for axis, at in enumerate(tile.position):
        marked = axis in (tile.axes.row, tile.axes.column)
        index.append((f"‹{at}›" if marked else f"{at}", theme.KEY if marked else theme.TEXT))
        index.append((", " if axis < len(tile.position) - 1 else "", theme.DIM))
    names = "  ".join(
        f"{arrow} axis {axis}" for arrow, axis in (("↓", tile.axes.row), ("→", tile.axes.column)) if axis >= 0
    )
    content = [[*index, ("]", theme.DIM)], [(names, theme.DIM)]]
    errors = tuple(
        tuple(None if same(r, a) else difference(r, a) for r, a in zip(one, other, strict=True))
        for one, other in zip(tile.reference, tile.actual, strict=True)
    )
    for name, style, elements in (
        ("source", theme.SOURCE, tile.reference),
        ("target", theme.TARGET, tile.actual),
        ("diff", theme.STRONG, errors),
    ):
        content += _block(tile, name, style, elements)
    return content


def _block(tile: Tile, name: str, style: object, elements: tuple[tuple[_Number | None, ...], ...]) -> list[Line]:
    column_at = tile.position[tile.axes.column] if tile.axes.column >= 0 else 0
    row_at = tile.position[tile.axes.row] if tile.axes.row >= 0 else 0
    heads: Line = [(name.ljust(LABEL), style)]  # type: ignore[list-item]
    for i in range(len(elements[0])):
        at = tile.columns + i
        shown = str(at) if tile.axes.column >= 0 else ""
        heads.append((shown.rjust(CELL), theme.CURSOR if at == column_at else theme.DIM))
    content = [heads]
    for j, row in enumerate(elements):
        at = tile.rows + j
        here = at == row_at
        label = str(at) if tile.axes.row >= 0 else ""
        line: Line = [
            ((theme.CURSOR_MARK if here else " ") + label.rjust(LABEL - 1), theme.CURSOR if here else theme.DIM)
        ]
        for i, value in enumerate(row):
            text = "=" if value is None else numbers.narrow(value, CELL - 1)
            marked = here and tile.columns + i == column_at
            own = theme.DIM if value is None else theme.FAILED if name == "diff" else theme.TEXT
            line += [(" " * (CELL - len(text)), theme.PLAIN), (text, own + theme.REVERSE if marked else own)]
        content.append(line)
    return content
