"""The source side: PyTorch in a process of its own."""

from __future__ import annotations

import importlib.util
import os
import platform
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tapml_tui.backends import replies, user_code
from tapml_tui.backends.acting import ActingBackend
from tapml_tui.backends.actor import Watch
from tapml_tui.backends.frames import Header
from tapml_tui.backends.kernel_cache import installed_version
from tapml_tui.backends.operands import request_to_wire
from tapml_tui.backends.process import WorkerProcess, describe_exit
from tapml_tui.backends.protocol import (
    BackendStatus,
    Deadlines,
    Execute,
    Failed,
    KernelText,
    Operand,
    Prepared,
    Stage,
    State,
    Unit,
)

TORCH_MISSING = "PyTorch is not installed: pip install 'tapml-tui[torch]'"
# How long the process may be idle before it is started ahead of the first request: the target's
# processes start first, the screen waits for those.
_HEAD_START = 4.0
_DEATHS_IN_A_ROW = 3


@dataclass
class _Pending:
    request: Execute
    stage: Stage = Stage.UPLOAD
    tries: int = 0


class SourceBackend(ActingBackend):
    """Executes units with torch; `protocol.Backend`."""

    id = "source"
    _title = "PyTorch"

    @property
    def fingerprint(self) -> str:
        """Version, machine and number of threads: a sum that is split otherwise has other last bits."""
        threads = os.environ.get("OMP_NUM_THREADS") or os.cpu_count()
        said = f"torch {installed_version('torch')} on {platform.machine()}, {threads} threads"
        return f"{said}, {self._users.said}" if self._load else said

    def __init__(
        self, *, allow_ops: Sequence[str] = (), load: Sequence[str] = (), deadlines: Deadlines | None = None
    ) -> None:
        """Make it; nothing is started.

        Args:
            allow_ops: Operators outside of aten and prims that may run.
            load: FILE.pys that register some.
            deadlines: How long what may take.
        """
        super().__init__()
        self._allow, self._load = list(allow_ops), list(load)
        self._users = user_code.UserFiles(None, load)
        self._deadlines = deadlines or Deadlines()
        self._worker: WorkerProcess | None = None
        self._ready = False
        self._stopped = ""  # why no worker is started any more, until `restart`
        self._killed_because = ""
        self._deaths = 0
        self._tickets = 0
        self._waiting: OrderedDict[int, _Pending] = OrderedDict()  # by ticket, all not answered yet
        self._sent: set[int] = set()
        self._active: int | None = None  # the ticket that the worker is at
        self._watch = Watch(self._actor, self._overdue)

    def prepare(self, units: Sequence[Unit], weights: Sequence[Operand] = ()) -> None:
        """Nothing needs to be compiled, or to be sent far."""
        self._sink(Prepared(self.id, len(units), len(units)))

    def describe(self, unit: Unit) -> None:
        """The calls: PyTorch has no other text of a kernel."""
        text = "\n".join(f"torch.ops.{call.op}" for call in unit.calls)
        self._sink(KernelText(unit.signature, (("PyTorch", text),)))

    def _stop_processes(self) -> None:
        if self._worker is not None:
            self._worker.kill()
            self._worker.join(5)

    # Everything below runs on the actor's thread.

    def _begin(self) -> None:
        if importlib.util.find_spec("torch") is None:
            self._stopped = TORCH_MISSING
            self._status(State.MISSING, TORCH_MISSING)
            return
        self._status(State.STARTING, "starts when it is needed")
        self._actor.later(_HEAD_START, self._spawn)

    def _discard(self) -> None:
        worker, self._worker, self._ready = self._worker, None, False
        if worker is not None:
            worker.kill()
        self._watch.end()
        self._waiting.clear()
        self._sent.clear()
        self._active, self._stopped, self._killed_because, self._deaths = None, "", "", 0

    def _spawn(self) -> None:
        if self._worker is not None or self._stopped or self._closed:
            return
        self._ready = False
        self._status(State.STARTING, "loading PyTorch")
        try:
            self._worker = worker = WorkerProcess(
                "tapml_tui.backends.worker_source",
                on_frame=lambda header, blocks: self._actor.post(self._frame, worker, header, blocks),
                on_exit=lambda code: self._actor.post(self._exit, worker, code),
                on_log=lambda line: self._log("info", line),
            )
        except OSError as error:
            self._stop(f"cannot start a process: {error.strerror}")
            return
        worker.send({"op": "settings", "allow": self._allow, "load": self._load, "users": self._users.said})
        self._watch.begin(self._deadlines.start, "PyTorch did not load")

    def _execute(self, request: Execute) -> None:
        if self._stopped:
            self._answer(Failed(request.id, False, Stage.CONNECT, self._stopped))
            return
        self._waiting[self._tickets] = _Pending(request)
        self._tickets += 1
        self._spawn()
        self._feed()

    def _feed(self) -> None:
        if not self._ready or self._worker is None:
            return
        for ticket, pending in self._waiting.items():
            if ticket not in self._sent:
                self._sent.add(ticket)
                request = {**request_to_wire(pending.request), "unit": pending.request.unit.to_wire()}
                self._worker.send({"op": "execute", "ticket": ticket, **request})

    def _frame(self, worker: WorkerProcess, header: Header, blocks: list[np.ndarray]) -> None:
        if worker is not self._worker:
            return
        if header["op"] == "ready":
            self._ready = True
            self._watch.end()
            self._status(State.READY, f"PyTorch {header['version']}")
            self._feed()
            return
        if header["op"] == "unusable":
            self._worker = None  # it ends by itself, and is not missed
            self._watch.end()
            self._log("error", header["detail"])
            self._stop(header["reason"])
            return
        if header["op"] == "pong":
            self._watch.end()
            return
        pending = self._waiting.get(header["ticket"])
        if pending is None:
            return
        if header["op"] == "stage":
            self._active = header["ticket"]
            pending.stage = Stage(header["stage"])
            limit = self._deadlines.run if pending.stage is Stage.RUN else self._deadlines.transfer
            self._watch.begin(limit, f"{pending.request.label} did not return within {limit:.0f} s")
            return
        self._watch.end()
        del self._waiting[header["ticket"]]
        self._sent.discard(header["ticket"])
        self._active = None
        self._deaths = 0
        if header["op"] == "executed":
            self._answer(replies.executed(pending.request.id, header, blocks))
        else:
            self._answer(replies.failed(pending.request.id, header))

    def _overdue(self, why: str) -> None:
        self._killed_because = why
        if self._worker is not None:
            self._worker.kill()

    def _exit(self, worker: WorkerProcess, code: int) -> None:
        if worker is not self._worker:
            return
        was_ready, why = self._ready, self._killed_because
        self._worker, self._ready, self._killed_because = None, False, ""
        self._sent.clear()
        self._watch.end()
        if self._closed:
            return
        self._deaths += 1
        words = why or f"the PyTorch process {describe_exit(code)}"
        self._status(State.LOST, words)
        self._blame(words, by_deadline=bool(why))
        self._active = None
        gave_up_itself = not was_ready and (bool(why) or code >= 0)  # it cannot load, and would not next time
        if gave_up_itself or self._deaths >= _DEATHS_IN_A_ROW:
            self._stop(f"{words} (R in the debugger starts it again)")
        else:
            self._spawn()

    def _blame(self, words: str, *, by_deadline: bool) -> None:
        """Answer the request that was under way; others are done by the next worker."""
        if self._active is None or self._active not in self._waiting:
            return
        pending = self._waiting[self._active]
        pending.tries += 1
        if by_deadline or pending.stage is Stage.RUN or pending.tries > 1:
            del self._waiting[self._active]
            reason = words if by_deadline else f"{words} while it ran {pending.request.label}"
            self._answer(Failed(pending.request.id, False, pending.stage, reason, device_lost=True))

    def _take_up(self) -> None:
        self._fail_all("what the user's files say has changed")
        self._discard()
        self._spawn()

    def _stop(self, why: str) -> None:
        self._stopped = why
        self._status(State.FAILED, why)
        self._fail_all(why)

    def _fail_all(self, why: str) -> None:
        pending, self._waiting = self._waiting, OrderedDict()
        for item in pending.values():
            self._answer(Failed(item.request.id, False, item.stage, why))

    def _interrupt(self) -> None:
        under_way = bool(self._sent)
        self._fail_all("interrupted")
        self._sent.clear()
        if under_way and self._worker is not None:
            self._worker.send({"op": "drop", "below": self._tickets})
            # What runs at this moment may be done soon; if not, it hangs.
            self._watch.begin(1.0, "interrupted")
            self._worker.send({"op": "ping"})

    def _restart(self) -> None:
        if self._stopped and self._stopped != TORCH_MISSING:
            self._stopped = ""
            self._deaths = 0
        self._spawn()

    def _status(self, state: State, detail: str = "") -> None:
        self._sink(BackendStatus(self.id, state, detail, title=self._title))
