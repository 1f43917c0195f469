"""The Code tab: text that follows from the subject."""

from __future__ import annotations

from tapml_tui.ui import call_text
from tapml_tui.ui.widgets.pane import Pane


class CodePane(Pane):
    """The Python lines that made the node, and the call."""

    def update_lines(self, *, same: bool) -> None:
        """Read the node again."""
        if self.subject is not None:
            self.set_lines(call_text.of_node(self.engine, self.subject.start, self.room), keep_place=same)
