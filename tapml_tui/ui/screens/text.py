"""A text over the debugger: help and reports."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from tapml_tui.ui import lines, theme
from tapml_tui.ui.lines import Line
from tapml_tui.ui.screens.modal import OverDebugger
from tapml_tui.ui.widgets.bar import Bar
from tapml_tui.ui.widgets.line_view import LineView

HOW: Line = [("esc closes  ↑↓ scrolls ", theme.DIM)]


class TextScreen(OverDebugger):
    """Lines that are laid out for the width of the screen."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,?,f1,enter", "leave", "Close", show=False, id="text.leave")
    ]

    def __init__(self, title: str, content: Callable[[int], Sequence[Line]]) -> None:
        """A text.

        Args:
            title: Over it.
            content: Its lines for a width in cells.
        """
        super().__init__()
        self.heading: Line = [(f" {title}", theme.CURSOR)]
        self._content = content

    def compose(self) -> ComposeResult:
        """A title, the text, and how to leave."""
        yield Bar(lambda width: [lines.spread(self.heading, HOW, width)], id="text-title")
        yield LineView(id="text")

    def on_mount(self) -> None:
        """The arrows scroll."""
        self.query_one(LineView).focus()

    def on_resize(self) -> None:
        """Sentences are broken where the screen ends."""
        self.query_one(LineView).set_lines(self._content(self.size.width - 2), keep_place=True)

    def action_leave(self) -> None:
        """Back to the debugger."""
        self.dismiss()
