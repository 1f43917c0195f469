"""The Compare tab and the Code tab: text that follows from the subject."""

from __future__ import annotations

from tapml_tui.ui import call_text, judgement
from tapml_tui.ui.widgets.panes import Pane


class ComparePane(Pane):
    """Verdict first, then the numbers; for a fold what is in it."""

    def update_lines(self, *, same: bool) -> None:
        """Read the result again."""
        subject = self.subject
        if subject is None:
            return
        start, stop = subject.just_ran or (subject.start, subject.stop)
        ran = subject.just_ran is not None
        if stop - start == 1 and (ran or subject.node is not None):
            content = judgement.of_node(self.engine, start, self.room, note="the last step" if ran else "")
        else:
            content = judgement.of_fold(self.engine, "the last step" if ran else subject.label, start, stop, self.room)
        self.set_lines(content, keep_place=same)


class CodePane(Pane):
    """The Python lines that made the node, and the call."""

    def update_lines(self, *, same: bool) -> None:
        """Read the node again."""
        if self.subject is not None:
            self.set_lines(call_text.of_node(self.engine, self.subject.start, self.room), keep_place=same)
