"""What every row of the tree shows, as numpy columns: no Python object per node."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tapml_tui.compare.result import Status, Verdict

# Ordered by severity: the worst of a fold is the largest index.
STATUSES = (Status.NOT_RUN, Status.PASSED, Status.UNSUPPORTED, Status.FAILED, Status.ERROR)
VERDICTS = (Verdict.NONE, Verdict.CLEAN, Verdict.HEALED, Verdict.INHERITED, Verdict.AMPLIFIED, Verdict.LOCAL)

# Bits of `NodeTable.flags`.
STALE = 1
BREAKPOINT = 2

MIXED = "*"


class Worst(NamedTuple):
    """What a fold's row shows of its nodes.

    Attributes:
        status: The most severe one.
        factor: Largest error in noise floors.
        side: Letter of the backend, `MIXED` if they differ.
    """

    status: Status
    factor: float
    side: str


class NodeTable:
    """One entry per node of a graph, for one case and mode.

    Attributes:
        status: u1 index into `STATUSES`.
        verdict: u1 index into `VERDICTS`.
        backend: u1 index into `backend_ids`: where the node is placed.
        flags: u1 bits `STALE`, `BREAKPOINT`.
        factor: f4 worst error in noise floors.
        letters: Side letter of each backend.
    """

    def __init__(self, nodes: int, backend_ids: Sequence[str], backend: np.ndarray | None = None) -> None:
        """A table of nodes that have not run.

        Args:
            nodes: How many.
            backend_ids: What `backend` indexes.
            backend: The placement, shared with the owner of the graph; all zero by default.
        """
        self.status = np.zeros(nodes, np.uint8)
        self.verdict = np.zeros(nodes, np.uint8)
        self.backend = np.zeros(nodes, np.uint8) if backend is None else backend
        self.flags = np.zeros(nodes, np.uint8)
        self.factor = np.zeros(nodes, np.float32)
        self.letters = tuple(side_letter(backend_id) for backend_id in backend_ids)

    @property
    def columns(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What became of the nodes: status, verdict, factor."""
        return self.status, self.verdict, self.factor

    def __len__(self) -> int:
        """How many nodes."""
        return len(self.status)

    def worst(self, start: int, stop: int) -> Worst:
        """The summary of the nodes [start, stop), which must not be empty."""
        sides = self.backend[start:stop]
        first = int(sides[0])
        return Worst(
            status=STATUSES[int(self.status[start:stop].max())],
            factor=float(self.factor[start:stop].max()),
            side=self.letters[first] if bool((sides == first).all()) else MIXED,
        )

    def record(self, node: int, status: Status, verdict: Verdict, factor: float) -> None:
        """Write a result down; the node is no longer stale."""
        self.status[node] = STATUSES.index(status)
        self.verdict[node] = VERDICTS.index(verdict)
        with np.errstate(over="ignore"):  # beyond float32 is infinitely many
            self.factor[node] = factor
        self.flags[node] &= ~STALE & 0xFF

    def count(self) -> dict[Status, int]:
        """How many nodes have each status."""
        counts = np.bincount(self.status, minlength=len(STATUSES))
        return {status: int(number) for status, number in zip(STATUSES, counts, strict=True)}


def side_letter(backend_id: str) -> str:
    """The letter of a backend on the screen: its initial."""
    return backend_id[:1].upper()
