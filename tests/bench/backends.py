"""Backends that are warm before the clock starts, and that outlive an engine."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Sequence

import numpy as np

from tapml_tui.backends.protocol import (
    Backend,
    Bytes,
    Call,
    CallResult,
    Execute,
    Executed,
    Failed,
    Operand,
    Reply,
    Sink,
    State,
    TensorSpec,
    Unit,
    UnitInput,
)

_SPEC = TensorSpec("float32", (3, 5, 7))
_WARMING = 1 << 40


class Warm:
    """A backend that has compiled and executed something before `start` returns; it counts bytes.

    `close` leaves it running, so that the next engine finds it as it is; `really_close` ends it.
    """

    def __init__(self, inner: Backend, scratch: str, *, devices: int = 1) -> None:
        self.id = inner.id
        self._devices = devices
        self._all_there = threading.Event()
        self.inner = inner
        self.bytes_up = self.bytes_down = 0
        self.ready_at = 0.0
        self._sink: Sink | None = None
        self._warmed: queue.SimpleQueue[Executed | Failed] = queue.SimpleQueue()
        self._started = False
        self._zeros = f"{scratch}/zeros-{inner.id}"
        np.zeros(_SPEC.shape, np.float32).tofile(self._zeros)

    def start(self, sink: Sink) -> None:
        self._sink = sink
        if not self._started:
            self._started = True
            self.inner.start(self._receive)
            reply = self.warm_up()
            if isinstance(reply, Failed):
                raise RuntimeError(reply.reason)
            if not self._all_there.wait(120):
                raise TimeoutError(f"{self.id}: not all of its devices came up")
        self.ready_at = time.perf_counter()

    def warm_up(self) -> Executed | Failed:
        """Execute something."""
        unit = Unit((Call("aten.tan.default", (UnitInput(0),)),), (_SPEC,), (_SPEC,), (CallResult(0),))
        operand = Operand("warm", _SPEC, Bytes(self._zeros, 0, 4 * 3 * 5 * 7))
        self.inner.execute(Execute(_WARMING, unit, (operand,), ("warm-out",), "warming up"))
        try:
            return self._warmed.get(timeout=120)
        except queue.Empty:
            raise TimeoutError(f"{self.id} did not answer") from None

    def _receive(self, reply: Reply) -> None:
        there = sum(one.state is State.READY for one in getattr(reply, "devices", ()))
        if self.id == "source" or there == self._devices:
            self._all_there.set()
        if isinstance(reply, Executed | Failed) and reply.id == _WARMING:
            self._warmed.put(reply)
            return
        if isinstance(reply, Executed):
            self.bytes_up += reply.bytes_up
            self.bytes_down += reply.bytes_down
        if self._sink is not None:
            self._sink(reply)

    def prepare(self, units: Sequence[Unit], weights: Sequence[Operand] = ()) -> None:
        self.inner.prepare(units, weights)

    def execute(self, request: Execute) -> None:
        self.inner.execute(request)

    def describe(self, unit: Unit) -> None:
        self.inner.describe(unit)

    def interrupt(self) -> None:
        self.inner.interrupt()

    def restart(self) -> None:
        self.inner.restart()

    def close(self) -> None:
        self._sink = None

    def really_close(self) -> None:
        self.inner.close()
