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
        beside_status: Of several targets, [target, node]: how each did, a u1 index into `STATUSES`.
        beside_factor: Likewise, f4; NaN where a target has not judged a node.
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
        self.letters = side_letters(backend_ids)
        targets = len(targets_beside(backend_ids))
        self.beside_status = np.zeros((targets, nodes), np.uint8)
        self.beside_factor = np.full((targets, nodes), np.nan, np.float32)

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

    def bad(self, start: int, stop: int | None) -> list[int]:
        """Which of the nodes [start, stop) failed, erred or are unsupported."""
        bad = [STATUSES.index(one) for one in (Status.UNSUPPORTED, Status.FAILED, Status.ERROR)]
        return [start + int(node) for node in np.flatnonzero(np.isin(self.status[start:stop], bad))]

    def record(self, node: int, status: Status, verdict: Verdict, factor: float) -> None:
        """Write a result down; the node is no longer stale."""
        self.status[node] = STATUSES.index(status)
        self.verdict[node] = VERDICTS.index(verdict)
        with np.errstate(over="ignore"):  # beyond float32 is infinitely many
            self.factor[node] = factor
        self.flags[node] &= ~STALE & 0xFF

    def record_beside(self, target: int, node: int, status: Status, factor: float) -> None:
        """Write down how a node did on one of several targets."""
        self.beside_status[target, node] = STATUSES.index(status)
        with np.errstate(over="ignore"):
            self.beside_factor[target, node] = factor

    def beside_worst(self, target: int, start: int, stop: int) -> tuple[Status, float]:
        """How nodes [start, stop) did on one of several targets: the most severe status, the largest factor or NaN."""
        factors = self.beside_factor[target, start:stop]
        worst = STATUSES[int(self.beside_status[target, start:stop].max())]
        return worst, float("nan") if bool(np.isnan(factors).all()) else float(np.nanmax(factors))

    def count(self) -> dict[Status, int]:
        """How many nodes have each status."""
        counts = np.bincount(self.status, minlength=len(STATUSES))
        return {status: int(number) for status, number in zip(STATUSES, counts, strict=True)}


def side_letter(backend_id: str) -> str:
    """The letter of a backend on the screen: its initial."""
    return backend_id[:1].upper()


def side_letters(backend_ids: Sequence[str]) -> tuple[str, ...]:
    """The letters of all backends; several targets have the initials of their names, or numbers where these clash."""
    several = targets_beside(backend_ids)
    letters = [side_letter(name_of(one) if one in several else one) for one in backend_ids]

    def letter(backend_id: str) -> str:
        initial = letters[backend_ids.index(backend_id)]
        clashes = letters.count(initial) > 1 or initial in MIXED
        return str((several.index(backend_id) + 1) % 10) if backend_id in several and clashes else initial

    return tuple(letter(one) for one in backend_ids)


PREFIX = "target:"
"""How the ids of several targets begin; the name follows."""


def name_of(backend_id: str) -> str:
    """What the user calls one of several targets."""
    return backend_id.removeprefix(PREFIX)


def targets_beside(backend_ids: Sequence[str]) -> tuple[str, ...]:
    """The targets that can be seen beside each other; none if there is only one."""
    return tuple(one for one in backend_ids if one.startswith(PREFIX))
