"""One device of a target: the link to it, what it has been sent, and how long it may take."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from tapml_tui.backends.actor import Actor, Watch
from tapml_tui.backends.address import Address
from tapml_tui.backends.device_link import DeviceLink, LinkEvents
from tapml_tui.backends.frames import Header
from tapml_tui.backends.killers import A_WHILE, Killers
from tapml_tui.backends.loss import Loss
from tapml_tui.backends.operands import spec_bytes
from tapml_tui.backends.process import WorkerProcess
from tapml_tui.backends.protocol import Deadlines, DeviceState, Execute, Stage, State

# What was under way when the user interrupted may be done in a moment; after this it hangs.
_GRACE = 1.0
_SLOWEST_LINK = 1e6  # bytes per second


@dataclass(eq=False)
class Pending:
    """A request that has not been answered yet."""

    request: Execute
    signature: str
    seat: Seat | None = None  # the device that it was sent to
    stage: Stage = Stage.UPLOAD
    losses: int = 0
    suspect: str = ""  # what happened when it ran last, if it is not sure that it is to blame
    suspected: Seat | None = None  # where that was


@dataclass
class SeatEvents:
    """Whom to tell, on the actor's thread."""

    state: Callable[[], None]
    replied: Callable[[Seat, Pending, Header, list[np.ndarray]], None]  # "executed" or "failed"
    limits: Callable[[dict[str, int | str]], None]
    lost: Callable[[Seat, Loss, Pending | None], None]  # with the request that the device was at
    usable: Callable[[Seat], None]
    brought: Callable[[Header], None]  # a step of what was sent ahead
    log: Callable[[str, str], None]


class Seat:
    """A device, or the place that one will take.

    Attributes:
        link: The way to it.
        sent: What it has to do, by ticket, in order.
        state: Of the link, for the user.
    """

    def __init__(
        self,
        actor: Actor,
        address: Address,
        number: int,
        killers: Killers,
        *,
        deadlines: Deadlines,
        events: SeatEvents,
    ) -> None:
        """Make it, the first one with number 1; nothing is started."""
        self._name = "" if address.tracker else address.text + (f"#{number}" if number > 1 else "")
        self.state: tuple[State, str, float | None] = (State.OFF, "", None)
        self.sent: OrderedDict[int, Pending] = OrderedDict()
        self._killers, self._deadlines, self._events = killers, deadlines, events
        self._active: int | None = None  # the ticket that the device is at
        self._tickets = 0
        self.link = DeviceLink(
            actor,
            address,
            deadlines=deadlines,
            events=LinkEvents(
                self._status, self._frame, events.limits, self._lost, partial(events.usable, self), events.log
            ),
        )
        self._watch = Watch(actor, self.link.break_off)
        self._lasts = Watch(actor, lambda _: self._runs_on())

    @property
    def device(self) -> str:
        """Where it is; "" of a tracker's that was never there. Our own servers have other ports tomorrow."""
        return self._name or self.link.place

    @property
    def device_state(self) -> DeviceState:
        """For the user."""
        state, detail, _ = self.state
        return DeviceState(self.device, state, detail)

    def send(self, pending: Pending, header: Header) -> None:
        """Have a request executed."""
        pending.seat = self
        self.sent[self._tickets] = pending
        self.link.send({"op": "execute", "ticket": self._tickets, **header})
        self._tickets += 1

    def bring(self, header: Header) -> None:
        """Have the next step of something done that is sent ahead."""
        self.link.send(header)
        limit = self._deadlines.transfer
        self._watch.begin(limit, f"what was sent ahead did not arrive within {limit:.0f} s")

    def drop(self) -> None:
        """Nobody wants what it is at any more: it has a moment to end that."""
        self.sent.clear()
        self.link.send({"op": "drop", "below": self._tickets})
        self.link.send({"op": "ping"})
        self._watch.begin(_GRACE, "what was interrupted did not end")

    def leave(self) -> WorkerProcess | None:
        """Nobody wants anything any more: the worker, if it ends after what it is at."""
        self.link.send({"op": "drop", "below": self._tickets})
        return self.link.leave()

    def stop(self) -> list[WorkerProcess]:
        """Kill everything; the processes are returned to be waited for."""
        self._watch.end()
        return self.link.stop()

    def _status(self, state: State, detail: str, latency_ms: float | None) -> None:
        self.state = (state, detail, latency_ms)
        self._events.state()

    def _frame(self, header: Header, blocks: list[np.ndarray]) -> None:
        if header["op"] == "pong":
            self._watch.end()
            return
        if header["op"] == "brought":
            self._watch.end()
            self._events.brought(header)
            return
        pending = self.sent.get(header["ticket"])
        if pending is None:
            return
        if header["op"] == "stage":
            self._active = header["ticket"]
            pending.stage = Stage(header["stage"])
            self._watch_stage(pending)
            return
        self._watch.end()
        self._active = None
        del self.sent[header["ticket"]]
        self.link.worked()
        self._events.replied(self, pending, header, blocks)

    def _watch_stage(self, pending: Pending) -> None:
        request, limit, doing = pending.request, self._deadlines.run, "did not return"
        if pending.stage is Stage.RUN:
            self._lasts.begin(A_WHILE, "")
        else:
            self._lasts.end()
            # A link may be slow, and weights large.
            specs = [o.spec for o in request.operands] if pending.stage is Stage.UPLOAD else request.unit.outputs
            limit = self._deadlines.transfer + sum(map(spec_bytes, specs)) / _SLOWEST_LINK
            doing = f"did not {pending.stage}"
        self._watch.begin(limit, f"{request.label} {doing} within {limit:.0f} s")

    def _runs_on(self) -> None:
        if self._active is not None and self._active in self.sent:
            self._killers.runs_on(self.link.launches, self.sent[self._active].signature)

    def _lost(self, loss: Loss) -> None:
        """Give everything back; whoever is to blame is answered, the rest is done again, here or elsewhere."""
        self._watch.end()
        blamed = self.sent.get(self._active) if self._active is not None else None
        self._active = None
        for pending in self.sent.values():
            pending.seat = None
        self.sent.clear()
        self._events.lost(self, loss, blamed)
