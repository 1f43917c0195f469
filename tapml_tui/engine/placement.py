"""Where each node of a graph runs: a backend id, and where wanted a kernel id of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

REFERENCE = "reference"
"""The backend id that forces the recorded value."""


class Placement:
    """The backend of every node of one graph, with undo.

    Attributes:
        backend_ids: What the entries of `backend` index.
        backend: u1 per node. Shared with the tables that show it.
        kernels: Kernel ids of nodes that have one of their own.
    """

    def __init__(self, nodes: int, backend_ids: Sequence[str], initial: str) -> None:
        """Every node on the backend `initial`."""
        self.backend_ids = tuple(backend_ids)
        self.backend = np.full(nodes, self.backend_ids.index(initial), np.uint8)
        self.kernels: dict[int, str] = {}
        self._history: list[tuple[int, np.ndarray, dict[int, str]]] = []

    def of(self, node: int) -> str:
        """The backend id of a node."""
        return self.backend_ids[int(self.backend[node])]

    def put(self, start: int, stop: int, backend_id: str, kernel: str | None = None) -> bool:
        """Put [start, stop) on a backend; whether that changes anything.

        Args:
            start: First node.
            stop: Behind the last one.
            backend_id: Where.
            kernel: A kernel of their own there; None: the one that all units of a signature share.

        Raises:
            ValueError: For a range outside of the graph or a backend that does not exist.
        """
        if backend_id not in self.backend_ids:
            raise ValueError(f"there is no backend {backend_id!r}, only {', '.join(self.backend_ids)}")
        if not 0 <= start < stop <= len(self.backend):
            raise ValueError(f"there are no nodes [{start}, {stop}): the graph has {len(self.backend)}")
        index = self.backend_ids.index(backend_id)
        before = self.backend[start:stop].copy()
        kernels = dict.fromkeys(range(start, stop), kernel) if kernel is not None else {}
        if bool((before == index).all()) and self._kernels(start, stop) == kernels:
            return False
        self._history.append((start, before, self._kernels(start, stop)))
        self.backend[start:stop] = index
        self._replace_kernels(start, stop, kernels)
        return True

    def assign(self, backend: np.ndarray, *, remember: bool = True) -> bool:
        """Put every node where `backend` says, on shared kernels; whether that changes anything.

        `remember`: whether `undo` takes it back.
        """
        if bool((self.backend == backend).all()) and not self.kernels:
            return False
        if remember:
            self._history.append((0, self.backend.copy(), dict(self.kernels)))
        self.backend[:] = backend
        self.kernels.clear()
        return True

    def forget_history(self) -> None:
        """What was done so far cannot be undone."""
        self._history.clear()

    def undo(self) -> tuple[int, int] | None:
        """Take the last change back; the range that it had changed, or None if there is none."""
        if not self._history:
            return None
        start, before, kernels = self._history.pop()
        stop = start + len(before)
        self.backend[start:stop] = before
        self._replace_kernels(start, stop, kernels)
        return start, stop

    def _kernels(self, start: int, stop: int) -> dict[int, str]:
        return {node: kernel for node, kernel in self.kernels.items() if start <= node < stop}

    def _replace_kernels(self, start: int, stop: int, kernels: Mapping[int, str]) -> None:
        for node in self._kernels(start, stop):
            del self.kernels[node]
        self.kernels.update(kernels)
