"""The way to the device: the device worker and, on loopback, our own RPC server; kept alive.

Lives on its backend's actor. It knows nothing of requests: it says when the device can be used,
and when it was lost and who is to blame, and makes the connection anew by itself.
"""

from __future__ import annotations

import secrets
import signal
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from tapml_tui.backends.actor import Actor, Timer
from tapml_tui.backends.address import Address
from tapml_tui.backends.frames import Header
from tapml_tui.backends.loss import Loss
from tapml_tui.backends.process import WorkerProcess, describe_exit
from tapml_tui.backends.protocol import Deadlines, State
from tapml_tui.backends.troubles import refusal

_LOSSES_IN_A_ROW = 4
_BUSY_HINT = 3.0
_LAST_LINES = 40
_SESSION_END = 5.0
_RETRY_PAUSE = 0.5
_LONGEST_PAUSE = 15.0
# Before there was a session, an address that nobody answers at is likely mistyped; after that it may be a reboot.
_FIRST_TRIES = 4


@dataclass
class LinkEvents:
    """Whom to tell, on the actor's thread."""

    state: Callable[[State, str, float | None], None]
    frame: Callable[[Header, list[np.ndarray]], None]  # "stage", "executed", "failed", "brought", "pong"
    limits: Callable[[dict[str, int | str]], None]  # of the device, just before it can be used
    lost: Callable[[Loss], None]
    usable: Callable[[], None]
    log: Callable[[str, str], None]


class DeviceLink:
    """Connected, or on the way to be, or given up until `restart`."""

    def __init__(self, actor: Actor, address: Address, *, deadlines: Deadlines, events: LinkEvents) -> None:
        """Make it; nothing is started."""
        self._actor, self._address, self._deadlines, self._events = actor, address, deadlines, events
        self._worker: WorkerProcess | None = None
        self._worker_ready = False
        self._server: WorkerProcess | None = None
        self._secret = ""
        self._port: int | None = None
        self.launches = ""  # where the worker notes what it launches
        self.connected = False
        self.place = ""  # of the server, once there was one
        self.gave_up = ""
        self.tries = 0  # to connect, since there was a session
        self._was_connected = False
        self._lost_at = 0.0
        self._connecting = False
        self._closing = False
        self._breaking: Loss | None = None  # the session ends; what comes then is known already
        self._losses = 0
        self._dropping = False  # the worker drops a broken session, at which TVM's client may abort
        self._timers: dict[str, Timer] = {}
        self._last_lines: deque[str] = deque(maxlen=_LAST_LINES)

    def begin(self) -> None:
        """Start the processes, at the same time."""
        self._events.state(State.STARTING, "", None)
        if self._address.ours:
            self._start_server()
        self._start_worker()

    def send(self, header: Header) -> None:
        """A frame for the device worker."""
        if self._worker is not None:
            self._worker.send(header)

    def worked(self) -> None:
        """A request was answered: the device is well."""
        self._losses = 0

    def break_off(self, words: str) -> None:
        """End the session, because what runs in it does not return."""
        self._lose(Loss(words, deadline=True, certain=self._address.ours), session_may_hang=True)

    def restart(self) -> None:
        """Try again after it was given up, from scratch."""
        if self._closing or not self.gave_up:
            return
        self.gave_up = ""
        self._losses = self.tries = 0
        self._was_connected = False
        self._events.state(State.CONNECTING, "starting again", None)
        if self._address.ours and self._server is None:
            self._start_server()
        if self._worker is None:
            self._start_worker()
        self._connect()

    def leave(self) -> WorkerProcess | None:
        """Have the device worker end by itself, so that the server sees the end of a session, and no line that breaks.

        A stock Python server serves nobody any more after a client that went in the middle of a call. Ours does.
        """
        if self._address.ours or not (self.connected or self._connecting):
            return None
        self.send({"op": "leave"})
        return self._worker

    def stop(self) -> list[WorkerProcess]:
        """Kill everything; the processes are returned to be waited for."""
        self._closing = True
        for timer in self._timers.values():
            timer.cancel()
        processes = [process for process in (self._worker, self._server) if process is not None]
        self._worker = self._server = None  # what they still say is not heard
        self.connected = False
        for process in processes:
            process.kill()
        return processes

    # Processes.

    def _start_server(self) -> None:
        self._port = None
        self._secret = secrets.token_hex(16)
        try:
            self._server = server = WorkerProcess(
                "tapml_tui.backends.worker_server",
                on_frame=lambda header, _: self._actor.post(self._server_frame, server, header),
                on_exit=lambda code: self._actor.post(self._server_exit, server, code),
                on_log=self._server_log,
                # Idle threads of TVM's pool would spin on the cores that the client needs.
                environment={"TVM_THREAD_POOL_SPIN_COUNT": "0"},
            )
        except OSError as error:
            self._give_up(f"the RPC server could not be started: {error.strerror}")
            return
        server.send({"op": "serve", "key": self._secret, "device": self._address.device})
        self._arm("server", self._deadlines.start, server.kill)

    def _start_worker(self) -> None:
        self._worker_ready = False
        try:
            self._worker = worker = WorkerProcess(
                "tapml_tui.backends.worker_device",
                on_frame=lambda header, blocks: self._actor.post(self._worker_frame, worker, header, blocks),
                on_exit=lambda code: self._actor.post(self._worker_exit, worker, code),
                on_log=lambda line: self._events.log("info", line),
            )
        except OSError as error:
            self._give_up(f"the device process could not be started: {error.strerror}")
            return
        self._arm("worker", self._deadlines.start, worker.kill)

    def _server_log(self, line: str) -> None:
        """On the thread that reads the log."""
        self._last_lines.append(line)
        self._events.log("info", line)

    def _server_frame(self, server: WorkerProcess, header: Header) -> None:
        if server is not self._server:
            return
        if header["op"] == "ready":
            self._disarm("server")
            self._port = header["port"]
            self._connect()
        elif header["op"] == "session_ended":
            self._session_ended(header["code"], line_broke=header["line_broke"])
        elif header["op"] == "no_session" and self._breaking is not None:
            self._finish(self._breaking)

    def _session_ended(self, code: int, *, line_broke: bool) -> None:
        """The server may say so before it is known that the device worker is gone: then no kernel is to blame."""
        ended = Loss.of_a_session(code, line_broke=line_broke)
        if self._breaking is None:
            # Code 0 is the end of a session that the device worker let go of.
            if code != 0 and self.connected:
                self._lose(ended)
        elif self._breaking.deadline or line_broke or code in (0, -signal.SIGKILL):  # by us, or the worker went
            self._finish(self._breaking)
        else:
            self._finish(ended)

    def _server_exit(self, server: WorkerProcess, code: int) -> None:
        if server is not self._server or self._closing:
            return
        self._disarm("server")
        was_ready, self._server, self._port = self._port is not None, None, None
        words = f"the RPC server {describe_exit(code)}"
        if self._breaking is not None:
            self._finish(self._breaking if self._breaking.deadline else Loss(words))
        elif self.connected:
            self._lose(Loss(words))
        elif not was_ready:
            self._count_loss(words)
        if not self.gave_up and self._server is None:
            self._start_server()

    def _worker_frame(self, worker: WorkerProcess, header: Header, blocks: list[np.ndarray]) -> None:
        if worker is not self._worker:
            return
        match header["op"]:
            case "ready":
                self._disarm("worker")
                self._worker_ready = True
                self._connect()
            case "connected":
                self._connected(header)
            case "connect_failed":
                self._connect_failed(header["reason"], header["detail"])
            case "lost":
                if self.connected and self._breaking is None:
                    loss = Loss.of_a_call(header["reason"], header["detail"], ours=self._address.ours)
                    self._lose(loss, session_may_hang=True)
            case _:
                if self.connected and self._breaking is None:
                    self._events.frame(header, blocks)

    def _worker_exit(self, worker: WorkerProcess, code: int) -> None:
        if worker is not self._worker or self._closing:
            return
        self._disarm("worker")
        self._disarm("connect")
        self._disarm("busy")
        was_ready = self._worker_ready
        self._worker, self._worker_ready = None, False
        self._connecting = False
        words = f"the device process {describe_exit(code)}"
        if self._breaking is not None:
            self._finish(self._breaking)
        elif self.connected:
            self._lose(Loss(words), session_may_hang=True)
        elif self._dropping:
            self._dropping = False
        elif not self.gave_up:
            self._count_loss(words if was_ready else f"{words} while it loaded TVM")
        if not self.gave_up and self._worker is None:
            self._start_worker()

    # The connection.

    def _connect(self) -> None:
        if self.gave_up or self.connected or self._connecting or self._breaking is not None:
            return
        if not self._worker_ready or (self._address.ours and self._port is None):
            return
        self._connecting = True
        self._events.state(State.CONNECTING, "", None)
        address = self._address
        place = ("127.0.0.1", self._port) if address.ours else address.server
        self.send(
            {
                "op": "connect",
                "address": place,
                "tracker": address.tracker,
                "key": self._secret if address.ours else address.key,
                "device": address.device,
                "patience": self._deadlines.connect,
                "launches": self.launches,
            }
        )
        self._arm("connect", self._deadlines.connect, self._connect_overdue)
        if not address.ours:
            self._arm("busy", _BUSY_HINT, self._say_busy)

    def _say_busy(self) -> None:
        where = "the tracker has no free device" if self._address.tracker else "the server does not answer"
        self._events.state(State.CONNECTING, f"{where}: busy with another session? waiting", None)

    def _connect_overdue(self) -> None:
        """The call never returns: only killing its process ends it."""
        self._connecting = False
        self._disarm("busy")
        why = "it is busy with another session, or is no TVM RPC server. Free it"
        if self._was_connected and not self._address.tracker:
            why = "it still runs what it had, or died of it and only looks alive, as a Python server does. Restart it"
        self._give_up(
            f"{self._address.text} did not answer within {self._deadlines.connect:.0f} s: {why} and try again "
            "(R in the debugger)"
        )
        for process in (self._worker, self._server):
            if process is not None:
                process.kill()

    def _connected(self, header: Header) -> None:
        self._connecting = False
        self._disarm("connect")
        self._disarm("busy")
        self._disarm("again")
        self.connected = self._was_connected = True
        self.place = header["place"]
        self._dropping = False
        self._events.limits(header["limits"])
        where = " at ".join(filter(None, [header["name"], header["place"]]))
        again = "; the server was started again" if self.tries else ""
        self._events.log("info", f"connected to {where}{again}")
        self._events.state(State.READY, "", header["latency_ms"])
        self._events.usable()
        self.tries = 0

    def _connect_failed(self, reason: str, detail: str) -> None:
        self._connecting = False
        self._disarm("connect")
        self._disarm("busy")
        self.tries += 1
        why = refusal(f"{reason}\n{detail}")
        words = f"no connection to {self._address.text}: {reason.rstrip(' .')}"
        remedy = f". {why.remedy[:1].upper()}{why.remedy[1:]}" if why.remedy and not self._address.ours else ""
        waited = self._actor.now() - self._lost_at
        patient = waited < self._deadlines.reconnect if self._was_connected else self.tries < _FIRST_TRIES
        if why.final or not patient:
            self._give_up(f"{words}{remedy} (R in the debugger tries again)")
            return
        pause = min(_RETRY_PAUSE * 2 ** (self.tries - 1), _LONGEST_PAUSE)
        self._events.state(State.CONNECTING, f"{words}; again in {pause:.0f} s", None)
        self._arm("again", pause, self._connect)

    # Losing it.

    def _lose(self, loss: Loss, *, session_may_hang: bool = False) -> None:
        """The session is of no use any more. Its end is waited for, where it is ours to know."""
        if not self.connected or self._breaking is not None:
            return
        if session_may_hang and self._server is not None and self._port is not None:
            self._breaking = loss
            self._server.send({"op": "end_session"})
            self._arm("session", _SESSION_END, self._server.kill)
        elif loss.deadline and self._worker is not None:
            self._breaking = loss
            self._worker.kill()
        else:
            self._finish(loss)

    def _finish(self, loss: Loss) -> None:
        self._disarm("session")
        self._breaking = None
        self.connected = False
        self._connecting = False
        self._dropping = True
        self._lost_at = self._actor.now()
        self._events.log("warning", loss.words)
        self._events.state(State.LOST, loss.words, None)
        self._events.lost(replace(loss, log="\n".join(self._last_lines)))
        self._last_lines.clear()
        if not (loss.crashed or loss.deadline):
            self._count_loss(loss.words)
        self._connect()

    def _count_loss(self, words: str) -> None:
        self._losses += 1
        if self._losses >= _LOSSES_IN_A_ROW:
            self._give_up(f"{words}, {self._losses} times in a row (R in the debugger tries again)")

    def _give_up(self, why: str) -> None:
        self.gave_up = why
        self.connected = False
        self._events.state(State.FAILED, why, None)
        self._events.lost(Loss(why))

    def _arm(self, name: str, seconds: float, call: Callable[[], None]) -> None:
        self._disarm(name)
        self._timers[name] = self._actor.later(seconds, call)

    def _disarm(self, name: str) -> None:
        timer = self._timers.pop(name, None)
        if timer is not None:
            timer.cancel()
