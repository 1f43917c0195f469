"""Saying to the backends what will be executed soon, so that it is compiled ahead, in few modules."""

from __future__ import annotations

import time
from collections.abc import Mapping

from tapml_tui.backends.protocol import Backend, Operand, Unit
from tapml_tui.engine.session import Session

PREPARED_AHEAD = 2048
"""How many nodes are announced to the backends in advance."""

SLICE = 0.004
"""Seconds that announcing takes at a time: others have a turn before they would notice."""

STEP = 8
"""Nodes between two looks at the clock."""


class Announcer:
    """Announces each signature and each weight once to each backend, a little at a time.

    Reading 2048 nodes takes some tenths of a second, in which a key could not be answered.
    """

    def __init__(self, session: Session, backends: Mapping[str, Backend]) -> None:
        """Announce what `session` is going to ask of `backends`, by id."""
        self._session = session
        self._backends = backends
        self._next = self._until = 0
        self._announced: set[tuple[str, str]] = set()  # (backend, signature or key of a weight)

    def begin(self) -> None:
        """What will be executed soon is another: announce from the cursor on."""
        self._next = self._session.cursor
        self._until = self._next + PREPARED_AHEAD

    def further(self) -> None:
        """While a run comes near the end of what was announced, announce what is behind that."""
        node = self._session.node
        if node is not None and self._until - PREPARED_AHEAD // 2 <= node < self._until:
            self._until += PREPARED_AHEAD

    @property
    def due(self) -> bool:
        """Whether there is something left to announce."""
        return self._next < min(self._until, len(self._session.view.graph))

    def announce(self) -> None:
        """Announce for the time of a slice."""
        end = time.monotonic() + SLICE
        while self.due and time.monotonic() < end:
            stop = min(self._next + STEP, self._until)
            asked: dict[str, tuple[list[Unit], list[Operand]]] = {}
            for backend, unit, taken in self._session.ahead(self._next, stop):
                units, weights = asked.setdefault(backend, ([], []))
                units += [unit] if self._is_new(backend, unit.signature) else []
                weights += [weight for weight in taken if self._is_new(backend, weight.key)]
            for backend, (units, weights) in asked.items():
                if (units or weights) and backend in self._backends:
                    self._backends[backend].prepare(tuple(units), tuple(weights))
            self._next = stop

    def _is_new(self, backend: str, name: str) -> bool:
        """Whether it was not announced yet; from now on it was."""
        known = (backend, name) in self._announced
        self._announced.add((backend, name))
        return not known
