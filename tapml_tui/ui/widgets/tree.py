"""The operator tree: a virtual list on the Line API, because a `Tree` does not scale (facts)."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from tapml_tui.compare.result import Verdict
from tapml_tui.ui import actions, lines, rows, theme
from tapml_tui.ui.outline import Outline
from tapml_tui.ui.widgets.painter import Painter

if TYPE_CHECKING:
    from tapml_tui.engine import Engine

MARGIN = 2  # rows kept in sight around the selection

# Entry, its state, closed, at the cursor, selected, a search hit, focused; None below the last row.
_Look: TypeAlias = "tuple[int, rows.RowState, bool, bool, bool, bool, bool] | None"


class OperatorTree(Painter, ScrollView, can_focus=True):
    """One row per visible entry of the outline; paints only the rows on the screen."""

    BINDINGS = actions.bindings(actions.TREE)
    scope = actions.TREE

    class Selected(Message):
        """Another row is selected."""

    class Folded(Message):
        """Folds were opened or closed."""

    class Entered(Message):
        """Enter on an operator: its elements are to be looked at."""

    def __init__(self, engine: Engine) -> None:
        """A tree over the engine's present graph."""
        super().__init__(id="tree")
        self.engine = engine
        self.outline = Outline(engine.graph)
        self.table = engine.table  # the engine may be on another case already: rows and states change together
        self.entry = 0
        self.hit: int | None = None
        self.plain_colors = False  # 16 colours or none: the selection is shown in reverse
        self._fitted = False
        self._states: dict[int, rows.RowState] = {}  # of rows painted since the engine last changed
        self._painted: dict[int, _Look] = {}  # what each line of the screen shows

    def engine_changed(self) -> None:
        """Paint the rows that look different now; another case may have another graph."""
        self._states.clear()
        graph, self.table = self.engine.graph, self.engine.table
        if self.outline.graph is graph:
            self._repaint()
        else:
            self.outline = Outline(graph)
            self.entry = 0
            self.hit = None
            self._fitted = False
            self._fit()

    def on_resize(self) -> None:
        """The first size decides what is open at first, unless the session says it."""
        if not self._fitted and self.engine.folds:
            self._fitted = True
            self.outline.restore(self.engine.folds)
            self.follow()
        self._fit()
        self._resized()

    def _fit(self) -> None:
        if not self._fitted and self.size.height:
            self._fitted = True
            self.outline.fit(self.size.height - 2, self.engine.snapshot.cursor)
            if self.entry:  # a key was quicker than the first size
                self.outline.reveal(self.entry)
            else:
                self.follow()

    def _resized(self) -> None:
        """The number of rows may have changed: keep the selection in sight, repaint."""
        if self.virtual_size.height not in (0, len(self.outline)):
            self.post_message(self.Folded())
        self.virtual_size = Size(self.size.width, len(self.outline))
        self._keep_in_sight()
        self._repaint()

    def _repaint(self) -> None:
        """Paint the rows that look different now: after most keys and steps that is one or two."""
        top = self.scroll_offset.y
        for y in range(self.size.height):
            if self._painted.get(y) != self._look(top + y):
                self.refresh_line(top + y)

    def _look(self, row: int) -> _Look:
        """What decides how a row is painted, besides the width."""
        if row >= len(self.outline):
            return None
        entry = int(self.outline.visible[row])
        cursor = self.engine.snapshot.cursor
        start, stop = int(self.outline.start[entry]), int(self.outline.stop[entry])
        state = self._states.get(entry)
        if state is None:
            state = self._states[entry] = rows.state_of(self.table, start, stop, cursor)
        closed = bool(self.outline.closed[entry])
        at_cursor = start == cursor and (not self.outline.fold[entry] or closed)
        return entry, state, closed, at_cursor, entry == self.entry, entry == self.hit, self.has_focus

    def _keep_in_sight(self) -> None:
        row, top, height = self.outline.row_of(self.entry), self.scroll_offset.y, max(self.size.height, 1)
        margin = min(MARGIN, (height - 1) // 2)
        if row < top + margin:
            self.scroll_to(y=max(row - margin, 0), animate=False, force=True)
        elif row >= top + height - margin:
            self.scroll_to(y=min(row + margin, len(self.outline) - 1) - height + 1, animate=False, force=True)

    # What the selection is

    @property
    def span(self) -> tuple[int, int]:
        """The nodes [start, stop) of the selected row."""
        return int(self.outline.start[self.entry]), int(self.outline.stop[self.entry])

    @property
    def node(self) -> int | None:
        """The selected node, or None if a fold is selected."""
        return None if self.outline.fold[self.entry] else self.span[0]

    @property
    def cursor_entry(self) -> int | None:
        """The visible entry at the cursor, or None at the end."""
        cursor = self.engine.snapshot.cursor
        if not 0 <= cursor < len(self.outline.graph):
            return None
        return self.outline.entry_shown(cursor)

    def is_closed(self, entry: int) -> bool:
        """Whether an entry is a closed fold."""
        return bool(self.outline.closed[entry])

    def select(self, entry: int, *, reveal: bool = True) -> None:
        """Select an entry; folds above it open."""
        if reveal:
            self.outline.reveal(entry)
        moved, self.entry = entry != self.entry, entry
        self._resized()
        if moved:
            self.post_message(self.Selected())

    def select_node(self, node: int) -> None:
        """Select a node, wherever it is folded away."""
        self.select(self.outline.graph.entry_of(node))

    def follow(self) -> None:
        """Open the path to the cursor and select the row that stands for it."""
        cursor = self.engine.snapshot.cursor
        self.outline.reveal_cursor(cursor)
        entry = self.cursor_entry
        if entry is None and len(self.outline.graph):
            entry = self.outline.entry_shown(len(self.outline.graph) - 1)
        if entry is not None:
            self.select(entry, reveal=False)

    def open_to(self, node: int) -> None:
        """Open every fold above a node: the next step is to be seen."""
        self.outline.reveal(self.outline.graph.entry_of(node))

    # Painting

    def render_line(self, y: int) -> Strip:
        """One row."""
        width = self.size.width
        look = self._painted[y] = self._look(self.scroll_offset.y + y)
        if look is None:
            return Strip.blank(width, self.base)
        entry, state, _, at_cursor, *_ = look
        fold = bool(self.outline.fold[entry])
        line = rows.render(self.outline, entry, state, cursor=at_cursor, width=width)
        if entry == self.entry and self.plain_colors:
            return lines.paint([("".join(text for text, _ in line), self._selection_style())], width, self.base)
        strip = lines.paint(line, width, self.base)
        if state.verdict is Verdict.LOCAL and not fold and not self.plain_colors:
            strip = _over(strip, theme.GUILTY)
        if entry == self.hit:
            strip = _over(strip, theme.HIT)
        if entry == self.entry:
            strip = _over(strip, self._selection_style())
        return strip

    def _selection_style(self) -> Style:
        if self.plain_colors:
            return theme.REVERSE if self.has_focus else theme.REVERSE + Style(dim=True)
        return Style(bgcolor=theme.SELECTED if self.has_focus else theme.SELECTED_IDLE)

    # Keys

    def _move(self, row: int) -> None:
        row = min(max(row, 0), len(self.outline) - 1)
        self.select(int(self.outline.visible[row]), reveal=False)

    @property
    def _row(self) -> int:
        return self.outline.row_of(self.entry)

    def action_up(self) -> None:
        """One row up."""
        self._move(self._row - 1)

    def action_down(self) -> None:
        """One row down."""
        self._move(self._row + 1)

    def action_page_up(self) -> None:
        """One screen up."""
        self._move(self._row - max(self.size.height - 2, 1))

    def action_page_down(self) -> None:
        """One screen down."""
        self._move(self._row + max(self.size.height - 2, 1))

    def action_top(self) -> None:
        """First row."""
        self._move(0)

    def action_bottom(self) -> None:
        """Last row."""
        self._move(len(self.outline) - 1)

    def action_close(self) -> None:
        """Close the fold, or go to the one around."""
        if not self.outline.set_closed(self.entry, True):
            above = self.outline.parent_entry(self.entry)
            if above is not None:
                self.select(above)
        self._resized()

    def action_open(self) -> None:
        """Open the fold, or go into it."""
        if not self.outline.set_closed(self.entry, False) and self.outline.fold[self.entry]:
            self.action_down()
        self._resized()

    def action_toggle_fold(self) -> None:
        """Open or close the fold."""
        self.outline.set_closed(self.entry, not self.is_closed(self.entry))
        self._resized()

    def action_enter(self) -> None:
        """Open or close a fold; of an operator, look at its elements."""
        if self.outline.fold[self.entry]:
            self.action_toggle_fold()
        else:
            self.post_message(self.Entered())

    def action_close_all(self) -> None:
        """Close everything in the selected fold."""
        self.outline.set_closed_under(self.entry, True)
        self._resized()

    def action_open_all(self) -> None:
        """Open everything in the selected fold."""
        self.outline.set_closed_under(self.entry, False)
        self._resized()

    def on_click(self, event: events.Click) -> None:
        """Select the row; a click on its arrow folds it."""
        row = self.scroll_offset.y + event.y
        if row >= len(self.outline):
            return
        entry = int(self.outline.visible[row])
        again = entry == self.entry
        self.select(entry, reveal=False)
        if self.outline.fold[entry] and (again or event.x < rows.GUTTER + 2 + 2 * int(self.outline.depth[entry])):
            self.action_toggle_fold()


def _over(strip: Strip, style: Style) -> Strip:
    """A strip with a style put over what it has."""
    return Strip([Segment(text, own + style if own else style) for text, own, _ in strip], strip.cell_length)
