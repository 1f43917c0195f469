"""What is said of a target: its state, its devices, and what crosses the line to them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tapml_tui.backends.actor import Actor, Timer
from tapml_tui.backends.protocol import BackendStatus, DeviceState, State
from tapml_tui.backends.seat import Seat
from tapml_tui.backends.traffic import WINDOW, Meter

_TRAFFIC_PAUSE = 0.5
# Of several devices the user hears the best news.
_BEST_FIRST = (State.READY, State.LOST, State.CONNECTING, State.STARTING, State.OFF, State.FAILED)


class TargetReport:
    """Makes the `BackendStatus` of a target, on its actor.

    Attributes:
        losses: By device: how it was lost last.
    """

    def __init__(self, backend: str, title: str, actor: Actor, *, again: Callable[[], None]) -> None:
        """Report on the backend with this id; `again` is called when time has passed, and what was said is old."""
        self._backend, self._title, self._actor, self._again = backend, title, actor, again
        self.losses: dict[str, str] = {}
        self._meter = Meter()
        self._quiet: Timer | None = None
        self._trouble = ""  # with the compiler
        self._shown = 0.0  # when the meter was read last

    def status(self, seats: Sequence[Seat], queued: int, *, missing: str) -> BackendStatus:
        """How it is: of these devices, with so many requests that wait, and what is missing."""
        state, detail, latency_ms = min((seat.state for seat in seats), key=lambda one: _BEST_FIRST.index(one[0]))
        if missing:
            state, detail, latency_ms = State.MISSING, missing, None
        elif len(seats) > 1:
            ready = sum(seat.state[0] is State.READY for seat in seats)
            detail = detail or f"{ready} of {len(seats)} devices"
        traffic = self._meter.read(queued, self._actor.now())
        devices = self._devices(seats)
        return BackendStatus(self._backend, state, detail or self._trouble, latency_ms, self._title, traffic, devices)

    def in_trouble(self, words: str) -> None:
        """What is wrong with the compiler, "" if nothing is any more."""
        if words != self._trouble:
            self._trouble = words
            self._again()

    def add(self, up: int, down: int) -> None:
        """Count bytes that crossed the line."""
        self._meter.add(up, down, self._actor.now())

    def moved(self, *, busy: bool) -> None:
        """Something crossed the line: said now and then while there is more, and at its end."""
        now = self._actor.now()
        if now - self._shown >= _TRAFFIC_PAUSE or not busy:
            self._shown = now
            self._again()
        if self._quiet is not None:
            self._quiet.cancel()
        self._quiet = self._actor.later(WINDOW, self._again)  # by then nothing moves any more

    def _devices(self, seats: Sequence[Seat]) -> tuple[DeviceState, ...]:
        """Those that are there or awaited, and those that were lost and not seen since."""
        there = [seat.device_state for seat in seats]
        lost = {one: words for one, words in self.losses.items() if (one, State.READY) not in {d[:2] for d in there}}
        awaited = [one for one in there if one.device not in lost]
        return (*awaited, *(DeviceState(device, State.LOST, words) for device, words in lost.items()))
