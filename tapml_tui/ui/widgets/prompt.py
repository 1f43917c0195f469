"""The search prompt: hits are shown while one types."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.binding import Binding, BindingType
from textual.widgets import Input

if TYPE_CHECKING:
    from tapml_tui.ui.screens.debugger import DebuggerScreen
    from tapml_tui.ui.widgets.tree import OperatorTree


class SearchPrompt(Input):
    """Enter keeps the hit, escape returns to where one was."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "leave", "Leave the search", show=False)]
    scope = "search"

    def __init__(self, tree: OperatorTree, before: str) -> None:
        """A prompt that moves the selection of a tree."""
        super().__init__(placeholder="search operators, names, paths" + (f"  ({before})" if before else ""))
        self.before = before
        self.operators = tree
        self.origin = tree.entry

    @on(Input.Changed)
    def _search(self) -> None:
        tree, found = self.operators, None
        if self.value:
            # One entry back, so that the row where the search began counts as a hit.
            found = tree.engine.graph.search(self.value, max(self.origin - 1, 0), 1)
        tree.hit = found if found is not None else None
        tree.select(self.origin if found is None else found)
        tree.refresh()
        self.set_class(bool(self.value) and found is None, "-nothing")

    @on(Input.Submitted)
    def _keep(self) -> None:
        if not self.value and self.before:
            self.value = self.before
            self._search()
        self._debugger.close_search(self.value or None)

    def action_leave(self) -> None:
        """Return to where the search began."""
        self.operators.select(self.origin)
        self._debugger.close_search(None)

    @property
    def _debugger(self) -> DebuggerScreen:
        return self.screen  # type: ignore[return-value]
