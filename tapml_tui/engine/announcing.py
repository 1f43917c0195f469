"""Saying to the backends what will be executed soon, so that it is compiled ahead, in few modules."""

from __future__ import annotations

from collections.abc import Mapping

from tapml_tui.backends.protocol import Backend
from tapml_tui.engine.session import Session

PREPARED_AHEAD = 2048
"""How many nodes are announced to the backends at once."""


class Announcer:
    """Announces each signature once to each backend."""

    def __init__(self, session: Session, backends: Mapping[str, Backend]) -> None:
        """Announce what `session` is going to ask of `backends`, by id."""
        self._session = session
        self._backends = backends
        self._until = 0
        self._announced: set[tuple[str, str]] = set()  # (backend, signature)

    def announce(self, start: int | None = None) -> None:
        """Say what will be executed soon, from `start` or the cursor on."""
        start = self._session.cursor if start is None else start
        self._until = start + PREPARED_AHEAD
        for backend, units in self._session.units_ahead(start, self._until).items():
            new = {unit.signature: unit for unit in units}
            fresh = [unit for signature, unit in new.items() if (backend, signature) not in self._announced]
            self._announced.update((backend, signature) for signature in new)
            if fresh and backend in self._backends:
                self._backends[backend].prepare(fresh)

    def announce_further(self) -> None:
        """While a run comes near the end of what was announced, announce what is behind that."""
        node = self._session.node
        if node is not None and self._until - PREPARED_AHEAD // 2 <= node < self._until:
            self.announce(self._until)
