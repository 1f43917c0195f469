"""A session on disk: where everything is placed, what was noted, where one stood. Values are in the run.

One JSON file beside the run, replaced as a whole before a command is answered: whenever the program
dies, the file is that of the last command that was answered, or of one after it.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from tapml_tui.backends.protocol import LogLine
from tapml_tui.engine.commands import Breakpoint, BreakpointKind, Mode
from tapml_tui.engine.end_to_end import Kind
from tapml_tui.engine.ledger import LEDGER, Ledger, write_atomically
from tapml_tui.engine.placement import Placement
from tapml_tui.engine.session import Session
from tapml_tui.engine.store import RunStore
from tapml_tui.engine.table import STALE, STATUSES, VERDICTS
from tapml_tui.engine.view import View
from tapml_tui.regular_file import read_regular
from trace_format import Trace

SCHEMA = 1
LARGEST = 64 << 20
"""Bytes that a session file may have."""

_SENSELESS = (ValueError, TypeError, IndexError, OverflowError)  # what a value raises that is left out


class SessionFile:
    """Keeps a session's state in a file.

    Attributes:
        path: The file.
    """

    def __init__(self, path: Path, trace: Trace, session: Session, on_trouble: Callable[[str], None]) -> None:
        """Keep `session`, of `trace`; nothing is read or written yet.

        Args:
            path: The file.
            trace: What is debugged.
            session: Owned by the thread that calls.
            on_trouble: Told when the file cannot be written, once.
        """
        self.path = path
        self._trace = trace
        self._session = session
        self._on_trouble: Callable[[str], None] | None = on_trouble
        self._last = ""

    def save(self) -> None:
        """Write the state down if it changed. A full disk does not stop a session: it is said once."""
        text = json.dumps(state_of(self._trace, self._session))
        if text == self._last:
            return
        try:
            write_atomically(self.path, text)
        except OSError as error:
            if self._on_trouble is not None:
                self._on_trouble(f"the session cannot be saved: {error}")
                self._on_trouble = None
            return
        self._last = text

    def load(self) -> bool:
        """Go on where the file says; whether there was anything to go on with."""
        try:
            document = json.loads(read_regular(self.path, LARGEST))
        except (OSError, ValueError, RecursionError):
            return False
        if not isinstance(document, dict) or document.get("schema") != SCHEMA:
            return False
        restore(self._trace, self._session, document)
        return True


def attach(
    store: RunStore, trace: Trace, session: Session, *, resume: bool, on_event: Callable[[LogLine], None]
) -> SessionFile | None:
    """Give a session the ledger beside its run and, to resume, its file; nothing where the run is temporary."""
    if store.temporary:
        return None
    session.investigator.ledger = Ledger(store.path.with_name(LEDGER))
    if not resume:
        return None
    path = store.path.with_suffix(".json")
    file = SessionFile(path, trace, session, lambda text: on_event(LogLine("engine", "error", text)))
    file.load()
    return file


def state_of(trace: Trace, session: Session) -> dict[str, Any]:
    """All that a session file holds, as plain data."""
    return {
        "schema": SCHEMA,
        "trace": trace.content_id,
        "case": session.view.case,
        "mode": session.view.mode.value,
        "cursors": {str(case): cursor for case, cursor in session.cursors.items()},
        "placements": {str(graph): ranges_alike(one) for graph, one in session.views.placements.items()},
        "breakpoints": [[one.kind.value, one.pattern] for one in session.breakpoints.all],
        "notes": session.notes,
        "folds": list(session.folds),
        "outputs": [[graph, output, kind.value] for (graph, output), kind in session.answers.kinds.items()],
        "results": [
            [view.case, view.mode.value, *(_packed(column) for column in view.table.columns)]
            for view in session.views.in_order()
            if view.table.status.any()
        ],
    }


def _packed(column: np.ndarray) -> str:
    return base64.b64encode(zlib.compress(column.tobytes(), 1)).decode()


def _unpack(text: str, column: np.ndarray) -> np.ndarray:
    """A column like `column`.

    Raises:
        ValueError: If it is another.
    """
    try:
        raw = zlib.decompressobj().decompress(base64.b64decode(text, validate=True), column.nbytes + 1)
    except zlib.error as error:
        raise ValueError(str(error)) from None
    if len(raw) != column.nbytes:
        raise ValueError("a column of another length")
    return np.frombuffer(raw, column.dtype)


def ranges_alike(placement: Placement) -> list[tuple[int, int, str, str | None]]:
    """(start, stop, backend, kernel) of the nodes that are alike."""
    kernels = (
        np.array([placement.kernels.get(i, "") for i in range(len(placement.backend))]) if placement.kernels else None
    )
    breaks = placement.backend[1:] != placement.backend[:-1]
    if kernels is not None:
        breaks = breaks | (kernels[1:] != kernels[:-1])
    edges = [0, *(int(i) + 1 for i in np.flatnonzero(breaks)), len(placement.backend)]
    return [
        (start, stop, placement.of(start), placement.kernels.get(start))
        for start, stop in pairwise(edges)
        if stop > start
    ]


def restore(trace: Trace, session: Session, document: dict[str, Any]) -> None:
    """Take over what a session file says, as far as it makes sense.

    Of another carving of the model, only what is told by names counts: breakpoints, notes and folds.
    """
    for row in _list(document.get("breakpoints")):
        with suppress(*_SENSELESS):  # also a condition that is none
            session.toggle(Breakpoint(BreakpointKind(row[0]), str(row[1])))
    notes = document.get("notes")
    session.notes.update({str(node): str(text) for node, text in notes.items()} if isinstance(notes, dict) else {})
    session.folds = tuple(str(path) for path in _list(document.get("folds")))
    if document.get("trace") != trace.content_id:
        return
    for row in _list(document.get("outputs")):
        with suppress(*_SENSELESS):
            session.answers.choose(int(row[0]), int(row[1]), Kind(row[2]))
    placements = document.get("placements")
    for graph, rows in placements.items() if isinstance(placements, dict) else ():
        with suppress(*_SENSELESS):
            placement = session.views.placement(_number(graph, len(trace.graphs)))
            for row in _list(rows):
                with suppress(*_SENSELESS):
                    placement.put(int(row[0]), int(row[1]), str(row[2]), None if row[3] is None else str(row[3]))
            placement.forget_history()
    cursors = document.get("cursors")
    for name, cursor in cursors.items() if isinstance(cursors, dict) else ():
        with suppress(*_SENSELESS):
            case = _number(name, len(trace.cases))
            session.cursors[case] = min(max(int(cursor), 0), len(trace.graphs[trace.cases[case].graph]))
    for row in _list(document.get("results")):
        with suppress(*_SENSELESS):
            if 0 <= int(row[0]) < len(trace.cases):
                _recall(session.views.get(int(row[0]), Mode(row[1])), row[2:])
    with suppress(*_SENSELESS):
        session.select(int(document.get("case", 0)), Mode(document.get("mode", "")))


def _number(text: str, count: int) -> int:
    """One of `count` things.

    Raises:
        ValueError: If there is none of that number.
    """
    if not text.isdecimal() or int(text) >= count:
        raise ValueError("there is no such number")
    return int(text)


def _recall(view: View, columns: list[str]) -> None:
    """Show what became of the nodes; a verb that needs one computes it again, out of the run where it is there."""
    table = view.table
    status, verdict, factor = (_unpack(*pair) for pair in zip(columns, table.columns, strict=True))
    if (status >= len(STATUSES)).any() or (verdict >= len(VERDICTS)).any():
        raise ValueError("there is no such status")
    table.status[:], table.verdict[:], table.factor[:] = status, verdict, factor
    table.flags[status > 0] |= STALE
    view.changed.update(range(len(table)))


def _list(value: object) -> list[Any]:
    """A list of lists or texts out of somebody's file, or nothing."""
    return [row for row in value if isinstance(row, list | str)] if isinstance(value, list) else []
