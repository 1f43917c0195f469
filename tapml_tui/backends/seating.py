"""Which of several devices executes a request."""

from __future__ import annotations

from collections.abc import Sequence

from tapml_tui.backends.protocol import Execute
from tapml_tui.backends.seat import Seat

# Enough that the device never waits for us, few enough that a loss costs little; fewer where others could do it.
_IN_FLIGHT = 8
_IN_FLIGHT_OF_SEVERAL = 3


class Seating:
    """Gives requests to the device that is free, or to the one that has what they need."""

    def __init__(self, seats: Sequence[Seat]) -> None:
        """All are free."""
        self._seats = seats
        self._most = _IN_FLIGHT if len(seats) == 1 else _IN_FLIGHT_OF_SEVERAL
        self._lanes: dict[str, Seat] = {}
        self._did: dict[str, Seat] = {}  # by label: where it is confirmed

    def seat_for(self, request: Execute) -> Seat | None:
        """The device that is to execute it; None if it has to wait for one."""
        bound = request.fresh or any(operand.bytes is None for operand in request.operands)
        known = self._lanes.get(request.lane) or (self._did.get(request.label) if bound else None)
        if known is not None and known.link.connected:
            return known if len(known.sent) < self._most else None
        free = [seat for seat in self._seats if seat.link.connected and len(seat.sent) < self._most]
        return min(free, key=lambda seat: len(seat.sent), default=None)

    def given(self, request: Execute, seat: Seat) -> None:
        """It was sent there."""
        if request.lane:
            self._lanes[request.lane] = seat
        self._did[request.label] = seat
