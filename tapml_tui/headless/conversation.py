"""An engine without a screen: one command after the other, each waited for."""

from __future__ import annotations

import queue
from collections.abc import Callable
from types import TracebackType

from tapml_tui.backends.protocol import State
from tapml_tui.engine import Engine
from tapml_tui.engine.commands import Command, Interrupt
from tapml_tui.engine.events import Changed, Event, Snapshot, StopReason
from tapml_tui.engine.executor import SOURCE
from tapml_tui.headless.exits import CommandError, Exit

_GONE = (State.FAILED, State.MISSING)


class Conversation:
    """Asks an engine, and waits for its answers.

    Attributes:
        engine: The engine, started.
    """

    def __init__(
        self,
        make_engine: Callable[[Callable[[Event], None]], Engine],
        on_progress: Callable[[Snapshot], None] = lambda snapshot: None,
    ) -> None:
        """Start an engine.

        Args:
            make_engine: Makes it, given where its events go.
            on_progress: Gets the engine's state, often.
        """
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._on_progress = on_progress
        self.engine = make_engine(self._events.put)
        self.engine.start()

    def __enter__(self) -> Conversation:
        """The conversation."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        """Stop the engine and all of its processes."""
        self.engine.close()

    def ask(self, command: Command) -> Snapshot:
        """Have a command carried out; the state after it, also where it was refused.

        Raises:
            CommandError: If the target is gone for good.
            KeyboardInterrupt: If the user has had enough; the command is then stopped.
        """
        ticket = self.engine.submit(command)
        try:
            return self._answer(ticket)
        except KeyboardInterrupt:
            self._answer(self.engine.submit(Interrupt()))
            raise

    def _answer(self, ticket: int) -> Snapshot:
        while True:
            event = self._events.get()
            if not isinstance(event, Changed):
                continue
            snapshot = event.snapshot
            self._on_progress(snapshot)
            for status in snapshot.backends:
                if status.backend != SOURCE and status.state in _GONE:
                    raise CommandError("the target could not be had", why=status.detail, code=Exit.DEVICE)
            if event.answers == ticket:
                return snapshot

    def must(self, command: Command) -> Snapshot:
        """The same for a command that has to succeed.

        Raises:
            CommandError: If it was refused, or could not be carried out.
            KeyboardInterrupt: As `ask`.
        """
        snapshot = self.ask(command)
        if snapshot.stopped in (StopReason.REFUSED, StopReason.ERROR):
            raise CommandError(snapshot.message, code=Exit.FAILED)
        return snapshot
