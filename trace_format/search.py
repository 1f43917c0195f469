"""Finding text in 100 000 nodes between two frames of a screen."""

from __future__ import annotations

from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from trace_format.index import I8, GraphIndex
from trace_format.tables import Strings

ABSENT = np.iinfo(np.int64).max


_SAMPLED = 61  # every 61st byte tells well enough which are rare


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
        nodes = ids.holding(needle) | names.holding(needle) | ops.holding(needle)[self._index.op_of]
        return np.union1d(self._rows[nodes], self._folds(paths, needle))

    def _folds(self, paths: _Haystack, needle: bytes) -> I8:
        """Folds whose path holds the needle: it must end within what of the path the fold shows."""
        rows = self._index.outline
        folds = np.flatnonzero(rows["fold"].view("u1"))
        if self._index.nodes == 0:
            return np.zeros(0, np.int64)
        ends = paths.first_ends(needle)[self._index.path_of[rows["start"][folds]]]
        found: I8 = folds[rows["prefix"][folds] >= ends]
        return found


class _Haystack:
    """A table of strings in lower case (ASCII letters), to be searched as one."""

    def __init__(self, strings: Strings) -> None:
        self._blob = np.frombuffer(strings.blob.tobytes().lower(), np.uint8)
        self._starts = strings.ends[:-1].astype(np.int64)
        self._stops = strings.ends[1:].astype(np.int64)
        self._frequency = np.bincount(self._blob[::_SAMPLED], minlength=256)

    def first_ends(self, needle: bytes) -> I8:
        """For every string where in it the first occurrence of the needle ends; `ABSENT` if there is none."""
        places = self._places(np.frombuffer(needle, np.uint8))
        following = np.append(places, ABSENT)[np.searchsorted(places, self._starts)]
        # One that reaches into the next string is none, and then there is no other in this one.
        fits = following <= self._stops - len(needle)
        found: I8 = np.where(fits, following + len(needle) - self._starts, ABSENT)
        return found

    def holding(self, needle: bytes) -> npt.NDArray[np.bool_]:
        """Whether each string holds the needle."""
        held: npt.NDArray[np.bool_] = self.first_ends(needle) != ABSENT
        return held

    def _places(self, needle: npt.NDArray[np.uint8]) -> I8:
        """Every place of the needle in the blob, by way of its rarest byte."""
        rarest = int(np.argmin(self._frequency[needle]))
        places: I8 = np.flatnonzero(self._blob == needle[rarest]) - rarest
        places = places[(places >= 0) & (places + len(needle) <= len(self._blob))]
        for offset, byte in enumerate(needle):
            places = places[self._blob[places + offset] == byte]
        return places
