"""One row of the operator tree, as a line: marks and names left, side, status and number right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.style import Style

from tapml_tui.compare.result import Status, Verdict
from tapml_tui.engine.placement import REFERENCE
from tapml_tui.engine.table import BREAKPOINT, MIXED, STALE, STATUSES, VERDICTS, side_letter
from tapml_tui.ui import answer_text, beside_text, lines, numbers, theme
from tapml_tui.ui.lines import Line

if TYPE_CHECKING:
    from tapml_tui.engine.answering import Answer
    from tapml_tui.engine.table import NodeTable
    from tapml_tui.ui.outline import Outline

FORCED = side_letter(REFERENCE)
GUTTER = 2  # breakpoint, cursor
INDENT = 2
LETTERS = {
    Verdict.NONE: " ",
    Verdict.CLEAN: " ",
    Verdict.HEALED: "h",
    Verdict.INHERITED: "i",
    Verdict.AMPLIFIED: "a",
    Verdict.LOCAL: "L",
}
WIDE_FROM = 56


@dataclass(frozen=True, slots=True)
class RowState:
    """What the right side of a row says; computed for one node, or the worst of a fold."""

    status: Status
    verdict: Verdict
    factor: float
    side: str
    stale: bool
    breakpoint: bool
    done: int
    total: int
    beside: tuple[beside_text.Worst, ...] = ()  # on each of several targets

    @property
    def partial(self) -> bool:
        """Whether a fold has passed so far, but not everything in it has run."""
        return 0 < self.done < self.total and self.status is Status.PASSED


def state_of(table: NodeTable, start: int, stop: int, cursor: int) -> RowState:
    """The state of the nodes [start, stop). Nodes before the cursor count as done."""
    if start >= stop:  # a graph without operators
        return RowState(Status.NOT_RUN, Verdict.NONE, 0.0, " ", stale=False, breakpoint=False, done=0, total=0)
    worst = table.worst(start, stop)
    flags = table.flags[start:stop]
    status = table.status[start:stop]
    done = stop - start if cursor >= stop else int((status != 0).sum())
    return RowState(
        status=worst.status,
        verdict=VERDICTS[int(table.verdict[start:stop].max())],
        factor=worst.factor,
        side=worst.side,
        stale=bool((flags & STALE).any()),
        breakpoint=bool((flags & BREAKPOINT).any()),
        done=done,
        total=stop - start,
        beside=beside_text.worst_of(table, start, stop),
    )


def mark(status: Status, verdict: Verdict = Verdict.NONE) -> tuple[str, Style]:
    """The mark of a status, and its style; an inherited failure is quieter than a guilty one."""
    index = STATUSES.index(status)
    if status is Status.FAILED and verdict in (Verdict.INHERITED, Verdict.AMPLIFIED):
        return theme.STATUS_MARKS[index], theme.INHERITED
    return theme.STATUS_MARKS[index], theme.STATUS_STYLES[index]


def side_style(side: str) -> Style:
    """Blue for the source, orange for targets, plain for a mixture and what is forced."""
    return theme.SOURCE if side == "S" else theme.STRONG if side in (MIXED, FORCED) else theme.TARGET


def title(width: int, answer: Answer | None = None, targets: Sequence[str] = ()) -> Line:
    """The headings over the columns; on the left what the model answers, once it has."""
    if targets:
        right = "side " + beside_text.heading(targets[: beside_text.columns(len(targets), width)])
    else:
        right = " side" + "x floor".rjust(16 if width >= WIDE_FROM else 8) + " "
    left = answer_text.short(answer, width - len(right) - 2) or [("operators", theme.DIM)]
    return lines.spread([("  ", theme.PLAIN), *left], [(right, theme.DIM)], width)


def render(outline: Outline, entry: int, state: RowState, *, cursor: bool, width: int) -> Line:
    """The whole row of an outline entry."""
    wide = width >= WIDE_FROM
    right = _right(state, wide=wide) if not state.beside else _beside(state, width)
    room = width - lines.length(right)
    fold = bool(outline.fold[entry])
    shown_inside = fold and not outline.closed[entry]
    left: Line = [
        (theme.BREAKPOINT_MARK if state.breakpoint and not shown_inside else " ", theme.BREAKPOINT),
        (theme.CURSOR_MARK if cursor else " ", theme.CURSOR),
    ]
    left += _indent(int(outline.depth[entry]), room)
    room -= lines.length(left)
    if fold:
        arrow = theme.FOLD_CLOSED if outline.closed[entry] else theme.FOLD_OPEN
        left.append((arrow + " ", theme.DIM))
        style = theme.STALE if state.stale else theme.TEXT
        left.append((lines.shorten(outline.label(entry), room - 3), style))
    else:
        place = outline.place(entry)
        label = outline.label(entry)
        style = theme.STALE if state.stale else theme.STRONG if cursor else theme.TEXT
        if place:
            label = lines.fit(label, min(max(len(label), 9), room // 2)) + " "
        left.append((label if place else lines.shorten(label, room - 1), style))
        left.append((lines.shorten(place, max(room - len(label) - 1, 4)), theme.STALE if state.stale else theme.DIM))
    return lines.spread(left, right, width)


def _indent(depth: int, room: int) -> Line:
    cap = max((room - 24) // INDENT, 4)
    if depth <= cap:
        return [(" " * (INDENT * depth), theme.PLAIN)]
    # Too deep to draw: the number of the level stands for the steps that have no room.
    tag = f"{depth}» "
    return [(tag.rjust(INDENT * cap), theme.DIM)]


def _beside(state: RowState, width: int) -> Line:
    """Side, mark and letter of the verdict, and a column for each of several targets."""
    shown = state.beside[: beside_text.columns(len(state.beside), width)]
    side, glyph, _ = _right(state, wide=False)
    verdict = (LETTERS[state.verdict], theme.STALE if state.stale else glyph[1])
    return [side, glyph, verdict, *beside_text.cells(shown)]


def _right(state: RowState, *, wide: bool) -> Line:
    glyph, style = mark(state.status, state.verdict)
    figure = ""
    if state.partial:
        glyph = "◐"
        figure = f"{state.done}/{state.total}" if state.total < 1000 else f"{100 * state.done // state.total}%"
    elif state.status in (Status.PASSED, Status.FAILED):
        figure = numbers.factor(state.factor)
    if state.stale:
        style = theme.STALE
        glyph = "~" if state.status is not Status.NOT_RUN else glyph
    if wide:
        word = state.verdict.value if state.verdict is not Verdict.CLEAN else ""
        tail = f" {word:<10}{figure:>6} "
    else:
        tail = f"{LETTERS[state.verdict]}{figure:>6} "
    return [(f" {state.side} ", side_style(state.side)), (glyph, style), (tail, style)]
