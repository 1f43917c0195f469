"""`tapml-tui TRACE --script FILE`: recorded commands, replayed without a screen."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from tapml_tui.engine import Engine
from tapml_tui.engine.events import Event, Snapshot, StopReason
from tapml_tui.engine.script import BadScript, format_command, parse_script
from tapml_tui.headless.answers import measures_of
from tapml_tui.headless.conversation import Conversation
from tapml_tui.headless.exits import CommandError, Exit
from tapml_tui.headless.progress import progress_of
from trace_format import Trace, open_trace
from trace_format.text import printable

_BAD = (StopReason.REFUSED, StopReason.ERROR)
_WIDTH = 400


def replay(trace_path: str, script: str, make_engine: Callable[[Trace, Callable[[Event], None]], Engine]) -> int:
    """Carry out the commands of a script, and say what became of each.

    Args:
        trace_path: The trace.
        script: The file of commands.
        make_engine: Makes an engine on a trace, given where its events go.

    Returns:
        The exit code: 0 if every command was carried out and nothing is wrong at the end.

    Raises:
        TraceError: If the trace cannot be read.
        CommandError: If the script is none, or the target is gone.
    """
    try:
        commands = list(parse_script(Path(script).read_text(encoding="utf-8")))
    except (BadScript, OSError, UnicodeDecodeError) as error:
        raise CommandError(f"{script} is no script", why=str(error)) from None
    code = Exit.OK
    with ExitStack() as stack:
        trace = stack.enter_context(open_trace(trace_path))
        show = stack.enter_context(progress_of(trace))
        talk = stack.enter_context(Conversation(lambda on_event: make_engine(trace, on_event), show))
        done = talk.engine.snapshot
        for command in commands:
            done = talk.ask(command)
            print(f"{printable(format_command(command), _WIDTH)}\n  {_said(done)}", flush=True)
            code = Exit.FAILED if done.stopped in _BAD else code
    for line in _end(done):
        print(line)
    wrong = done.counts.failed or done.counts.error or (done.answer is not None and done.answer.passed is False)
    return Exit.FAILED if wrong else code


def _said(done: Snapshot) -> str:
    where = f"{done.stopped.value}, at {done.cursor}"
    return f"{where}: {printable(done.message, _WIDTH)}" if done.message else where


def _end(done: Snapshot) -> list[str]:
    counts = done.counts
    lines = [
        f"{counts.nodes} nodes  {counts.passed} passed  {counts.failed} failed  {counts.error} error  "
        f"{counts.unsupported} unsupported  {counts.not_run} not run"
    ]
    if done.answer is not None:
        verdict = {True: "right", False: "WRONG", None: "not judged"}[done.answer.passed]
        lines.append(f"end to end: {verdict}  {measures_of(done.answer)}{'  (stale)' if done.answer.stale else ''}")
    return lines
