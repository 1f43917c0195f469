"""What the user sees: the debugger on a terminal, in Textual."""

from __future__ import annotations

import gc
import os
import shlex
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tapml_tui.backends.launch import TargetOptions


@contextmanager
def _uncollected() -> Iterator[None]:
    """No search for garbage before the first paint: there is none."""
    gc.disable()
    try:
        yield
    finally:
        gc.unfreeze()
        gc.enable()


def _collect_what_comes() -> None:
    """What is there by now stays: looking through it for garbage would hold up a key, now and then, for 0.1 s."""
    gc.freeze()
    gc.enable()


@_uncollected()
def run(
    trace_path: str | Path,
    options: TargetOptions | Sequence[TargetOptions],
    *,
    session: str | Path | None = None,
    mouse: bool = True,
    tolerances: str | None = None,
    fetch_limit: int = 64 << 20,
) -> int:
    """Open a trace in the debugger; returns the exit code.

    Args:
        trace_path: The trace.
        options: Where the target is, or each of several, which are seen beside each other.
        session: File of the run; by default beside the trace.
        mouse: Whether the terminal reports the mouse.
        tolerances: File of the user's own tolerances; None: one that lies beside the trace.
        fetch_limit: Outputs of more bytes are judged on a sample.

    Raises:
        TraceError: The trace cannot be opened.
        CommandError: There is no terminal.
    """
    from tapml_tui.ui.terminal import calm_terminal, in_a_terminal, leave_with_the_terminal

    os.environ.update(calm_terminal(os.environ))

    from tapml_tui.backends.launch import TargetOptions, late_backends
    from tapml_tui.engine import Engine
    from tapml_tui.headless.exits import CommandError
    from tapml_tui.headless.tolerances import tolerances_for
    from tapml_tui.target_facts import names_of, origins_of
    from tapml_tui.ui.app import DebuggerApp
    from tapml_tui.ui.header import who
    from tapml_tui.ui.inbox import Inbox
    from tapml_tui.ui.logfile import open_log
    from trace_format import TraceError, open_trace

    open_log()
    inbox = Inbox()
    with open_trace(trace_path) as trace:
        if not trace.cases:
            raise TraceError("this trace has no case: nothing was recorded, carve it again")
        if not in_a_terminal():
            raise CommandError(
                "the debugger needs a terminal",
                why="its keys or its screen are redirected",
                remedy=f"start it in a terminal; `tapml-tui check {shlex.quote(str(trace_path))}` needs none",
            )
        leave_with_the_terminal()
        run_path = Path(session) if session is not None else None
        targets = [options] if isinstance(options, TargetOptions) else list(options)
        overrides, _ = tolerances_for(str(trace_path), tolerances)
        engine = Engine(
            trace,
            late_backends(targets),
            on_event=inbox.put,
            run_path=run_path,
            origins=origins_of(targets),
            overrides=overrides,
            names=names_of(targets),
            resume=True,
            fetch_limit=fetch_limit,
        )
        try:
            app = DebuggerApp(engine, inbox, who(), on_painted=_collect_what_comes)
            return app.run(mouse=mouse) or app.return_code or 0
        finally:
            # The screen is gone and Ctrl+C is a signal again. Closing takes a moment and has an end of its own.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            engine.close()
