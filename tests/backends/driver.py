"""Drives one backend in a test: real processes, replies collected in order, every wait bounded."""

from __future__ import annotations

import itertools
import os
import queue
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from tapml_tui.backends.killers import LAUNCH_BYTES
from tapml_tui.backends.protocol import (
    Backend,
    BackendStatus,
    Bytes,
    Call,
    CallArgument,
    CallResult,
    Execute,
    Executed,
    Failed,
    LogLine,
    Operand,
    Reply,
    State,
    TensorSpec,
    Unit,
    UnitInput,
)

PATIENCE = 120.0
R = TypeVar("R", bound=Reply)


def spec(array: np.ndarray) -> TensorSpec:
    """The spec of an array."""
    return TensorSpec(array.dtype.name, array.shape)


def unit(
    op: str,
    args: Sequence[CallArgument],
    inputs: Sequence[TensorSpec],
    outputs: Sequence[TensorSpec],
    **kwargs: CallArgument,
) -> Unit:
    """A unit of one call."""
    call = Call(op, tuple(args), tuple(kwargs.items()))
    return Unit((call,), tuple(inputs), tuple(outputs), tuple(CallResult(0, i) for i in range(len(outputs))))


def unary(op: str, like: np.ndarray, output: TensorSpec | None = None) -> Unit:
    """A unit of one call with one tensor."""
    return unit(op, [UnitInput(0)], [spec(like)], [output or spec(like)])


class Driver:
    """A started backend."""

    def __init__(self, backend: Backend, folder: Path) -> None:
        self.backend = backend
        self.replies: list[Reply] = []
        self._queue: queue.SimpleQueue[Reply] = queue.SimpleQueue()
        self._file = folder / f"operands-{id(self)}.bin"
        self._file.touch()
        self._ids = itertools.count(1)
        self._keys = itertools.count()
        self.states: list[BackendStatus] = []
        self.others = set(descendants())  # processes that are not this backend's
        backend.start(self._queue.put)

    def operand(self, array: np.ndarray, key: str | None = None, *, persistent: bool = False) -> Operand:
        """An operand whose bytes are in a file."""
        offset = self._file.stat().st_size
        with self._file.open("ab") as file:
            file.write(array.tobytes())
        place = Bytes(str(self._file), offset, array.nbytes)
        return Operand(key or f"operand-{next(self._keys)}", spec(array), place, persistent)

    def execute(self, wanted: Unit, *operands: Operand | np.ndarray, label: str = "node", **fields: Any) -> int:
        """Send a request; its id."""
        request_id = next(self._ids)
        ready = tuple(o if isinstance(o, Operand) else self.operand(o) for o in operands)
        keys = fields.pop("result_keys", tuple(f"result-{request_id}-{i}" for i in range(len(wanted.outputs))))
        self.backend.execute(Execute(request_id, wanted, ready, keys, label, **fields))
        return request_id

    def wait(self, wanted: Callable[[Reply], bool], patience: float = PATIENCE) -> Reply:
        """The next reply like that; those before it are kept in `replies`."""
        deadline = time.monotonic() + patience
        while True:
            try:
                reply = self._queue.get(timeout=max(0.01, deadline - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"no such reply within {patience} s; the last were {self.replies[-12:]}") from None
            self._take(reply)
            if wanted(reply):
                return reply

    def answer(self, request_id: int) -> Executed | Failed:
        """The answer to a request, which may have come already."""

        def is_it(reply: Reply) -> bool:
            return isinstance(reply, Executed | Failed) and reply.id == request_id

        for reply in self.replies:
            if is_it(reply):
                return reply  # type: ignore[return-value]
        return self.wait(is_it)  # type: ignore[return-value]

    def run(self, wanted: Unit, *operands: Operand | np.ndarray, **fields: Any) -> Executed | Failed:
        """Send a request and wait for its answer."""
        return self.answer(self.execute(wanted, *operands, **fields))

    def outputs(self, wanted: Unit, *operands: Operand | np.ndarray, **fields: Any) -> tuple[np.ndarray | None, ...]:
        """The outputs of a request that is expected to succeed."""
        reply = self.run(wanted, *operands, **fields)
        assert isinstance(reply, Executed), reply
        return reply.outputs

    def ready(self) -> BackendStatus:
        """Wait for the state READY."""
        return self.state(State.READY)

    def state(self, state: State) -> BackendStatus:
        """Wait for a state that comes after the last one waited for."""
        return self.wait(lambda r: isinstance(r, BackendStatus) and r.state is state)  # type: ignore[return-value]

    def drain(self) -> None:
        """Take in what has come by now."""
        while not self._queue.empty():
            self._take(self._queue.get())

    def _take(self, reply: Reply) -> None:
        self.replies.append(reply)
        if isinstance(reply, BackendStatus):
            self.states.append(reply)

    def answers(self) -> list[int]:
        """Ids of the requests that were answered, in order."""
        self.drain()
        return [reply.id for reply in self.replies if isinstance(reply, Executed | Failed)]

    def program_errors(self) -> list[str]:
        """Log lines that say that this program is wrong."""
        self.drain()
        return [r.text for r in self.replies if isinstance(r, LogLine) and "error of this program" in r.text]


def descendants(module: str = "") -> dict[int, str]:
    """Our descendants whose command line has `module`: pid -> command line. Zombies do not count."""
    parents: dict[int, int] = {}
    commands: dict[int, str] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            stat = (entry / "stat").read_text()
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        except OSError:
            continue
        state, parent = stat.rpartition(")")[2].split()[:2]
        if state != "Z":
            parents[int(entry.name)] = int(parent)
            commands[int(entry.name)] = command
    ours = {os.getpid()}
    while more := {pid for pid, parent in parents.items() if parent in ours} - ours:
        ours |= more
    return {pid: commands[pid] for pid in ours - {os.getpid()} if module in commands[pid]}


def wait_until(condition: Callable[[], bool], what: str, patience: float = 30.0) -> None:
    """Wait for something outside of the backend, as the death of a process."""
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline, f"not within {patience} s: {what}"
        time.sleep(0.02)


def runs_on(state: Path) -> str:
    """The node whose kernel has been running for a while, as it is on disk below `state`; "" if none has."""
    for file in state.rglob("launch-*"):
        told = file.read_text(errors="replace")
        ran, session = told[:LAUNCH_BYTES].split(), told[LAUNCH_BYTES:].split()
        if ran and ran[0] in session:
            return ran[1]
    return ""
