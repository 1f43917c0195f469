"""What a range of nodes is called in a sentence."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from trace_format import Graph


def name_of(graph: Graph, start: int, stop: int) -> str:
    """The id of one node; the path that the nodes [start, stop) are, with their number, where they are one."""
    if stop - start == 1:
        return graph.node_id(start)
    outline = graph.outline
    same = np.flatnonzero(outline["fold"].astype(bool) & (outline["start"] == start) & (outline["stop"] == stop))
    path = (graph.outline_path(int(same[0])) or "the model") if same.size else f"from {graph.node_id(start)} on"
    return f"{path}, {stop - start} operators"
