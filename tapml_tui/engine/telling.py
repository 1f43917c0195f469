"""From the state of a session to the frozen snapshot that everybody sees."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np

from tapml_tui.backends.protocol import BackendStatus, LogLine, Prepared
from tapml_tui.compare.result import Status
from tapml_tui.engine.events import Counts, Snapshot, StopReason
from tapml_tui.engine.session import Session, Stopped
from trace_format import TraceError


def snapshot_of(
    session: Session,
    *,
    generation: int,
    running: bool,
    states: Iterable[BackendStatus],
    compiling: Iterable[Prepared],
    stopped: Stopped,
    message: str = "",
) -> Snapshot:
    """The state of a session as one frozen value; see `Snapshot` for the parts."""
    counts = session.view.table.count()
    return Snapshot(
        generation=generation,
        case=session.view.case,
        mode=session.view.mode,
        cursor=session.cursor,
        running=running,
        activity=_activity(session, compiling),
        progress=session.fetching or session.progress,
        counts=Counts(
            nodes=len(session.view.table),
            passed=counts[Status.PASSED],
            failed=counts[Status.FAILED],
            error=counts[Status.ERROR],
            unsupported=counts[Status.UNSUPPORTED],
            not_run=counts[Status.NOT_RUN],
        ),
        breakpoints=session.breakpoints.all,
        backends=tuple(states),
        stopped=stopped.reason,
        message=message,
        answer=session.answer,
        blame=session.investigator.blame,
        migrated=session.investigator.migrated,
        recording=session.script,
    )


def _activity(session: Session, compiling: Iterable[Prepared]) -> str:
    """One line: the node under way, what is known of it, and how far compiling is."""
    node = "" if session.node is None else session.view.graph.node_id(session.node)
    if node and session.activity:
        node = node.rpartition("/")[2]  # the cursor says where; what is said of it is news
    running = [f"fetching {node}" if node and session.fetching else node, session.activity]
    ahead = session.held_up_by
    shown = [
        f"waiting for {ahead}, which was sent ahead" if ahead else "",
        ": ".join(filter(None, running)),
        *(f"compiling {c.done}/{c.total}" for c in compiling if c.done < c.total),
    ]
    return ", ".join(filter(None, shown))


def ranges_of(nodes: set[int]) -> tuple[tuple[int, int], ...]:
    """Half-open ranges that cover a set of nodes."""
    if not nodes:
        return ()
    ordered = np.sort(np.fromiter(nodes, np.int64, len(nodes)))
    breaks = np.flatnonzero(np.diff(ordered) > 1)
    starts = ordered[np.concatenate([[0], breaks + 1])]
    stops = ordered[np.concatenate([breaks, [len(ordered) - 1]])] + 1
    return tuple((int(start), int(stop)) for start, stop in zip(starts, stops, strict=True))


def remarked(stopped: Stopped, files: str) -> Stopped:
    """With a word on files of the user's that were written since: what was said is of what they said before."""
    return replace(stopped, message=f"{files} changed: R takes that up. {stopped.message}") if files else stopped


def stopped_by(error: Exception, log: Callable[[LogLine], None]) -> Stopped:
    """What to answer to a command that should not have been stopped; for the `except` that caught it."""
    if isinstance(error, TraceError | OSError):
        return Stopped(StopReason.ERROR, f"cannot go on: {error}")
    log_fault(log)
    return Stopped(StopReason.ERROR, f"a fault of tapml-tui: {type(error).__name__}: {error} (see the log)")


def log_fault(log: Callable[[LogLine], None]) -> None:
    """The traceback goes to the log only."""
    log(LogLine("engine", "error", traceback.format_exc()))
