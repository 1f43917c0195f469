"""The target side: TVM kernels on a device at the other end of an RPC link."""

from __future__ import annotations

import importlib.util
import platform
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from tapml_tui.backends import replies
from tapml_tui.backends.acting import ActingBackend
from tapml_tui.backends.address import Address, target_kind
from tapml_tui.backends.ahead import Ahead
from tapml_tui.backends.frames import Header
from tapml_tui.backends.kernel_cache import Kernel, NoKernel
from tapml_tui.backends.kernels import KernelEvents, Kernels
from tapml_tui.backends.killers import Killer, Killers
from tapml_tui.backends.loss import Loss
from tapml_tui.backends.operands import output_limit, request_to_wire
from tapml_tui.backends.prebuilt import Prebuilt, names_of
from tapml_tui.backends.process import WorkerProcess
from tapml_tui.backends.protocol import (
    Deadlines,
    Execute,
    Executed,
    Failed,
    KernelText,
    Operand,
    Prepared,
    Stage,
    Unit,
)
from tapml_tui.backends.seat import Pending, Seat, SeatEvents
from tapml_tui.backends.seating import Seating
from tapml_tui.backends.settings import CompilerSettings
from tapml_tui.backends.target_report import TargetReport
from tapml_tui.backends.user_code import UserFiles

TVM_MISSING = "TVM is not installed: pip install 'tapml-tui[all]'"
_GOODBYE = 2.0  # seconds for a server of somebody else's to end what it is at


class TargetBackend(ActingBackend):
    """Executes units on a device, or on several of a kind; `protocol.Backend`.

    What waits is given to devices as they become free, in order. A device that is lost gives back what it had.
    """

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
        jobs: int = 1,
        relaunch: bool = False,
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
            jobs: How many devices are used at a time.
            relaunch: Launch kernels again that took a device with them in an earlier session.
        """
        self.id = f"target:{name}" if name else "target"
        super().__init__()
        self._deadlines = deadlines or Deadlines()
        self._users = UserFiles(compiler.lower, compiler.load)
        self._address, self._compiler = address, replace(compiler, users=self._users.said)
        self._title = f"{name or target_kind(compiler.target)} @{address.text}" + (f" x{jobs}" if jobs > 1 else "")
        self._report = TargetReport(self.id, self._title, self._actor, again=self._status)
        self._library, self._cache_folder, self._jobs = library, cache_folder, jobs
        device = f"{address.text} {address.key} {address.device}\n{self._compiler.context}"
        self._killers = Killers(state_folder, device, relaunch=relaunch)
        self._interrupted = False  # what is restarted next was interrupted; nobody asked for killers again
        self._missing = ""
        self._make()

    def _make(self) -> None:
        """What works, and what it knows: nothing is started."""
        self._kernels = self._no_kernels()
        told = SeatEvents(self._status, self._replied, self._limits, self._lost, self._usable, self._brought, self._log)
        self._seats = [
            Seat(self._actor, self._address, number, self._killers, deadlines=self._deadlines, events=told)
            for number in range(1, self._jobs + 1)
        ]
        self._ahead = Ahead(self._actor, self._seats[0], self._kernel, self._killers, idle=lambda: not self._waiting)
        self._seating = Seating(self._seats)
        self._waiting: OrderedDict[int, Pending] = OrderedDict()  # all that is not answered, by request id, in order

    def _no_kernels(self) -> Kernels | Prebuilt:
        events = KernelEvents(
            self._pump,
            lambda done, total: self._sink(Prepared(self.id, done, total)),
            lambda signature, sections: self._sink(KernelText(signature, sections)),
            self._log,
            self._report.in_trouble,
        )
        if self._library:
            return Prebuilt(self._library, events)
        return Kernels(self._actor, cache_folder=self._cache_folder, deadlines=self._deadlines, events=events)

    def _kernel(self, signature: str) -> Kernel | NoKernel | None:
        return self._kernels.get(signature)

    @property
    def fingerprint(self) -> str:
        """The device, and everything that kernels depend on.

        "" for a device behind a server that is not ours: it may have another driver tomorrow, or be
        another device, and nobody would say so. What was computed there counts for one session.
        """
        if not self._address.ours or self._library:
            return ""
        compiler = replace(self._compiler, users=self._users.said)
        return f"{self._address.device} {platform.machine()}\n{compiler.context}"

    def prepare(self, units: Sequence[Unit], weights: Sequence[Operand] = ()) -> None:
        """See `protocol.Backend`."""
        self._actor.post(self._prepare, tuple(units), tuple(weights))

    def describe(self, unit: Unit) -> None:
        """See `protocol.Backend`."""
        self._actor.post(lambda: self._kernels.describe(unit))

    def _stop_processes(self) -> None:
        leaving = [worker for seat in self._seats if (worker := seat.leave()) is not None]
        until = self._actor.now() + _GOODBYE
        for worker in leaving:
            worker.join(max(0.0, until - self._actor.now()))
        for process in self._kill():
            process.join(5)
        self._killers.close()

    def _kill(self) -> list[WorkerProcess]:
        compiler = self._kernels.stop()
        return [*(one for seat in self._seats for one in seat.stop()), *([compiler] if compiler is not None else [])]

    # Everything below runs on the actor's thread.

    def _begin(self) -> None:
        if importlib.util.find_spec("tvm") is None:
            self._missing = TVM_MISSING
            self._status()
            return
        for killer in self._killers.open():
            self._log("warning", killer.notice)
        for seat in self._seats:
            seat.link.launches = self._killers.launch_file()
            seat.link.begin()  # first: it is what everybody waits for
        if self._address.device == "cpu":
            self._kernels.begin(self._compiler)

    def _discard(self) -> None:
        self._kill()
        self._make()

    def _limits(self, limits: dict[str, int | str]) -> None:
        """The device can be asked what it can do: that is what kernels are compiled for, so it comes first."""
        wanted = replace(self._compiler, limits=tuple(sorted(limits.items())))
        if not self._kernels.begun:
            self._compiler = wanted
            self._kernels.begin(wanted)
        elif wanted != self._compiler:
            self._log("warning", "this device has other limits than the one before: kernels stay as they were compiled")

    def _prepare(self, units: Sequence[Unit], weights: Sequence[Operand]) -> None:
        if self._missing or self._broken:
            return
        self._kernels.want(units)
        if len(self._seats) == 1 and not self._library:  # of several it is not known which one will need it
            self._ahead.announce(units, weights)

    def _execute(self, request: Execute) -> None:
        if request.kernel is not None:
            reason = f"there is no kernel {request.kernel!r}: kernels of one node's own cannot be given yet"
            self._answer(Failed(request.id, False, Stage.CONVERT, reason))
        elif gave_up := self._missing or self._gave_up:
            self._answer(Failed(request.id, False, Stage.CONNECT, gave_up, device_lost=True))
        else:
            pending = Pending(request, request.unit.signature)
            self._waiting[request.id] = pending
            self._kernels.want([request.unit])
            self._pump()

    @property
    def _gave_up(self) -> str:
        """Why there is no device, and none will come; "" while one may."""
        reasons = [seat.link.gave_up for seat in self._seats]
        return reasons[0] if all(reasons) else ""

    def _pump(self) -> None:
        """Send what can be sent, in order: a kernel that is not there yet holds up what comes after it."""
        if not self._kernels.begun:
            return
        held_up: set[str] = set()  # lanes
        for pending in list(self._waiting.values()):
            if pending.seat is not None or pending.request.lane in held_up:
                continue
            kernel = self._kernel(pending.signature)
            if kernel is None:
                self._kernels.want([pending.request.unit], urgent=True)
                return
            if isinstance(kernel, NoKernel):
                self._end(
                    pending, Failed(pending.request.id, kernel.unsupported, kernel.stage, kernel.reason, kernel.detail)
                )
                continue
            killer = self._killers.get(pending.signature)
            if killer is not None and not killer.sure:
                pending.suspect = killer.words
            if killer is not None and pending.signature not in self._suspects():
                self._end(pending, Failed(pending.request.id, False, Stage.RUN, killer.refusal))
                continue
            seat = self._seating.seat_for(pending.request) if killer is None else None
            if seat is not None:
                self._send(seat, pending, kernel)
            elif pending.request.lane:
                held_up.add(pending.request.lane)
        self._try_again()
        self._ahead.go_on()

    def _try_again(self) -> None:
        """A kernel that may have taken a device with it gets its second chance when all is quiet: it risks nobody."""
        suspects = self._suspects()
        if not suspects or any(seat.sent for seat in self._seats):
            return
        suspect = next(iter(suspects.values()))
        kernel, seat = self._kernel(suspect.signature), self._seating.seat_for(suspect.request)
        if seat is not None and isinstance(kernel, Kernel):
            self._send(seat, suspect, kernel)

    def _send(self, seat: Seat, pending: Pending, kernel: Kernel) -> None:
        request = pending.request
        self._seating.given(request, seat)
        seat.send(
            pending,
            {
                "library": kernel.library,
                "function": kernel.function,
                "identity": list(kernel.identity),
                "signature": pending.signature,
                "label": request.label,
                "names": names_of(request.unit, request.label) if self._library else [],
                "outputs": [[spec.dtype, list(spec.shape)] for spec in request.unit.outputs],
                "careful": pending.losses > 0,
                "most": output_limit(request.unit),
                **request_to_wire(request),
            },
        )

    def _replied(self, seat: Seat, pending: Pending, header: Header, blocks: list[np.ndarray]) -> None:
        request_id = pending.request.id
        if header["op"] == "failed" and self._kernels.forget_lost(pending.signature):
            pending.seat = None
            self._pump()
            return
        executed = header["op"] == "executed"
        if executed:
            up = header["bytes_up"] + header["bytes_of_library"]
            self._report.add(up, header["bytes_down"])
        if pending.suspect:
            self._killers.discard(pending.signature)
        reply = replies.executed(request_id, header, blocks) if executed else replies.failed(request_id, header)
        self._end(pending, replace(reply, device=seat.device))
        self._show_traffic()
        self._pump()

    def _brought(self, header: Header) -> None:
        self._report.add(header["bytes_up"], 0)
        self._ahead.brought(header)
        self._show_traffic()

    def _lost(self, seat: Seat, loss: Loss, blamed: Pending | None) -> None:
        """Answer the request that is to blame; the others are done again, elsewhere or when the device is back."""
        self._ahead.lost()
        if seat.device and not seat.link.gave_up:
            self._report.losses[seat.device] = loss.words
        if self._gave_up:
            if not self._kernels.begun:
                self._kernels.begin(self._compiler)  # without a device there are still texts to be shown
            self._fail_all(self._gave_up, device_lost=True)
        elif blamed is not None:  # else it was idle, or at a request that was interrupted
            self._judge_loss(seat, loss, blamed)
        self._pump()

    def _judge_loss(self, seat: Seat, loss: Loss, blamed: Pending) -> None:
        blamed.losses += 1
        if blamed.stage is Stage.RUN and (loss.deadline or loss.crashed):
            if loss.certain or blamed.suspect:
                self._blame(blamed, seat, loss.words, loss.log)
                return
            # At a distance it may have been the line. It is said to be the kernel, should we die too; but if the
            # server is still there, or another device, it gets one more chance.
            blamed.suspect, blamed.suspected = loss.words, seat
            self._killers.add(blamed.signature, Killer(blamed.request.label, loss.words))
            return
        if (loss.deadline and loss.certain) or blamed.losses > 1:
            reason = loss.words if loss.deadline else f"lost twice at {blamed.request.label}: {loss.words}"
            detail = f"{loss.words}\n\n{loss.log}".strip()
            failed = Failed(
                blamed.request.id, False, blamed.stage, reason, detail, device_lost=True, device=seat.device
            )
            self._end(blamed, failed)
            return
        blamed.stage = Stage.UPLOAD

    def _blame(self, pending: Pending, seat: Seat | None, words: str, log: str = "") -> None:
        """A kernel took the device with it: remember it, and never launch it again unasked."""
        label, device = pending.request.label, seat.device if seat is not None else ""
        self._killers.add(pending.signature, Killer(label, words))
        reason = words if label in words else f"{label} took the device with it: {words}"
        detail = f"{words}\n\n{log}".strip()
        failed = Failed(pending.request.id, False, Stage.RUN, reason, detail, device_lost=True, device=device)
        self._end(pending, failed)

    def _suspects(self) -> dict[str, Pending]:
        return {pending.signature: pending for pending in self._waiting.values() if pending.suspect}

    def _usable(self, seat: Seat) -> None:
        """The device is there, again or for the first time."""
        if seat.link.tries:  # it was away: that was more than a cut line
            for pending in self._suspects().values():
                if pending.suspected is seat and pending.seat is None:
                    self._blame(pending, seat, pending.suspect)
        self._pump()

    def _interrupt(self) -> None:
        self._interrupted = True
        self._kernels.interrupt()
        self._abandon("interrupted")

    def _abandon(self, reason: str) -> None:
        self._ahead.forget()
        under_way = [seat for seat in self._seats if seat.sent]
        self._fail_all(reason)
        for seat in under_way:
            seat.drop()

    def _take_up(self) -> None:
        """The same devices, other kernels."""
        self._abandon("what the user's files say has changed")
        begun, self._compiler = self._kernels.begun, replace(self._compiler, users=self._users.said)
        self._kernels.stop()
        self._kernels = self._no_kernels()
        if begun:
            self._kernels.begin(self._compiler)

    def _restart(self) -> None:
        if not self._interrupted:
            self._killers.forgive()
        self._interrupted = False
        if self._missing:
            self._missing = ""
            self._begin()
            return
        self._kernels.retry()
        for seat in self._seats:
            seat.link.restart()

    def _fail_all(self, reason: str, *, device_lost: bool = False) -> None:
        for seat in self._seats:
            seat.sent.clear()
        for pending in list(self._waiting.values()):
            if device_lost and pending.suspected is not None:
                self._blame(pending, pending.suspected, pending.suspect)
                continue
            stage = Stage.CONNECT if device_lost else pending.stage
            self._end(pending, Failed(pending.request.id, False, stage, reason, device_lost=device_lost))

    def _end(self, pending: Pending, reply: Executed | Failed) -> None:
        if self._waiting.pop(pending.request.id, None) is not None:
            self._answer(reply)

    def _status(self) -> None:
        queued = len(self._waiting) + len(self._ahead)
        self._sink(self._report.status(self._seats, queued, missing=self._missing))

    def _show_traffic(self) -> None:
        """Now and then while there is some, and at its end."""
        self._report.moved(busy=bool(self._ahead) or any(seat.sent for seat in self._seats))
