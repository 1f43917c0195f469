"""The search prompt: hits are shown while one types."""

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
    from tapml_tui.ui.widgets.tree import OperatorTree


class SearchPrompt(Horizontal):
    """Enter keeps the hit, escape returns to where one was."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,ctrl+c", "leave", "Leave the search", show=False, id="search.leave")
    ]
    HINT = "operators, names, paths"

    class Done(Message):
        """The prompt closes; `text` is what to search on with, or None if it was left."""

        def __init__(self, text: str | None) -> None:
            """With what was searched for."""
            super().__init__()
            self.text = text

    def __init__(self, operators: OperatorTree, before: str) -> None:
        """A prompt that moves the selection of a tree; enter alone searches for `before` again."""
        super().__init__()
        self.operators = operators
        self.before = before
        self.origin = operators.entry

    def compose(self) -> ComposeResult:
        """A slash and a field."""
        yield Bar(lambda _: [[(" / ", theme.KEY)]], id="slash")
        hint = f"{self.HINT}  (enter: {self.before})" if self.before else self.HINT
        yield Input(placeholder=hint, select_on_focus=False)  # coming back to it, one types on

    @property
    def field(self) -> Input:
        """Where one types."""
        return self.query_one(Input)

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
    def _keep(self, event: Input.Submitted) -> None:
        text = event.value or self.before
        if text:
            self._show(text)
        self.post_message(self.Done(text or None))

    def action_leave(self) -> None:
        """Return to where the search began."""
        self.operators.hit = None
        self.operators.select(self.origin)
        self.post_message(self.Done(None))
