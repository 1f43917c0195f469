"""Finding text in 100 000 nodes between two frames of a screen."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import NamedTuple

import numpy as np

from trace_format.index import I8, GraphIndex
from trace_format.tables import Strings


class _Found(NamedTuple):
    text: str
    entries: I8  # sorted


class Search:
    """Text search over the rows of an outline. The hits of the last text are kept."""

    def __init__(self, index: GraphIndex, rows_of_nodes: I8) -> None:
        """Do nothing yet."""
        self._index = index
        self._rows = rows_of_nodes
        self._found = _Found("", np.zeros(0, np.int64))

    @cached_property
    def _tables(self) -> tuple[_Haystack, ...]:
        i = self._index
        return tuple(_Haystack(strings) for strings in (i.ids, i.names, i.ops, i.paths))

    def next(self, text: str, entry: int, step: int) -> int | None:
        """See `Graph.search`."""
        if not text:
            return None
        if self._found.text != text:
            self._found = _Found(text, self._hits(text.encode(errors="replace").lower()))
        hits = self._found.entries
        if len(hits) == 0:
            return None
        if step > 0:
            return int(hits[int(np.searchsorted(hits, entry, "right")) % len(hits)])
        return int(hits[int(np.searchsorted(hits, entry, "left")) - 1])

    def _hits(self, needle: bytes) -> I8:
        ids, names, ops, paths = self._tables
        nodes = np.zeros(self._index.nodes, bool)
        nodes[ids.holding(needle)] = True
        nodes[names.holding(needle)] = True
        nodes |= np.isin(self._index.op_of, ops.holding(needle))
        return np.union1d(self._rows[nodes], self._folds(paths, needle))

    def _folds(self, paths: _Haystack, needle: bytes) -> I8:
        """Folds whose path holds the needle: it must end within what of the path the fold shows."""
        shortest = np.full(len(self._index.paths), np.iinfo(np.int64).max)
        for path, end in paths.hits(needle):
            shortest[path] = end
        rows = self._index.outline
        folds = np.flatnonzero(rows["fold"].view("u1"))
        if self._index.nodes == 0:
            return np.zeros(0, np.int64)
        path_of = self._index.path_of[rows["start"][folds]]
        found: I8 = folds[rows["prefix"][folds] >= shortest[path_of]]
        return found


class _Haystack:
    """A table of strings in lower case (ASCII letters), to be searched as one."""

    def __init__(self, strings: Strings) -> None:
        self._blob = strings.blob.tobytes().lower()
        self._ends: list[int] = strings.ends.tolist()
        self._sorted = strings.ends

    def hits(self, needle: bytes) -> Iterator[tuple[int, int]]:
        """(string, where in it the first occurrence ends) for every string that holds the needle."""
        ends, blob, length = self._ends, self._blob, len(needle)
        at, place = blob.find(needle), 0
        while at >= 0:
            place = _last_at_most(ends, at, place)
            if at + length <= ends[place + 1]:
                yield place, at + length - ends[place]
                at = blob.find(needle, ends[place + 1])
            else:
                at = blob.find(needle, at + 1)  # it reaches into the next string

    def holding(self, needle: bytes) -> list[int]:
        """The strings that hold the needle."""
        return [place for place, _ in self.hits(needle)]


def _last_at_most(ends: list[int], at: int, start: int) -> int:
    from bisect import bisect_right

    return bisect_right(ends, at, start) - 1
