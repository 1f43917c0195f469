"""Where a session stands, as commands: a script begins with them, because its replay begins with nothing set."""

from __future__ import annotations

from collections.abc import Iterator

from tapml_tui.engine.commands import (
    Command,
    Mode,
    SelectCase,
    SetBackend,
    SetBeside,
    SetMode,
    SetOutputKind,
    Step,
    ToggleBreakpoint,
    Verb,
)
from tapml_tui.engine.session import Session
from tapml_tui.engine.session_file import ranges_alike


def preamble(session: Session) -> Iterator[Command]:
    """What brings a new session to the case, mode, sides, place and breakpoints of this one."""
    view = session.view
    if view.case:
        yield SelectCase(view.case)
    if view.mode is not Mode.CHAINED:
        yield SetMode(view.mode)
    if not session.beside:
        yield SetBeside(False)
    for start, stop, backend, kernel in ranges_alike(view.placement):
        if backend != session.views.initial or kernel is not None:
            yield SetBackend(start, stop, backend, kernel)
    for (graph, output), kind in session.answers.kinds.items():
        if graph == session.graph_number:
            yield SetOutputKind(output, kind)
    yield from _to(session)
    for one in session.breakpoints.all:  # after the way, on which they would stop
        yield ToggleBreakpoint(one)


def _to(session: Session) -> Iterator[Command]:
    graph, cursor = session.view.graph, session.cursor
    before = min(cursor, len(graph) - 1)  # nothing can be run to that lies behind the last one
    if before > 0:
        yield Step(Verb.TO, graph.entry_of(before))
    if cursor > before >= 0:
        yield Step(Verb.INTO)
