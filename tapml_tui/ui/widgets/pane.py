"""What a tab shows, and of what: the base of every pane."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from textual.message import Message

from tapml_tui.ui import lines, theme
from tapml_tui.ui.widgets.line_view import LineView
from trace_format import TraceError

if TYPE_CHECKING:
    from tapml_tui.engine import Engine


@dataclass(frozen=True, slots=True)
class Subject:
    """What the panes show.

    Attributes:
        entry: The selected outline entry.
        label: Its name.
        start: First node.
        stop: Node after the last.
        node: The node, or None for a fold.
        just_ran: The nodes that the last step executed, where the selection waits at the cursor.
    """

    entry: int
    label: str
    start: int
    stop: int
    node: int | None
    just_ran: tuple[int, int] | None = None


class Pane(LineView):
    """A view of the subject. `update` is called when the subject or its result has changed."""

    class Answer(Message):
        """What to say to the last key."""

        def __init__(self, words: str) -> None:
            """A sentence, or "" where the pane itself shows the answer."""
            super().__init__()
            self.words = words

    def __init__(self, engine: Engine) -> None:
        """A pane that reads from the engine when it is told to."""
        super().__init__()
        self.engine = engine
        self.subject: Subject | None = None

    def show(self, subject: Subject) -> None:
        """Show a subject, from the top if it is another one."""
        same = self.subject is not None and (self.subject.entry, self.subject.just_ran) == (
            subject.entry,
            subject.just_ran,
        )
        self.subject = subject
        self.draw(same=same)

    def draw(self, *, same: bool) -> None:
        """Compute the lines again; what is damaged in the trace is said, and hurts nothing else."""
        try:
            self.update_lines(same=same)
        except TraceError as error:
            self.set_lines(lines.wrap(f"The trace is damaged here: {error}", self.room, theme.UNSUPPORTED))

    def update_lines(self, *, same: bool) -> None:
        """Compute the lines again; `same` if the subject is the one of before."""
        raise NotImplementedError

    def on_resize(self) -> None:
        """Text is laid out for a width."""
        if self.subject is not None:
            self.draw(same=True)

    @property
    def room(self) -> int:
        """Cells in a line."""
        return max(self.size.width - 1, 12)
