"""What is brought to a device before it is asked for, while nobody waits for anything.

The first step of a kernel takes its library up, which over a line of 50 ms is half a dozen round trips. So whatever is
announced goes up in time: a round trip at a time, and none of them while a request waits.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from tapml_tui.backends.actor import Actor, Timer
from tapml_tui.backends.frames import Header
from tapml_tui.backends.kernel_cache import Kernel, NoKernel
from tapml_tui.backends.killers import Killers
from tapml_tui.backends.operands import operands_to_wire
from tapml_tui.backends.protocol import Operand, Unit
from tapml_tui.backends.seat import Seat

_IDLE = 0.05  # seconds: a verdict may take several requests, one after the other


class Ahead:
    """Brings what was announced to one device, in order. On its backend's actor."""

    def __init__(
        self,
        actor: Actor,
        seat: Seat,
        kernel: Callable[[str], Kernel | NoKernel | None],
        killers: Killers,
        *,
        idle: Callable[[], bool],
    ) -> None:
        """Nothing is announced yet.

        Args:
            actor: That all is done on.
            seat: The device.
            kernel: What is known of a signature. What is not known yet holds up what was announced after it.
            killers: Whose libraries stay here.
            idle: Whether nobody waits for an answer.
        """
        self._actor, self._seat, self._kernel, self._killers, self._idle = actor, seat, kernel, killers, idle
        self._announced: deque[str | Operand] = deque()  # signatures, and weights
        self._ready: deque[Header] = deque()
        self._under_way = False
        self._pause: Timer | None = None

    def __len__(self) -> int:
        """How many things could go up now."""
        return len(self._ready)

    def announce(self, units: Sequence[Unit], weights: Sequence[Operand]) -> None:
        """These are going to be needed."""
        self._announced.extend(unit.signature for unit in units)
        self._announced.extend(weights)
        self.go_on()

    def go_on(self) -> None:
        """Something is known, answered or asked that was not: bring the next thing, when all has been quiet."""
        while self._announced and self._made_ready(self._announced[0]):
            self._announced.popleft()
        if self._pause is not None:
            self._pause.cancel()
        if self._ready and not self._under_way and self._idle():
            self._pause = self._actor.later(_IDLE, self._bring)

    def brought(self, header: Header) -> None:
        """The device has taken one step; whatever went wrong with it shows again when it is needed."""
        self._under_way = False
        if header["failed"]:
            self.forget()
        elif not header["more"]:
            self._ready.popleft()
        self._bring()

    def lost(self) -> None:
        """The device went away: if this is what it was at, it shall not happen again."""
        if self._under_way:
            self.forget()

    def forget(self) -> None:
        """Nothing of it is wanted any more."""
        self._announced.clear()
        self._ready.clear()
        self._under_way = False

    def _made_ready(self, item: str | Operand) -> bool:
        if isinstance(item, Operand):
            self._ready.append({"op": "bring", "operand": operands_to_wire([item])})
            return True
        known = self._kernel(item)
        if isinstance(known, Kernel) and known.function and self._killers.get(item) is None:
            self._ready.append({"op": "bring", "library": known.library, "function": known.function})
        return known is not None

    def _bring(self) -> None:
        if self._ready and not self._under_way and self._idle() and self._seat.link.connected:
            self._under_way = True
            self._seat.bring(self._ready[0])
