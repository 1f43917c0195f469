"""Where in a tensor the error sits: the largest error of each block, as a picture of few elements."""

from __future__ import annotations

import math

import numpy as np

from tapml_tui.compare.chunks import Array

_WIDEST = 1 << 16
"""Up to here, the largest error of each column is kept and folded at the end; wider rows are folded as they come."""
_NARROW = 64
"""Below, columns are turned to rows first: the largest of each of many short rows takes long."""


class BlockMap:
    """The last axis of a tensor against all others, each cut into blocks of about equal size."""

    def __init__(self, shape: tuple[int, ...], rows: int, columns: int) -> None:
        """A map of at most `rows` x `columns` blocks."""
        self.axes = tuple(range(len(shape) - 1)), tuple(range(len(shape)))[-1:]
        self._size = math.prod(shape)
        self._width = shape[-1] if shape else 1
        self._height = self._size // max(self._width, 1)
        self._rows, self._columns = _starts(self._height, rows), _starts(self._width, columns)
        self._folded = self._width > _WIDEST
        across = self._columns.size if self._folded else self._width
        self._largest = np.zeros((self._rows.size, across))

    def add(self, start: int, error: Array) -> None:
        """A chunk of errors, whose first element has the flat index `start`."""
        position, width = 0, self._width
        while position < error.size:
            row, column = divmod(start + position, width)
            band = int(np.searchsorted(self._rows, row, side="right")) - 1
            left = error.size - position
            if column == 0 and left >= width and not self._folded:
                end = int(self._rows[band + 1]) if band + 1 < self._rows.size else self._height
                count = min(left // width, end - row)
                part = error[position : position + count * width].reshape(count, width)
                largest = part.max(axis=0) if width >= _NARROW else np.ascontiguousarray(part.T).max(axis=1)
                np.maximum(self._largest[band], largest, out=self._largest[band])
                position += count * width
                continue
            stop = min(width, column + left)
            part = error[position : position + stop - column]
            if self._folded:
                self._fold(band, column, part)
            else:
                np.maximum(self._largest[band, column:stop], part, out=self._largest[band, column:stop])
            position += stop - column

    def _fold(self, band: int, column: int, part: Array) -> None:
        first = int(np.searchsorted(self._columns, column, side="right")) - 1
        inside = self._columns[first + 1 : int(np.searchsorted(self._columns, column + part.size))]
        largest = np.maximum.reduceat(part, [0, *(inside - column)])
        row = self._largest[band, first : first + largest.size]
        np.maximum(row, largest, out=row)

    def result(self) -> Array | None:
        """(rows, columns) in float64, None for fewer than two elements."""
        if self._size < 2:
            return None
        return self._largest.copy() if self._folded else np.maximum.reduceat(self._largest, self._columns, axis=1)


def _starts(extent: int, count: int) -> Array:
    return np.unique(np.linspace(0, extent, max(1, min(count, extent)), endpoint=False).astype(np.intp))
