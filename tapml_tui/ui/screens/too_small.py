"""What is shown where there is no room for the debugger."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import ModalScreen

from tapml_tui.ui import theme
from tapml_tui.ui.lines import Line
from tapml_tui.ui.widgets.bar import Bar

LEAST_WIDTH, LEAST_HEIGHT = 60, 16


def too_small(width: int, height: int) -> bool:
    """Whether the debugger has no room in so many cells."""
    return width < LEAST_WIDTH or height < LEAST_HEIGHT


class TooSmallScreen(ModalScreen[None]):
    """Goes by itself when there is room again."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("q,ctrl+c", "quit", "Quit", show=False, id="too_small.quit")]

    def compose(self) -> ComposeResult:
        """One bar over everything."""
        yield Bar(self._words, id="too-small")

    def _words(self, width: int) -> Sequence[Line]:
        above = max((self.size.height - 3) // 2, 0)
        text = (
            ("make me bigger", theme.CURSOR),
            (f"{width} x {self.size.height} here, {LEAST_WIDTH} x {LEAST_HEIGHT} needed", theme.TEXT),
            ("q quits", theme.DIM),
        )
        return [*([[]] * above), *([(words.center(width), style)] for words, style in text)]

    def action_quit(self) -> None:
        """Leave the program."""
        self.app.exit(0)
