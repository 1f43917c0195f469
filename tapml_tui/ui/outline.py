"""Which rows of the outline are on the screen: folding, over 150 000 entries in a millisecond.

The outline of a graph is one structured array in pre-order (see `trace_format`). What is
visible follows from it and from the set of closed folds with a difference array and a
cumulative sum, so that opening or closing anything costs the same, however much it hides.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from trace_format import Graph

KEPT_FOLDS = 1000
"""How many closed folds a session keeps: more are no choice of a person."""


class Outline:
    """The rows of one graph under a set of closed folds.

    Attributes:
        graph: Where labels and operators come from.
        visible: Entries that have a row, ascending (int32).
        closed: Which folds are closed, one bool per entry.
    """

    def __init__(self, graph: Graph) -> None:
        """Copy the columns that are read often out of the mapped table; only the root is open."""
        self.graph = graph
        table = graph.outline
        self.fold: NDArray[np.bool_] = table["fold"].astype(bool)
        self.depth: NDArray[np.int32] = table["depth"].astype(np.int32)
        self.size: NDArray[np.int32] = table["size"].astype(np.int32)
        self.parent: NDArray[np.int32] = table["parent"].astype(np.int32)
        self.start: NDArray[np.int32] = table["start"].astype(np.int32)
        self.stop: NDArray[np.int32] = table["stop"].astype(np.int32)
        self.closed: NDArray[np.bool_] = self.fold.copy()
        self.closed[:1] = False
        self.visible: NDArray[np.int32] = np.zeros(0, np.int32)
        self._update()

    def __len__(self) -> int:
        """How many rows are visible."""
        return len(self.visible)

    def _update(self) -> None:
        """Entries under no closed fold: each closed fold adds one over the span of its descendants."""
        count = len(self.size)
        closed = np.flatnonzero(self.closed)
        steps = np.zeros(count + 1, np.int32)
        steps[closed + 1] = 1
        steps -= np.bincount(closed + self.size[closed], minlength=count + 1).astype(np.int32)
        self.visible = np.flatnonzero(np.cumsum(steps[:count]) == 0).astype(np.int32)

    def row_of(self, entry: int) -> int:
        """The row of an entry, or of the outermost closed fold that hides it."""
        row = int(np.searchsorted(self.visible, entry, side="right")) - 1
        return max(row, 0)

    def label(self, entry: int) -> str:
        """What a row calls its own entry: the path of a fold, or the operator of a node."""
        return self.graph.outline_label(entry)

    def place(self, entry: int) -> str:
        """The part of a node's path that the folds above it do not show, or ""."""
        if self.fold[entry]:
            return ""
        return self.graph.outline_detail(entry)

    def parent_entry(self, entry: int) -> int | None:
        """The fold around an entry, or None at the root."""
        above = int(self.parent[entry])
        return above if above >= 0 else None

    def set_closed(self, entry: int, closed: bool) -> bool:
        """Close or open one fold; returns whether that changed anything."""
        if not self.fold[entry] or bool(self.closed[entry]) == closed:
            return False
        self.closed[entry] = closed
        self._update()
        return True

    def set_closed_under(self, entry: int, closed: bool) -> None:
        """Close or open a fold and every fold in it."""
        span = slice(entry, entry + int(self.size[entry]))
        self.closed[span] = self.fold[span] & closed
        self._update()

    def reveal(self, entry: int) -> bool:
        """Open every fold above an entry; returns whether that changed anything."""
        return self._open(above for above in self._ancestors(entry) if self.closed[above])

    def reveal_cursor(self, node: int) -> bool:
        """Open what hides a node, but not a fold that begins with it: `n` may step over that."""
        if not 0 <= node < len(self.graph):
            return False
        above = self._ancestors(self.graph.entry_of(node))
        return self._open(fold for fold in above if self.start[fold] < node and self.closed[fold])

    def _ancestors(self, entry: int) -> Iterator[int]:
        above = int(self.parent[entry])
        while above >= 0:
            yield above
            above = int(self.parent[above])

    def _open(self, folds: Iterable[int]) -> bool:
        opened = list(folds)
        self.closed[opened] = False
        if opened:
            self._update()
        return bool(opened)

    def entry_shown(self, node: int) -> int:
        """The visible entry that stands for a node: its own, or the outermost closed fold over it."""
        return int(self.visible[self.row_of(self.graph.entry_of(node))])

    def closed_paths(self) -> tuple[str, ...]:
        """Paths of the closed folds that have a row; what is inside of them is closed when they are restored."""
        rows = self.visible[self.closed[self.visible]]
        return tuple(self.graph.outline_path(int(entry)) for entry in rows[:KEPT_FOLDS])

    def restore(self, paths: Iterable[str]) -> None:
        """Open everything but the folds with these paths, and what is inside of them."""
        closed = frozenset(paths)
        self.closed[:] = self.fold
        hidden_until = 0
        for entry in np.flatnonzero(self.fold).tolist():
            if entry < hidden_until:
                continue
            if entry and self.graph.outline_path(entry) in closed:
                hidden_until = entry + int(self.size[entry])
            else:
                self.closed[entry] = False
        self._update()

    def fit(self, rows: int, node: int) -> None:
        """Open whole levels as long as the result fits on a screen of `rows` rows.

        Where that leaves the screen mostly empty, the way to `node` is opened as well, however
        many rows that makes. The root is always open.
        """
        per_depth = np.cumsum(np.bincount(self.depth))
        depth = max(int(np.searchsorted(per_depth, rows, side="right")) - 1, 1)
        self.closed = self.fold & (self.depth >= depth)
        self._update()
        if len(self) < rows // 2 and node < len(self.graph):
            for fold in reversed(list(self._ancestors(self.graph.entry_of(node)))):
                if len(self) < rows // 2:
                    self._open([fold])
