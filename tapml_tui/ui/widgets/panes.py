"""The right half: a strip of tabs, and the pane of the active one, made when it is first shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from textual import events
from textual.app import ComposeResult
from textual.containers import Vertical

from tapml_tui.ui import lines, theme
from tapml_tui.ui.lines import Line
from tapml_tui.ui.widgets.bar import Bar
from tapml_tui.ui.widgets.compare import ComparePane
from tapml_tui.ui.widgets.pane import Pane, Subject

if TYPE_CHECKING:
    from tapml_tui.engine import Engine

# Full name, and the name when there is little room.
TABS = (("Compare", "Cmp"), ("Inputs", "In"), ("Output", "Out"), ("Code", "Code"), ("Kernel", "Kern"), ("Log", "Log"))


class MakesPane(Protocol):
    """What makes a pane."""

    def __call__(self, engine: Engine) -> Pane:
        """A pane over an engine."""


def _makers() -> tuple[MakesPane, ...]:
    from tapml_tui.ui.widgets.kernel import KernelPane, LogPane
    from tapml_tui.ui.widgets.node_text import CodePane
    from tapml_tui.ui.widgets.tensors import InputsPane, OutputPane

    return (ComparePane, InputsPane, OutputPane, CodePane, KernelPane, LogPane)


class Panes(Vertical):
    """Tabs, and the one pane that is shown."""

    def __init__(self, engine: Engine) -> None:
        """Tabs over an engine; no pane exists yet."""
        super().__init__(id="panes")
        self.engine = engine
        self.active = 0
        self.subject: Subject | None = None
        self._panes: dict[int, Pane] = {}
        self._spans: list[tuple[int, int, int]] = []  # (first cell, cell after, tab) of the strip

    def compose(self) -> ComposeResult:
        """The strip of tabs; the first pane follows."""
        yield Bar(self._strip, id="tabs")
        yield self._pane(0)

    @property
    def pane(self) -> Pane:
        """The pane that is shown."""
        return self._panes[self.active]

    def _pane(self, index: int) -> Pane:
        if index not in self._panes:
            self._panes[index] = _makers()[index](self.engine)
        return self._panes[index]

    @property
    def title(self) -> str:
        """Name of the tab that is shown."""
        return TABS[self.active][0]

    def switch(self, index: int) -> bool:
        """Show another tab, and say whether it is another; keeps the focus on the right if it was there."""
        if index == self.active:
            return False
        old, new = self.pane, self._pane(index)
        focused = old.has_focus
        self.active = index
        if not new.is_attached:
            self.mount(new)
        old.display, new.display = False, True
        if focused:
            new.focus()
        if self.subject is not None:
            new.show(self.subject)
        self.query_one("#tabs", Bar).refresh()
        return True

    def compare(self) -> ComparePane:
        """The Compare tab, shown."""
        self.switch(0)
        pane = self._panes[0]
        assert isinstance(pane, ComparePane)
        return pane

    def leave(self) -> bool:
        """Close the window on elements, if one is open; whether one was."""
        return isinstance(self.pane, ComparePane) and self.pane.leave()

    def show(self, subject: Subject) -> None:
        """Give the active pane a subject; the others get it when they are shown."""
        self.subject = subject
        self.pane.show(subject)

    def _strip(self, width: int) -> Sequence[Line]:
        full = sum(len(name) + 4 for name, _ in TABS) - 2 <= width
        between = "  " if full else " "
        line: Line = []
        at = 0
        self._spans = []
        for index, (name, short) in enumerate(TABS):
            active = index == self.active
            piece = f"{index + 1}{' ' if full else ''}{name if full or active else short}"
            line += [
                (between if index else "", theme.PLAIN),
                (piece, theme.CURSOR + theme.UNDERLINE if active else theme.DIM),
            ]
            at += len(between) if index else 0
            self._spans.append((at, at + len(piece), index))
            at += len(piece)
        return [lines.cut(line, width)]

    def on_click(self, event: events.Click) -> None:
        """A click on a tab shows it."""
        if event.widget is not None and event.widget.id == "tabs":
            for first, after, index in self._spans:
                if first <= event.x < after:
                    self.switch(index)
