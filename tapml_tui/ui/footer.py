"""The two lines at the bottom: the answer to the last key or the run under way, and the keys."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tapml_tui.compare.result import Status, Verdict
from tapml_tui.engine.events import StopReason
from tapml_tui.engine.table import STATUSES
from tapml_tui.ui import actions, answer_text, lines, numbers, theme
from tapml_tui.ui.lines import Line
from tapml_tui.ui.words import WORDS

if TYPE_CHECKING:
    from tapml_tui.engine import Engine
    from tapml_tui.engine.events import Snapshot

BAR = 16  # cells of a progress bar
LAST = ("help", "quit")
WHERE = {
    actions.COMPARE: (("enter", "elements"), ("hjkl", "move"), ("m", "next worst"), ("tab", "tree")),
    actions.TENSOR: (("↑↓", "along"), ("←→", "axis"), ("space", "next tensor"), ("w", "worst"), ("tab", "tree")),
    actions.TEXT: (("↑↓", "scroll"), ("1-6", "tab"), ("y", "copy"), ("tab", "tree")),
}


def answer(engine: Engine, words: str, ran: tuple[int, int], width: int) -> Line:
    """What is under way, or what was answered last, or what became of the nodes that ran last."""
    snapshot = engine.snapshot
    if snapshot.running:
        return lines.spread(_under_way(snapshot, width), [("esc stops ", theme.KEY)], width)
    wrong = not words and snapshot.stopped in (StopReason.ERROR, StopReason.MISMATCH, StopReason.REFUSED)
    text = words or snapshot.message
    if snapshot.stopped is StopReason.INTERRUPTED and not words and text:
        text += ": results so far are kept, n and c go on"
    if not words and snapshot.stopped is StopReason.END and snapshot.answer is not None:
        text = "; ".join(part for part in (answer_text.sentence(snapshot.answer), text) if part)
        wrong = snapshot.answer.passed is False
    if not text and ran[0] < ran[1]:
        text, wrong = _of_step(engine, *ran)
    return lines.cut([(" " + text, theme.UNSUPPORTED if wrong else theme.TEXT)], width)


def _of_step(engine: Engine, start: int, stop: int) -> tuple[str, bool]:
    """What became of the nodes [start, stop), and whether something broke or failed."""
    table = engine.table
    wrong = bool((table.status[start:stop] >= STATUSES.index(Status.UNSUPPORTED)).any())
    result = engine.result(start)
    if stop - start > 1 or result is None:
        counts = np.bincount(table.status[start:stop], minlength=len(STATUSES))
        shown = (f"{count} {WORDS[status]}" for status, count in zip(STATUSES, counts, strict=True) if count)
        return ", ".join(shown), wrong
    word = result.verdict.value if result.verdict not in (Verdict.NONE, Verdict.CLEAN) else WORDS[result.status]
    more = f": {result.reason}" if result.reason else ""
    if result.status is Status.PASSED:
        more = f", {numbers.factor(result.factor)} x the floor"
    return f"{engine.graph.node_id(start)}: {word}{more}", wrong


def _under_way(snapshot: Snapshot, width: int) -> Line:
    line: Line = [(" ▸ ", theme.CURSOR)]
    if snapshot.progress is not None and snapshot.progress[1]:
        done, total = snapshot.progress
        filled = min(BAR * done // total, BAR)
        line += [("█" * filled, theme.CURSOR), ("░" * (BAR - filled), theme.DIM), (f" {done}/{total}  ", theme.TEXT)]
    room = max(width - lines.length(line) - 14, 8)
    return [*line, (lines.shorten(snapshot.activity or "working", room), theme.TEXT)]


def keys(scope: str, *, running: bool, width: int) -> Line:
    """As many keys as fit; help and quit always do."""
    shown = [("esc", "stop")] if running else []
    shown += WHERE.get(scope, ())
    last = [(actions.keys(a), a.footer) for a in actions.ACTIONS if a.name in LAST]
    shown += [(actions.keys(a), a.footer) for a in actions.ACTIONS if a.footer and a.name not in LAST]
    room = width - 1 - sum(_cells(pair) for pair in last)
    line: Line = [(" ", theme.PLAIN)]
    for pair in shown:
        room -= _cells(pair)
        if room < 0:
            break
        line += _pair(pair)
    return [*line, *(piece for pair in last for piece in _pair(pair))]


def _pair(pair: tuple[str, str]) -> Line:
    return [(pair[0], theme.KEY), (f" {pair[1]}  ", theme.DIM)]


def _cells(pair: tuple[str, str]) -> int:
    return lines.length(_pair(pair))
