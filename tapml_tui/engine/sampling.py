"""What is looked at of a value that is too large to be fetched: some of its rows, gathered where they lie.

A value above the fetch limit stays on its backend. Right behind the unit that computes it the backend is asked for a
stratified sample: the first and the last row, those at the edges of tiles, and one at random out of each of as many
equal parts as there is room for. The rows are copied together by a kernel, so that only they cross the line, in two
round trips; a window of a remote tensor cannot be copied without one (TVM ignores its offset). Should all of the value
be asked for, it comes in the same way, piece by piece, with progress, and can be cancelled between two pieces.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tapml_tui.backends.protocol import Call, CallResult, TensorSpec, Unit, UnitInput
from trace_format.dtypes import item_size, numpy_dtype

SAMPLE = 2 << 20
"""Bytes of a sample, at most; the fetch limit where that is less."""

LEAST = 8
"""Rows of a sample, whatever that takes."""

PIECE = 1 << 20
"""Bytes that are fetched at a time: a second on a line of 1 MB/s, which is what a cancelled one takes."""

_ROW = 16 << 10  # bytes
_TILES = (8, 16, 32, 64, 128, 256)
_WORD = 4

Array = npt.NDArray[np.generic]
Numbers = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Layout:
    """A value as rows, one behind the other: `count` rows of `width` elements."""

    spec: TensorSpec
    count: int
    width: int

    @property
    def row_bytes(self) -> int:
        """Bytes of a row."""
        return self.width * item_size(self.spec.dtype)

    @property
    def words(self) -> TensorSpec:
        """The same bytes as a backend gathers them: in a type that every device can move."""
        if self.row_bytes % _WORD == 0:
            return TensorSpec("int32", (self.count, self.row_bytes // _WORD))
        return TensorSpec("uint8", (self.count, self.row_bytes))

    def gather(self, rows: int) -> Unit:
        """Copies `rows` rows together: inputs are the value, seen as `words`, and their numbers."""
        words = self.words
        call = Call("aten.index_select.default", (UnitInput(0), 0, UnitInput(1)))
        out = TensorSpec(words.dtype, (rows, words.shape[1]))
        return Unit((call,), (words, TensorSpec("int32", (rows,))), (out,), (CallResult(0),))

    def elements(self, words: Array) -> Array:
        """What was gathered, as (rows, width) elements."""
        return np.ascontiguousarray(words).view(numpy_dtype(self.spec.dtype)).reshape(-1, self.width)


def layout_of(spec: TensorSpec, *, whole: bool = False) -> Layout:
    """The rows of a value: along its last dimension, in parts where that is long; `whole`: of no certain dimension."""
    total = math.prod(spec.shape)
    along = total if whole or not spec.shape else spec.shape[-1]
    most = max(1, _ROW // item_size(spec.dtype))
    width = along if along <= most else next(size for size in range(most, 0, -1) if along % size == 0)
    return Layout(spec, total // width, width)


def sampled_rows(layout: Layout, fetch_limit: int) -> Numbers:
    """Numbers of the rows of a sample, ascending; the same ones whenever they are asked for."""
    room = max(LEAST, min(SAMPLE, fetch_limit) // layout.row_bytes)
    count = layout.count
    if count <= room:
        return np.arange(count, dtype=np.int32)
    edges = sorted(row for row in set(_edges(layout)) if 0 <= row < count)
    if len(edges) > room // 2:
        edges = [edges[i] for i in np.linspace(0, len(edges) - 1, room // 2).astype(int)]
    parts = np.linspace(0, count, room - len(edges) + 1).astype(np.int64)
    chosen = np.random.default_rng([count, layout.width]).integers(parts[:-1], np.maximum(parts[1:], parts[:-1] + 1))
    return np.unique(np.concatenate([np.array(edges, np.int64), chosen])).astype(np.int32)


def _edges(layout: Layout) -> list[int]:
    """First and last rows, and those on both sides of the edges of tiles, of the first and of the last matrix."""
    shape, count = layout.spec.shape, layout.count
    height = shape[-2] * (shape[-1] // layout.width) if len(shape) > 1 and layout.width <= shape[-1] else count
    found = [0, count - 1, height - 1, height]
    for start in (0, count - height):
        for tile in _TILES:
            tail = height // tile * tile  # where the last one, which may not be full, begins
            found += [start + tile - 1, start + tile, start + tail - 1, start + tail]
    return found


def pieces(layout: Layout) -> tuple[int, range]:
    """How many rows the pieces have that a whole value comes in, and their first rows; the last one may overlap."""
    rows = min(max(1, PIECE // layout.row_bytes), layout.count)
    return rows, range(0, layout.count, rows)
