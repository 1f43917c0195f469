"""A bar of one or two lines that are computed when it is painted."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from textual.geometry import Region
from textual.strip import Strip

from tapml_tui.ui import lines
from tapml_tui.ui.lines import Line
from tapml_tui.ui.widgets.painter import Painter


class Bar(Painter):
    """Paints what a function returns for the present width: state stays with its owner."""

    def __init__(self, content: Callable[[int], Sequence[Line]], *, id: str) -> None:
        """A bar whose lines are `content(width)`, asked for at every repaint."""
        super().__init__(id=id)
        self._content = content
        self._lines: Sequence[Line] = ()
        self._computed = False  # in this repaint

    def renew(self) -> None:
        """Paint it if it says something else now."""
        if list(self._content(self.size.width)) != list(self._lines):
            self.refresh()

    def render_lines(self, crop: Region) -> list[Strip]:
        """Compute the content once per repaint, not once per line."""
        self._computed = False
        return super().render_lines(crop)

    def render_line(self, y: int) -> Strip:
        """One line, in exactly the width of the bar."""
        if not self._computed:
            self._computed, self._lines = True, self._content(self.size.width)
        line = self._lines[y] if y < len(self._lines) else []
        return lines.paint(line, self.size.width, self.base)
