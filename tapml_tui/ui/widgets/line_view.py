"""A scrolling block of lines: the base of every text on the screen."""

from __future__ import annotations

from collections.abc import Sequence

from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from tapml_tui.ui import actions, lines
from tapml_tui.ui.lines import Line
from tapml_tui.ui.widgets.painter import Painter


class LineView(Painter, ScrollView, can_focus=True):
    """Shows lines that it is given. Only those on the screen are painted."""

    BINDINGS = actions.bindings(actions.TEXT)
    scope = actions.TEXT

    def __init__(self, *, id: str | None = None) -> None:
        """An empty view."""
        super().__init__(id=id)
        self.lines: Sequence[Line] = ()

    def set_lines(self, content: Sequence[Line], *, keep_place: bool = False) -> None:
        """Show other lines, from the top unless the place is to be kept."""
        before, self.lines = self.lines, content
        widest = max((lines.length(line) for line in content[:2000]), default=0)
        # Never less than there is room for: another size means another layout of the whole screen.
        self.virtual_size = Size(max(widest, self.size.width), max(len(content), self.size.height))
        if not keep_place:
            self.scroll_to(0, 0, animate=False)
        for row in range(self.scroll_offset.y, self.scroll_offset.y + self.size.height):
            if before[row : row + 1] != content[row : row + 1]:
                self.refresh_line(row)

    def render_line(self, y: int) -> Strip:
        """One line of the view, cropped to its width."""
        scroll_x, scroll_y = self.scroll_offset
        row = scroll_y + y
        line = self.lines[row] if row < len(self.lines) else []
        return lines.paint(line, self.size.width, self.base, scroll=scroll_x)

    def action_line_up(self) -> None:
        """One line up."""
        self.scroll_relative(y=-1, animate=False)

    def action_line_down(self) -> None:
        """One line down."""
        self.scroll_relative(y=1, animate=False)

    def action_text_page_up(self) -> None:
        """One screen up."""
        self.scroll_relative(y=1 - self.size.height, animate=False)

    def action_text_page_down(self) -> None:
        """One screen down."""
        self.scroll_relative(y=self.size.height - 1, animate=False)

    def action_text_top(self) -> None:
        """First line."""
        self.scroll_to(y=0, animate=False)

    def action_text_bottom(self) -> None:
        """Last line."""
        self.scroll_to(y=len(self.lines), animate=False)

    def action_text_left(self) -> None:
        """Scroll left."""
        self.scroll_relative(x=-8, animate=False)

    def action_text_right(self) -> None:
        """Scroll right."""
        self.scroll_relative(x=8, animate=False)
