"""What the two workers that execute units have in common: requests, replies, what is dropped."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from tapml_tui.backends import messages
from tapml_tui.backends.child import Channel
from tapml_tui.backends.frames import Header
from tapml_tui.backends.operands import MissingOperands, OperandError
from tapml_tui.backends.protocol import Stage


class Wanted:
    """Which requests are still wanted; told by the thread that reads frames."""

    def __init__(self) -> None:
        """At first all are."""
        self._lock = threading.Lock()
        self._below = 0

    def urgent(self, header: Header) -> bool:
        """Take a "drop" frame in. See `Channel`."""
        if header["op"] != "drop":
            return False
        with self._lock:
            self._below = max(self._below, int(header["below"]))
        return True

    def __contains__(self, ticket: int) -> bool:
        """Whether the request with this ticket is."""
        with self._lock:
            return ticket >= self._below


@dataclass
class Execution:
    """One request under way: where it is, and its reply."""

    channel: Channel
    ticket: int
    stage: Stage = Stage.UPLOAD
    bytes_up: int = 0
    bytes_down: int = 0
    bytes_of_library: int = 0
    ms: float = 0.0
    _began: float = field(default=0.0, repr=False)

    def enter(self, stage: Stage, *, quick: bool = False) -> None:
        """Say where it is now, so that a deadline, or a death, is blamed on the right thing.

        A stage that is over in no time (`quick`) is not worth a frame of its own.
        """
        if self.stage is Stage.RUN:
            self.ms = (time.perf_counter() - self._began) * 1e3
        self.stage = stage
        if not quick:
            self.channel.send({"op": "stage", "ticket": self.ticket, "stage": stage})
        self._began = time.perf_counter()

    def send_outputs(self, arrays: Sequence[np.ndarray | None], *, identity: bool = False) -> None:
        """The reply that carries outputs; None where one was above the fetch limit."""
        blocks = [array for array in arrays if array is not None]
        self.channel.send(
            {
                "op": "executed",
                "ticket": self.ticket,
                "outputs": [None if array is None else [array.dtype.name, list(array.shape)] for array in arrays],
                "ms": self.ms,
                "bytes_up": self.bytes_up,
                "bytes_down": self.bytes_down,
                "bytes_of_library": self.bytes_of_library,
                "identity": identity,
            },
            blocks,
        )

    def send_failure(self, error: BaseException, *, unsupported: bool = False) -> None:
        """The reply that says why there are no outputs."""
        reason, detail = messages.of_exception(error)
        self.channel.send(
            {
                "op": "failed",
                "ticket": self.ticket,
                "unsupported": unsupported,
                "stage": self.stage,
                "reason": str(error)[: messages.MAX_REASON] if isinstance(error, OperandError) else reason,
                "detail": detail,
                "missing": list(error.indices) if isinstance(error, MissingOperands) else [],
            }
        )


def serve(channel: Channel, wanted: Wanted, handlers: dict[str, Callable[[Header], None]]) -> None:
    """Handle frames for ever; the process ends with its parent."""
    handlers = {"ping": lambda _: channel.send({"op": "pong"}), **handlers}
    while True:
        header, _ = channel.receive()
        if "ticket" not in header or header["ticket"] in wanted:
            handlers[header["op"]](header)
