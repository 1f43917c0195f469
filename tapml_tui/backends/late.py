"""A backend that is made when it is first needed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property

from tapml_tui.backends.protocol import Backend, Execute, Operand, Sink, Unit


class LateBackend:
    """`protocol.Backend`: stands for another one, whose imports wait until the screen has been painted."""

    def __init__(self, id: str, make: Callable[[], Backend]) -> None:
        """Stand for the backend `id`, which `make` makes."""
        self.id = id
        self._make = make

    @cached_property
    def _backend(self) -> Backend:
        return self._make()

    @property
    def fingerprint(self) -> str:
        """See `protocol.Backend`."""
        return str(getattr(self._backend, "fingerprint", ""))

    @property
    def changed(self) -> str:
        """See `protocol.Backend`."""
        return str(getattr(self._backend, "changed", ""))

    def reread(self) -> bool:
        """See `protocol.Backend`."""
        reread: Callable[[], bool] = getattr(self._backend, "reread", bool)
        return reread()

    def start(self, sink: Sink) -> None:
        """See `protocol.Backend`."""
        self._backend.start(sink)

    def prepare(self, units: Sequence[Unit], weights: Sequence[Operand] = ()) -> None:
        """See `protocol.Backend`."""
        self._backend.prepare(units, weights)

    def execute(self, request: Execute) -> None:
        """See `protocol.Backend`."""
        self._backend.execute(request)

    def describe(self, unit: Unit) -> None:
        """See `protocol.Backend`."""
        self._backend.describe(unit)

    def interrupt(self) -> None:
        """See `protocol.Backend`."""
        self._backend.interrupt()

    def restart(self) -> None:
        """See `protocol.Backend`."""
        self._backend.restart()

    def close(self) -> None:
        """See `protocol.Backend`."""
        if "_backend" in self.__dict__:
            self._backend.close()
