"""One line that the user types, where the answers are: a search, a note, a path, a condition."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.message import Message
from textual.widgets import Input

from tapml_tui.ui import theme
from tapml_tui.ui.widgets.bar import Bar

if TYPE_CHECKING:
    from collections.abc import Callable

    from tapml_tui.ui.widgets.tree import OperatorTree


class Prompt(Horizontal):
    """Enter keeps what was typed, escape leaves it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,ctrl+c", "leave", "Leave the line", show=False, id="prompt.leave")
    ]

    class Done(Message):
        """The prompt closes; `text` is what was typed, or None if it was left."""

        def __init__(self, text: str | None) -> None:
            """With what was typed."""
            super().__init__()
            self.text = text

    def __init__(self, label: str, hint: str, value: str = "", keep: Callable[[str], None] = lambda _: None) -> None:
        """A line.

        Args:
            label: Before it.
            hint: In it, as long as it is empty.
            value: What is in it at first.
            keep: Gets what was typed.
        """
        super().__init__()
        self.label = label
        self.hint = hint
        self.value = value
        self.keep = keep

    def compose(self) -> ComposeResult:
        """A label and a field."""
        bar = Bar(lambda _: [[(f" {self.label} ", theme.KEY)]], id="prompt-label")
        bar.styles.width = len(self.label) + 2
        yield bar
        field = Input(self.value, placeholder=self.hint, select_on_focus=False)  # coming back to it, one types on
        field.cursor_blink = False  # a slow line has better things to carry
        yield field

    @property
    def field(self) -> Input:
        """Where one types."""
        return self.query_one(Input)

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        self.post_message(self.Done(event.value))

    def action_leave(self) -> None:
        """Close it; nothing was typed."""
        self.post_message(self.Done(None))


class SearchPrompt(Prompt):
    """Hits are shown while one types; escape returns to where one was."""

    HINT = "operators, names, paths"

    def __init__(self, operators: OperatorTree, before: str, keep: Callable[[str], None]) -> None:
        """A prompt that moves the selection of a tree; enter alone searches for `before` again."""
        super().__init__("/", f"{self.HINT}  (enter: {before})" if before else self.HINT, keep=keep)
        self.operators = operators
        self.before = before
        self.origin = operators.entry

    @on(Input.Changed)
    def _search(self, event: Input.Changed) -> None:
        found = self._show(event.value)
        event.input.set_class(bool(event.value) and not found, "-nothing")

    def _show(self, text: str) -> bool:
        # One entry back, so that the row where the search began counts as a hit.
        found = self.operators.outline.graph.search(text, max(self.origin - 1, 0), 1) if text else None
        self.operators.hit = found
        self.operators.select(self.origin if found is None else found)
        return found is not None

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        text = event.value or self.before
        if text:
            self._show(text)
        self.post_message(self.Done(text))

    def action_leave(self) -> None:
        """Return to where the search began."""
        self.operators.hit = None
        self.operators.select(self.origin)
        super().action_leave()
