"""The two lines at the top: what is debugged where, and how far it has come."""

from __future__ import annotations

import getpass
import os
import socket
from typing import TYPE_CHECKING

from rich.style import Style

from tapml_tui.backends.protocol import BackendStatus, State, Traffic
from tapml_tui.engine.table import name_of
from tapml_tui.ui import lines, numbers, theme
from tapml_tui.ui.lines import Line

if TYPE_CHECKING:
    from tapml_tui.engine import Engine

_STATES: dict[State, tuple[str, Style]] = {
    State.OFF: ("○", theme.DIM),
    State.STARTING: ("◌", theme.UNSUPPORTED),
    State.CONNECTING: ("◌", theme.UNSUPPORTED),
    State.READY: ("●", theme.PASSED),
    State.LOST: ("✗", theme.FAILED),
    State.FAILED: ("✗", theme.FAILED),
    State.MISSING: ("✗", theme.UNSUPPORTED),
}


def who() -> str:
    """`user@host` of this process: with two people at a screen, it matters which machine it is."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    return f"{user}@{socket.gethostname().split('.')[0]}"


def header(engine: Engine, user: str, width: int) -> list[Line]:
    """Both lines, in exactly `width` cells."""
    return [_first(engine, user, width), _second(engine, width)]


def _first(engine: Engine, user: str, width: int) -> Line:
    snapshot, trace = engine.snapshot, engine.trace
    case = trace.cases[snapshot.case]
    left: Line = [
        (" " + lines.shorten(trace.path.name, max(width // 5, 12)), theme.STRONG),
        (f"  case {snapshot.case + 1}/{len(trace.cases)} ", theme.DIM),
        (lines.shorten(case.name, max(width // 7, 10)), theme.TEXT),
    ]
    who_and_where = (f"  {user} ", theme.DIM)
    right = _target(snapshot.backends, full=True)
    if lines.length([*left, *right, who_and_where]) > width:
        right = _brief(snapshot.backends) if engine.targets else _target(snapshot.backends, full=False)
    right.append(who_and_where)
    brand: Line = [(" tapml-tui ", theme.CURSOR)]
    if lines.length(brand) + lines.length(left) + lines.length(right) < width:
        left = brand + left
    return lines.spread(left, right, width)


def _target(backends: tuple[BackendStatus, ...], *, full: bool) -> Line:
    """Each target and its state; `full`: also what crossed the line to it."""
    line: Line = []
    for status in backends:
        if status.backend == "source" and status.state not in (State.LOST, State.FAILED, State.MISSING):
            continue
        mark, style = _STATES[status.state]
        title = status.title or status.backend
        line += [(f"  {lines.shorten(title, 28)} ", theme.TEXT), (f"{mark} {status.state.value}", style)]
        moving = _moving(status.traffic)
        if moving and not full:  # there is room for one of the two
            line.append((f" {moving}", theme.DIM))
        elif status.state is State.READY and status.latency_ms is not None:
            line.append((f" {status.latency_ms:.1f} ms", theme.DIM))
        if full and status.traffic is not None and (status.traffic.up or status.traffic.down):
            up, down = numbers.size(status.traffic.up), numbers.size(status.traffic.down)
            line.append((" ".join(filter(None, [f"  ↑{up} ↓{down}", moving])), theme.DIM))
    return line or [("  no target", theme.DIM)]


def _brief(backends: tuple[BackendStatus, ...]) -> Line:
    """Name and mark of each of several targets; its state where it cannot be used."""
    line: Line = []
    for status in backends:
        if status.backend != "source":
            mark, style = _STATES[status.state]
            state = "" if status.state is State.READY else f" {status.state.value}"
            line += [(f"  {lines.shorten(name_of(status.backend), 14)} ", theme.TEXT), (f"{mark}{state}", style)]
    return line


def _moving(traffic: Traffic | None) -> str:
    """What crosses the line at the moment, and what waits for it."""
    if traffic is None:
        return ""
    rate = f"{numbers.size(traffic.rate)}/s" if traffic.rate >= 1 else ""
    return " ".join(filter(None, [rate, f"{traffic.queued} queued" if traffic.queued else ""]))


def _second(engine: Engine, width: int) -> Line:
    snapshot, graph = engine.snapshot, engine.graph
    counts, total = snapshot.counts, len(graph)
    step = min(snapshot.cursor, total)
    right: Line = [("  at the end ", theme.DIM)]
    if snapshot.cursor < total:
        place = graph.path(snapshot.cursor).rsplit(".", 1)[-1]
        operator = graph.outline_label(graph.entry_of(snapshot.cursor))
        words = f"{place}.{operator}" if place else operator
        right = [("  next: ", theme.DIM), (lines.shorten(words, 24) + " ", theme.TEXT)]
    left: Line = [(f" step {step}/{total}", theme.STRONG), (f" {snapshot.mode.value}", theme.DIM)]
    if snapshot.recording is not None:
        left.append(("  ● recording", theme.BREAKPOINT))
    room = width - lines.length(left) - lines.length(right)
    words_of = [
        (f"  {number} {word}", style if number else theme.DIM, number)
        for number, word, style in (
            (counts.passed, "passed", theme.PASSED),
            (counts.failed, "failed", theme.FAILED),
            (counts.error, "error", theme.ERROR),
            (counts.unsupported, "unsupported", theme.UNSUPPORTED),
        )
    ]
    # What is zero goes first where there is no room for everything.
    for index in (3, 2, 1):
        if sum(len(text) for text, _, _ in words_of) > room and not words_of[index][2]:
            del words_of[index]
    return lines.spread([*left, *((text, style) for text, style, _ in words_of)], right, width)
