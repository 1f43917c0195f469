"""What both sides have in common: a backend that lives on an actor, and answers everything when it is closed."""

from __future__ import annotations

from tapml_tui.backends.actor import Actor
from tapml_tui.backends.protocol import Execute, Failed, LogLine, Sink, Stage

_CLOSED = "the session was closed"


class ActingBackend:
    """Takes calls from any thread and does them on one; `protocol.Backend` but for `prepare` and `describe`."""

    id: str

    def __init__(self) -> None:
        """Make it; nothing is started."""
        self._sink: Sink = lambda reply: None
        self._actor = Actor(self.id, self._program_error)
        self._closed = False

    def start(self, sink: Sink) -> None:
        """See `protocol.Backend`."""
        self._sink = sink
        self._actor.post(self._begin)
        self._actor.start()

    def execute(self, request: Execute) -> None:
        """See `protocol.Backend`."""
        if self._closed:
            self._refuse_closed(request)
        else:
            self._actor.post(self._take, request)

    def interrupt(self) -> None:
        """See `protocol.Backend`."""
        self._actor.post(self._interrupt)

    def restart(self) -> None:
        """See `protocol.Backend`."""
        self._actor.post(self._restart)

    def close(self) -> None:
        """See `protocol.Backend`."""
        if self._closed:
            return
        self._closed = True
        self._actor.post(self._fail_all, _CLOSED)
        self._actor.stop(timeout=5)
        self._stop_processes()

    # On the actor's thread.

    def _take(self, request: Execute) -> None:
        if self._closed:
            self._refuse_closed(request)
        else:
            self._execute(request)

    def _refuse_closed(self, request: Execute) -> None:
        self._sink(Failed(request.id, False, Stage.CONNECT, _CLOSED))

    def _program_error(self, error: BaseException) -> None:
        self._log("error", f"error of this program: {type(error).__name__}: {error}")

    def _log(self, level: str, line: str) -> None:
        self._sink(LogLine(self.id, level, line))

    # To be defined; all but the last on the actor's thread.

    def _begin(self) -> None:
        raise NotImplementedError

    def _execute(self, request: Execute) -> None:
        raise NotImplementedError

    def _interrupt(self) -> None:
        raise NotImplementedError

    def _restart(self) -> None:
        raise NotImplementedError

    def _fail_all(self, reason: str) -> None:
        raise NotImplementedError

    def _stop_processes(self) -> None:
        """Once the actor has ended: kill them, and wait until they are gone."""
        raise NotImplementedError
