"""Saying to the backends what will be executed soon, so that it is compiled ahead, in few modules."""

from __future__ import annotations

import time
from collections.abc import Mapping

from tapml_tui.backends.protocol import Backend
from tapml_tui.engine.session import Session

PREPARED_AHEAD = 2048
"""How many nodes are announced to the backends in advance."""

SLICE = 0.004
"""Seconds that announcing takes at a time: others have a turn before they would notice."""

STEP = 8
"""Nodes between two looks at the clock."""


class Announcer:
    """Announces each signature once to each backend, a little at a time.

    Reading 2048 nodes takes some tenths of a second, in which a key could not be answered.
    """

    def __init__(self, session: Session, backends: Mapping[str, Backend]) -> None:
        """Announce what `session` is going to ask of `backends`, by id."""
        self._session = session
        self._backends = backends
        self._next = self._until = 0
        self._announced: set[tuple[str, str]] = set()  # (backend, signature)

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
            for backend, units in self._session.units_ahead(self._next, stop).items():
                new = {unit.signature: unit for unit in units if (backend, unit.signature) not in self._announced}
                self._announced.update((backend, signature) for signature in new)
                if new and backend in self._backends:
                    self._backends[backend].prepare(tuple(new.values()))
            self._next = stop
