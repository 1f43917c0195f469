"""The outline: folds and nodes in pre-order, as one table.

A fold is a maximal contiguous run of nodes under one path inside its parent fold. Only folds that
say something are made: one that holds a single node is that node, and one that holds exactly what
another holds is that other, under the longer path. So there are fewer folds than nodes, whatever
the paths are. In terms of the nodes' paths in order, they are the intervals of the array of
longest common prefixes (Abouelhoda, Kurtz, Ohlebusch 2004, "lcp-intervals"), found with one stack.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from trace_format import limits
from trace_format.errors import IndexInvalid, LimitExceeded

# `prefix`: how many bytes of the path of the first node in it a row and those above it show.
ENTRY = np.dtype(
    {
        "names": ["fold", "depth", "parent", "size", "start", "stop", "prefix"],
        "formats": ["?", "<u2", "<i4", "<u4", "<u4", "<u4", "<u4"],
        "offsets": [0, 2, 4, 8, 12, 16, 20],
        "itemsize": 24,
    }
)
Outline = npt.NDArray[np.void]


def path_parts(path: str) -> tuple[str, ...]:
    """The levels of a path. A number stays with the name before it: `layers.0` is one level.

    Raises:
        LimitExceeded: If there are too many.
    """
    parts: list[str] = []
    if path:
        named = False
        for piece in path.split("."):
            if named and piece.isdecimal():
                parts[-1] += "." + piece
                named = False
            else:
                parts.append(piece)
                named = not piece.isdecimal()
    if len(parts) > limits.MAX_PATH_DEPTH:
        raise LimitExceeded(f"a path has {len(parts)} levels, the limit is {limits.MAX_PATH_DEPTH}")
    return tuple(parts)


def part_ends(parts: tuple[str, ...]) -> list[int]:
    """Where each level of a path ends in it, in bytes of UTF-8."""
    ends, at = [], -1
    for part in parts:
        at += 1 + len(part.encode())
        ends.append(at)
    return ends


def build_outline(path_of: Sequence[int], parts: Sequence[tuple[str, ...]]) -> Outline:
    """The outline of nodes in execution order.

    Args:
        path_of: For every node the index of its path.
        parts: For every path its levels.
    """
    nodes = len(path_of)
    folds = _intervals(path_of, parts)
    start, level, stop = (np.array(column, np.int64) for column in zip(*folds, strict=True))
    order = np.lexsort((level, start))
    start, level, stop = start[order], level[order], stop[order]

    rank = np.arange(len(start))
    inside = np.searchsorted(start, stop, "left") - rank  # folds within, itself included
    inside[0] = len(start)
    rows = np.zeros(nodes + len(start), ENTRY)
    fold_row = start + rank
    node_row = np.arange(nodes) + np.searchsorted(start, np.arange(nodes), "right")
    rows["fold"][fold_row] = True
    rows["start"][fold_row], rows["stop"][fold_row] = start, stop
    rows["size"][fold_row] = stop - start + inside
    rows["start"][node_row], rows["stop"][node_row] = np.arange(nodes), np.arange(1, nodes + 1)
    rows["size"][node_row] = 1
    ends = [part_ends(levels) for levels in parts]
    rows["prefix"][fold_row] = [
        ends[path_of[first]][deep - 1] if deep else 0
        for first, deep in zip(start.tolist(), level.tolist(), strict=True)
    ]
    _set_parents(rows)
    return rows


def _intervals(path_of: Sequence[int], parts: Sequence[tuple[str, ...]]) -> list[tuple[int, int, int]]:
    """(start, levels shown, stop) of every fold; the root holds everything."""
    known: dict[tuple[int, int], int] = {}
    open_folds = [(0, 0)]
    found = []
    for node in range(1, len(path_of)):
        pair = (path_of[node - 1], path_of[node])
        shared = known.get(pair)
        if shared is None:
            shared = known[pair] = _common(parts[pair[0]], parts[pair[1]])
        start = node - 1
        while open_folds[-1][1] > shared:
            start, level = open_folds.pop()
            found.append((start, level, node))
        if open_folds[-1][1] < shared:
            open_folds.append((start, shared))
    found += [(start, level, len(path_of)) for start, level in open_folds]
    return found


def _common(a: tuple[str, ...], b: tuple[str, ...]) -> int:
    if a == b:
        return len(a)
    for level, (x, y) in enumerate(zip(a, b, strict=False)):
        if x != y:
            return level
    return min(len(a), len(b))


def _set_parents(rows: Outline) -> None:
    ends = (np.arange(len(rows)) + rows["size"]).tolist()
    is_fold = rows["fold"].tolist()
    prefixes = rows["prefix"].tolist()
    parent, depth = [-1] * len(rows), [0] * len(rows)
    above: list[int] = []
    for row, end in enumerate(ends):
        while above and ends[above[-1]] <= row:
            above.pop()
        if above:
            parent[row], depth[row] = above[-1], len(above)
            if not is_fold[row]:
                prefixes[row] = prefixes[above[-1]]
        if is_fold[row] and end > row:
            above.append(row)
    rows["parent"], rows["depth"], rows["prefix"] = parent, depth, prefixes


def check_outline(rows: Outline, nodes: int) -> None:
    """Check that the table is a tree in pre-order with every node in it once, in order.

    Raises:
        IndexInvalid: If it is not.
    """
    count = len(rows)
    if not nodes <= count <= 2 * nodes + 1 or count == 0:
        raise IndexInvalid("the outline has an impossible number of entries")
    fold = rows["fold"].view(np.uint8) != 0
    row = np.arange(count, dtype=np.int64)
    depth, parent = rows["depth"].astype(np.int64), rows["parent"].astype(np.int64)
    size, start, stop = (rows[name].astype(np.int64) for name in ("size", "start", "stop"))
    end = row + size
    if not (fold[0] and parent[0] == -1 and depth[0] == 0 and end[0] == count):
        raise IndexInvalid("the outline has no root")
    up = parent[1:]
    if np.any(up < 0) or np.any(up >= row[1:]) or np.any(size < 1):
        raise IndexInvalid("the outline's parents do not come before their children")
    by_depth = np.argsort(depth, kind="stable")
    same = depth[by_depth][:-1] == depth[by_depth][1:]
    before = np.cumsum(~fold)
    wrong: Any = (
        np.any(depth[1:] != depth[up] + 1)
        or np.any(end[1:] > end[up])
        or np.any((end[by_depth][:-1] > by_depth[1:]) & same)
        or np.any((size == 1) & fold & (nodes > 0))
        or np.any((size != 1) & ~fold)
        or before[-1] != nodes
        or np.any(start != before - ~fold)
        or np.any(stop != before[end - 1])
    )
    if wrong:
        raise IndexInvalid("the outline is not a tree over the nodes in order")
