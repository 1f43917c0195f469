"""From a command to what a session does: at once, or as a run that takes its time."""

from __future__ import annotations

import errno
import os
from collections import Counter
from pathlib import Path

from tapml_tui.engine.blaming import NothingJudged
from tapml_tui.engine.commands import (
    Command,
    Describe,
    Export,
    FetchWhole,
    FindBlame,
    Force,
    Interrupt,
    Migrate,
    Record,
    Retry,
    Rewind,
    RunCases,
    RunNodes,
    SelectCase,
    SetBackend,
    SetBeside,
    SetFolds,
    SetMode,
    SetNote,
    SetOutputKind,
    Step,
    ToggleBreakpoint,
    Undo,
)
from tapml_tui.engine.end_to_end import Kind
from tapml_tui.engine.events import StopReason
from tapml_tui.engine.executor import Waiting
from tapml_tui.engine.ledger import Migration
from tapml_tui.engine.migrating import CannotMigrate
from tapml_tui.engine.preamble import preamble
from tapml_tui.engine.script import format_command
from tapml_tui.engine.session import Session, Stopped
from tapml_tui.export import CannotExport, write_test
from tapml_tui.regular_file import spare_traces

NOTE = 10_000
"""Characters that a note may have."""

_NOT_RECORDED = (Record, Interrupt, Describe, SetFolds)


def apply(session: Session, command: Command) -> Stopped | None:
    """Carry out what is done at once; None for a command that is not of this kind."""
    match command:
        case SetBackend(start, stop, backend, kernel):
            return session.put(start, stop, backend, kernel)
        case Force(node, file):
            return session.force(node, file)
        case Undo():
            return session.undo()
        case SetMode(mode):
            return session.select(session.view.case, mode)
        case SelectCase(case):
            return session.select(case, session.view.mode)
        case ToggleBreakpoint(breakpoint_):
            return session.toggle(breakpoint_)
        case Rewind():
            at_start = session.cursor == 0
            session.cursor = 0
            return Stopped(StopReason.START, "already at the start" if at_start else "")
        case Record(file):
            return _record(session, file)
        case Export(node, file):
            return _export(session, node, file)
        case SetNote(node, text):
            return _note(session, node, text)
        case SetFolds(closed):
            session.folds = closed
            return Stopped(StopReason.DONE)
        case SetBeside(on):
            session.beside = on
            return Stopped(StopReason.DONE)
        case SetOutputKind(output, kind):
            return _choose(session, output, kind)
    return None


def record(session: Session, command: Command) -> None:
    """Write a command into the script that is being recorded, if one is."""
    if session.script is not None and not isinstance(command, _NOT_RECORDED):
        with session.script.open("a", encoding="utf-8") as script:
            print(format_command(command), file=script)


def _record(session: Session, file: str | None) -> Stopped:
    before, session.script = session.script, None
    if file is None:
        return Stopped(StopReason.DONE, f"recorded in {before}" if before else "nothing is being recorded")
    try:
        path = _place(file)
        with path.open("x", encoding="utf-8") as script:
            script.writelines(f"{format_command(command)}\n" for command in preamble(session))
    except FileExistsError as error:
        there = f"{error.filename} is there ({error.strerror})"
        return Stopped(StopReason.REFUSED, f"nothing is recorded: {there}; choose another name")
    except OSError as error:
        return Stopped(StopReason.REFUSED, f"nothing is recorded: {error}")
    session.script = path
    return Stopped(StopReason.DONE, f"recording in {path}: tapml-tui TRACE --script {path} replays it")


def _place(file: str) -> Path:
    """Where a file that a command names is to be written.

    Raises:
        OSError: If no file can be there, or a trace is.
    """
    try:
        os.fsencode(file)
        path = Path(file).expanduser()
    except (ValueError, RuntimeError) as error:
        raise OSError(errno.EINVAL, str(error), file) from None
    if not path.name or "\0" in file:
        raise OSError(errno.EINVAL, "that names no file", file)
    spare_traces(path)
    return path


def begin(session: Session, command: Command) -> Waiting[Stopped] | None:
    """The run that a command starts; None for a command that starts none."""
    match command:
        case Step():
            return session.step(command)
        case RunNodes(nodes, again):
            return session.visit_all(nodes, retry=again)
        case Retry(start, stop):
            return session.retry(start, stop)
        case RunCases(cases):
            return session.visit_cases(cases)
        case FetchWhole(node):
            return session.fetch_whole(node)
        case FindBlame():
            return _find_blame(session)
        case Migrate(again):
            return _migrate(session, again)
    return None


def _note(session: Session, node: int, text: str) -> Stopped:
    if not 0 <= node < len(session.view.graph):
        return Stopped(StopReason.REFUSED, f"there is no node {node}")
    name = session.view.graph.node_id(node)
    if text:
        session.notes[name] = text[:NOTE]
    else:
        session.notes.pop(name, None)
    session.view.changed.add(node)
    return Stopped(StopReason.DONE, f"{name}: note {'written' if text else 'removed'}")


def _export(session: Session, node: int, file: str) -> Stopped:
    try:
        path = _place(file)
        _, data = write_test(session.exhibit(node), path)
    except (CannotExport, OSError) as error:
        return Stopped(StopReason.REFUSED, f"no test was written: {error}")
    return Stopped(StopReason.DONE, f"written to {path}{f' and {data.name}' if data else ''}: pytest {path}")


def _choose(session: Session, output: int, kind: str) -> Stopped:
    try:
        session.answers.choose(session.graph_number, output, Kind(kind))
    except ValueError as error:
        return Stopped(StopReason.REFUSED, f"{error}; kinds are {', '.join(Kind)}")
    name = session.view.graph.outputs[output].name
    return Stopped(StopReason.DONE, f"output {output} ({name}) is judged as {kind} now")


def _find_blame(session: Session) -> Waiting[Stopped]:
    def progress(done: int, total: int) -> None:
        session.progress = (done, max(total, done + 1))
        session.activity = f"blame: run {done + 1}"

    try:
        report = yield from session.investigator.find_blame(session.view.case, progress)
    except NothingJudged as error:
        return Stopped(StopReason.REFUSED, f"the answer cannot be judged: {error}")
    return Stopped(StopReason.DONE, report.sentence)


def _migrate(session: Session, again: bool) -> Waiting[Stopped]:
    investigator = session.investigator
    target = investigator.target()
    if target is None:
        return Stopped(StopReason.REFUSED, "there is no target to migrate to")
    migrator = investigator.migrator(target)

    def progress(done: int, total: int, what: str) -> None:
        session.progress = (done, total)
        session.activity = f"migrating: {done} of {total} {what}"

    moved_before: set[int] = set()

    def moved() -> None:
        for graph, backend in migrator.placements.items():
            session.place(graph, backend, undo_with_last=graph in moved_before)
            moved_before.add(graph)

    try:
        entries = yield from migrator.migrate(
            investigator.ledger, session.names.get(target, target), again=again, on_progress=progress, on_moved=moved
        )
    except CannotMigrate as error:
        return Stopped(StopReason.REFUSED, str(error))
    except OSError as error:
        return Stopped(StopReason.ERROR, f"the ledger cannot be written: {error}")
    investigator.migrated = entries
    counts = Counter(entry.status for entry in entries)
    blocked = f", {counts[Migration.BLOCKED]} stay on the source" if counts[Migration.BLOCKED] else ""
    judged = [answer.passed for answer in migrator.answers.values()]
    answer = "the answer could not be judged" if None in judged else "the answer holds"
    return Stopped(
        StopReason.DONE, f"{counts[Migration.MIGRATED]} of {len(entries)} signatures migrated{blocked}; {answer}"
    )
