"""What both sides have in common: a backend that lives on an actor, and answers every request exactly once."""

from __future__ import annotations

import traceback
from pathlib import Path

from tapml_tui.backends.actor import Actor
from tapml_tui.backends.protocol import BackendStatus, Execute, Executed, Failed, LogLine, Sink, Stage, State
from tapml_tui.backends.user_code import UserFiles

_CLOSED = "the session was closed"
_ERRORS_IN_A_ROW = 3


class ActingBackend:
    """Takes calls from any thread and does them on one; `protocol.Backend` but for `prepare` and `describe`.

    After an error of this program nothing that is known here can be trusted: what waits is answered with it, and all is
    thrown away and begun anew. An error that comes again and again ends that, until `restart`.
    """

    id: str
    _title: str
    _users: UserFiles

    def __init__(self) -> None:
        """Make it; nothing is started."""
        self._sink: Sink = lambda reply: None
        self._actor = Actor(self.id, self._program_error)
        self._closed = False
        self._unanswered: set[int] = set()  # ids of requests
        self._errors = 0  # of this program, since a request was executed
        self._broken = ""  # by which of them

    def start(self, sink: Sink) -> None:
        """See `protocol.Backend`."""
        self._sink = sink
        self._actor.post(self._begin)
        self._actor.start()

    def execute(self, request: Execute) -> None:
        """See `protocol.Backend`."""
        if self._closed:
            self._refuse(request, _CLOSED)
        else:
            self._actor.post(self._take, request)

    def interrupt(self) -> None:
        """See `protocol.Backend`."""
        self._actor.post(self._interrupt)

    def restart(self) -> None:
        """See `protocol.Backend`."""
        self._actor.post(self._mend)

    @property
    def changed(self) -> str:
        """See `protocol.Backend`."""
        return self._users.changed

    def reread(self) -> bool:
        """See `protocol.Backend`."""
        before, self._users = self._users.said, self._users.again()
        if self._users.said == before:
            return False
        self._actor.post(self._take_up)
        return True

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
        if self._closed or self._broken:
            self._refuse(request, self._broken or _CLOSED)
        else:
            self._unanswered.add(request.id)
            self._execute(request)

    def _refuse(self, request: Execute, why: str) -> None:
        self._sink(Failed(request.id, False, Stage.CONNECT, why))

    def _answer(self, reply: Executed | Failed) -> None:
        """Every answer goes this way; the first one to a request counts."""
        if reply.id in self._unanswered:
            self._unanswered.remove(reply.id)
            if isinstance(reply, Executed):
                self._errors = 0
            self._sink(reply)

    def _program_error(self, error: BaseException) -> None:
        place = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(place.filename).name}, line {place.lineno}"
        why = f"error of this program: {type(error).__name__}: {error} ({where})"
        self._log("error", why)
        self._errors += 1
        if self._errors > _ERRORS_IN_A_ROW:
            self._broken = f"{why}, again and again (R in the debugger starts it anew)"
        for number in sorted(self._unanswered):
            self._answer(Failed(number, False, Stage.CONNECT, why))
        try:
            self._discard()
            if not (self._broken or self._closed):
                self._begin()
        except Exception:  # it is that what is wrong
            self._broken = f"{why}, and once more when it was begun anew (R in the debugger tries again)"
        if self._broken:
            self._sink(BackendStatus(self.id, State.FAILED, self._broken, title=self._title))

    def _mend(self) -> None:
        if self._broken:
            self._broken, self._errors = "", 0
            self._begin()
        else:
            self._restart()

    def _log(self, level: str, line: str) -> None:
        self._sink(LogLine(self.id, level, line))

    # To be defined; all but the last on the actor's thread.

    def _begin(self) -> None:
        """Start what has to be started; also after `_discard`."""
        raise NotImplementedError

    def _discard(self) -> None:
        """Kill every process and forget everything: as it was before `_begin`. Nobody waits for an answer."""
        raise NotImplementedError

    def _execute(self, request: Execute) -> None:
        raise NotImplementedError

    def _interrupt(self) -> None:
        raise NotImplementedError

    def _restart(self) -> None:
        raise NotImplementedError

    def _take_up(self) -> None:
        """What the user's files say now counts; abandon what is under way."""
        raise NotImplementedError

    def _fail_all(self, reason: str) -> None:
        raise NotImplementedError

    def _stop_processes(self) -> None:
        """Once the actor has ended: kill them, and wait until they are gone."""
        raise NotImplementedError
