"""The target side: TVM kernels on a device at the other end of an RPC link."""

from __future__ import annotations

import importlib.util
import platform
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tapml_tui.backends import replies
from tapml_tui.backends.acting import ActingBackend
from tapml_tui.backends.address import Address, target_kind
from tapml_tui.backends.device_link import DeviceLink, LinkEvents, Loss
from tapml_tui.backends.frames import Header
from tapml_tui.backends.kernel_cache import NoKernel
from tapml_tui.backends.kernels import KernelEvents, Kernels
from tapml_tui.backends.killers import Killer, Killers
from tapml_tui.backends.operands import output_limit, request_to_wire, spec_bytes
from tapml_tui.backends.prebuilt import Prebuilt, names_of
from tapml_tui.backends.protocol import (
    BackendStatus,
    Deadlines,
    Execute,
    Failed,
    KernelText,
    Prepared,
    Reply,
    Stage,
    State,
    Unit,
)
from tapml_tui.backends.settings import CompilerSettings
from tapml_tui.backends.traffic import Meter

TVM_MISSING = "TVM is not installed: pip install 'tapml-tui[all]'"
# Enough that the device never waits for us, few enough that a loss costs little.
_IN_FLIGHT = 8
# What was under way when the user interrupted may be done in a moment; after this it hangs.
_GRACE = 1.0
_TRAFFIC_PAUSE = 0.5
_SLOWEST_LINK = 1e6  # bytes per second


@dataclass
class _Pending:
    request: Execute
    signature: str
    ticket: int | None = None  # of the device worker, once sent
    stage: Stage = Stage.UPLOAD
    losses: int = 0
    suspect: str = ""  # what happened when it ran last, if it is not sure that it is to blame


class TargetBackend(ActingBackend):
    """Executes units on a device; `protocol.Backend`."""

    def __init__(
        self,
        address: Address,
        compiler: CompilerSettings,
        *,
        cache_folder: Path,
        state_folder: Path,
        name: str = "",
        library: str = "",
        deadlines: Deadlines | None = None,
    ) -> None:
        """Make it; nothing is started.

        Args:
            address: Where the device is.
            compiler: What kernels are compiled for, and how.
            cache_folder: Of compiled kernels.
            state_folder: Of what is remembered of devices.
            name: Among several targets.
            library: A prebuilt one, which is used instead of compiling.
            deadlines: How long what may take.
        """
        self.id = f"target:{name}" if name else "target"
        super().__init__()
        self._deadlines = deadlines or Deadlines()
        self._address, self._compiler = address, compiler
        self._title = f"{name or target_kind(compiler.target)} @{address.text}"
        self._meter = Meter()
        self._shown = 0.0  # when its reading was sent last
        events = KernelEvents(self._pump, self._progress, self._text, self._log, self._compiler_trouble)
        self._library = library
        self._kernels = (
            Prebuilt(library, events)
            if library
            else Kernels(self._actor, cache_folder=cache_folder, deadlines=self._deadlines, events=events)
        )
        self._killers = Killers(state_folder, f"{address.text} {address.key} {address.device}\n{compiler.context}")
        self._interrupted = False  # what is restarted next was interrupted; nobody asked for killers again
        self._link = DeviceLink(
            self._actor,
            address,
            deadlines=self._deadlines,
            events=LinkEvents(self._status, self._frame, self._limits, self._lost, self._usable, self._log),
        )
        self._missing = ""
        self._trouble = ""  # with the compiler
        self._state: tuple[State, str, float | None] = (State.OFF, "", None)
        self._waiting: OrderedDict[int, _Pending] = OrderedDict()  # by request id, in order
        self._sent: OrderedDict[int, _Pending] = OrderedDict()  # by ticket, in order
        self._active: int | None = None  # the ticket that the device is at
        self._tickets = 0

    @property
    def fingerprint(self) -> str:
        """The device, and everything that kernels depend on.

        "" for a device behind a server that is not ours: it may have another driver tomorrow, or be
        another device, and nobody would say so. What was computed there counts for one session.
        """
        if not self._address.ours or self._library:
            return ""
        return f"{self._address.device} {platform.machine()}\n{self._compiler.context}"

    def prepare(self, units: Sequence[Unit]) -> None:
        """See `protocol.Backend`."""
        self._actor.post(self._prepare, tuple(units))

    def describe(self, unit: Unit) -> None:
        """See `protocol.Backend`."""
        self._actor.post(self._kernels.describe, unit)

    def _stop_processes(self) -> None:
        for process in [*self._link.stop(), self._kernels.stop()]:
            if process is not None:
                process.join(5)
        self._killers.close()

    # Everything below runs on the actor's thread.

    def _begin(self) -> None:
        if importlib.util.find_spec("tvm") is None:
            self._missing = TVM_MISSING
            self._status(State.MISSING, TVM_MISSING, None)
            return
        known = self._killers.open()
        for killer in known:
            self._log("warning", f"not run until it is retried: {killer.label} ({killer.words})")
        self._link.launches = self._killers.launch_file
        self._link.begin()  # first: it is what everybody waits for
        if self._address.device == "cpu":
            self._kernels.begin(self._compiler)

    def _limits(self, limits: dict[str, int | str]) -> None:
        """The device can be asked what it can do: that is what kernels are compiled for, so it comes first."""
        wanted = replace(self._compiler, limits=tuple(sorted(limits.items())))
        if not self._kernels.begun:
            self._compiler = wanted
            self._kernels.begin(wanted)
        elif wanted != self._compiler:
            self._log("warning", "this device has other limits than the one before: kernels stay as they were compiled")

    def _prepare(self, units: Sequence[Unit]) -> None:
        if not self._missing:
            self._kernels.want(units)

    def _execute(self, request: Execute) -> None:
        if request.kernel is not None:
            reason = f"there is no kernel {request.kernel!r}: kernels of one node's own cannot be given yet"
            self._sink(Failed(request.id, False, Stage.CONVERT, reason))
        elif self._missing or self._link.gave_up:
            self._sink(Failed(request.id, False, Stage.CONNECT, self._missing or self._link.gave_up, device_lost=True))
        else:
            pending = _Pending(request, request.unit.signature)
            self._waiting[request.id] = pending
            self._kernels.want([request.unit])
            self._pump()

    def _pump(self) -> None:
        """Send what can be sent, in order: a kernel that is not there yet holds up what comes after it."""
        if not self._kernels.begun:
            return
        for pending in list(self._waiting.values()):
            if pending.ticket is not None:
                continue
            kernel = self._kernels.get(pending.signature)
            if kernel is None:
                self._kernels.want([pending.request.unit], urgent=True)
                return
            if isinstance(kernel, NoKernel):
                self._answer(
                    pending, Failed(pending.request.id, kernel.unsupported, kernel.stage, kernel.reason, kernel.detail)
                )
                continue
            killer = self._killers.get(pending.signature)
            if killer is not None and not pending.suspect:
                if pending.signature in self._suspects():
                    return  # it is being tried once more
                reason = f"not run: it took the device with it at {killer.label} ({killer.words}); R launches it again"
                self._answer(pending, Failed(pending.request.id, False, Stage.RUN, reason))
                continue
            if not self._link.connected or len(self._sent) >= _IN_FLIGHT:
                return
            pending.ticket = self._tickets
            self._tickets += 1
            self._sent[pending.ticket] = pending
            self._link.send(
                {
                    "op": "execute",
                    "ticket": pending.ticket,
                    "library": kernel.library,
                    "function": kernel.function,
                    "identity": list(kernel.identity),
                    "signature": pending.signature,
                    "label": pending.request.label,
                    "names": names_of(pending.request.unit, pending.request.label) if self._library else [],
                    "outputs": [[spec.dtype, list(spec.shape)] for spec in pending.request.unit.outputs],
                    "careful": pending.losses > 0,
                    "most": output_limit(pending.request.unit),
                    **request_to_wire(pending.request),
                }
            )

    def _frame(self, header: Header, blocks: list[np.ndarray]) -> None:
        if header["op"] == "pong":
            self._watch(None)
            return
        pending = self._sent.get(header["ticket"])
        if pending is None:
            return
        if header["op"] == "stage":
            self._active = header["ticket"]
            pending.stage = Stage(header["stage"])
            self._watch_stage(pending)
            return
        self._watch(None)
        self._active = None
        del self._sent[header["ticket"]]
        self._link.worked()
        request_id = pending.request.id
        if header["op"] == "failed" and self._kernels.forget_lost(pending.signature):
            pending.ticket = None
            self._pump()
            return
        executed = header["op"] == "executed"
        if executed:
            up = header["bytes_up"] + header["bytes_of_library"]
            self._meter.add(up, header["bytes_down"], self._actor.now())
            self._show_traffic()
        if pending.suspect:
            self._killers.discard(pending.signature)
        self._answer(
            pending, replies.executed(request_id, header, blocks) if executed else replies.failed(request_id, header)
        )
        self._pump()

    def _watch_stage(self, pending: _Pending) -> None:
        request, limit, doing = pending.request, self._deadlines.run, "did not return"
        if pending.stage is not Stage.RUN:
            # A link may be slow, and weights large.
            specs = [o.spec for o in request.operands] if pending.stage is Stage.UPLOAD else request.unit.outputs
            limit = self._deadlines.transfer + sum(map(spec_bytes, specs)) / _SLOWEST_LINK
            doing = f"did not {pending.stage}"
        self._watch(limit, f"{request.label} {doing} within {limit:.0f} s")

    def _overdue(self, why: str) -> None:
        self._link.break_off(why)

    def _lost(self, loss: Loss) -> None:
        """Answer the request that is to blame; the others are done again when the device is back."""
        self._watch(None)
        sent, self._sent = self._sent, OrderedDict()
        for pending in sent.values():
            pending.ticket = None
        if self._link.gave_up:
            if not self._kernels.begun:
                self._kernels.begin(self._compiler)  # without a device there are still texts to be shown
            self._fail_all(self._link.gave_up, device_lost=True)
            return
        blamed = sent.get(self._active) if self._active is not None else None
        self._active = None
        if blamed is None:  # it was idle, or at a request that was interrupted
            return
        blamed.losses += 1
        if blamed.stage is Stage.RUN and (loss.deadline or loss.crashed):
            if loss.certain or blamed.suspect:
                self._blame(blamed, loss.words, loss.log)
                return
            # At a distance it may have been the line. It is said to be the kernel, should we die too; but if the
            # server is still there, it gets one more chance.
            blamed.suspect = loss.words
            self._killers.add(blamed.signature, Killer(blamed.request.label, loss.words))
            return
        if (loss.deadline and loss.certain) or blamed.losses > 1:
            reason = loss.words if loss.deadline else f"lost twice at {blamed.request.label}: {loss.words}"
            detail = f"{loss.words}\n\n{loss.log}".strip()
            self._answer(blamed, Failed(blamed.request.id, False, blamed.stage, reason, detail, device_lost=True))
            return
        blamed.stage = Stage.UPLOAD

    def _blame(self, pending: _Pending, words: str, log: str = "") -> None:
        """A kernel took the device with it: remember it, and never launch it again unasked."""
        label = pending.request.label
        self._killers.add(pending.signature, Killer(label, words))
        reason = words if label in words else f"{label} took the device with it: {words}"
        detail = f"{words}\n\n{log}".strip()
        self._answer(pending, Failed(pending.request.id, False, Stage.RUN, reason, detail, device_lost=True))

    def _suspects(self) -> dict[str, _Pending]:
        return {pending.signature: pending for pending in self._waiting.values() if pending.suspect}

    def _usable(self) -> None:
        """The device is there, again or for the first time."""
        if self._link.tries:  # it was away: that was more than a cut line
            for pending in self._suspects().values():
                self._blame(pending, pending.suspect)
        self._pump()

    def _interrupt(self) -> None:
        self._interrupted = True
        self._kernels.interrupt()
        under_way = bool(self._sent)
        self._fail_all("interrupted")
        if under_way:
            self._link.send({"op": "drop", "below": self._tickets})
            self._link.send({"op": "ping"})
            self._watch(_GRACE, "what was interrupted did not end")

    def _restart(self) -> None:
        if not self._interrupted:
            self._killers.forgive()
        self._interrupted = False
        if self._missing:
            self._missing = ""
            self._begin()
            return
        self._kernels.retry()
        self._link.restart()

    def _fail_all(self, reason: str, *, device_lost: bool = False) -> None:
        self._sent.clear()
        for pending in list(self._waiting.values()):
            if device_lost and pending.suspect:
                self._blame(pending, pending.suspect)
                continue
            stage = Stage.CONNECT if device_lost else pending.stage
            self._answer(pending, Failed(pending.request.id, False, stage, reason, device_lost=device_lost))

    def _answer(self, pending: _Pending, reply: Reply) -> None:
        if self._waiting.pop(pending.request.id, None) is not None:
            self._sink(reply)

    def _status(self, state: State, detail: str, latency_ms: float | None) -> None:
        self._state = (state, detail, latency_ms)
        traffic = self._meter.read(len(self._waiting), self._actor.now())
        self._sink(BackendStatus(self.id, state, detail or self._trouble, latency_ms, self._title, traffic))

    def _show_traffic(self) -> None:
        """Now and then while there is some, and at its end."""
        now = self._actor.now()
        if now - self._shown >= _TRAFFIC_PAUSE or not self._sent:
            self._shown = now
            self._status(*self._state)

    def _compiler_trouble(self, words: str) -> None:
        if words != self._trouble:
            self._trouble = words
            self._status(*self._state)

    def _progress(self, done: int, total: int) -> None:
        self._sink(Prepared(self.id, done, total))

    def _text(self, signature: str, sections: tuple[tuple[str, str], ...]) -> None:
        self._sink(KernelText(signature, sections))
