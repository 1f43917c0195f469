"""The Compare tab and the Code tab: text that follows from the subject."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.message import Message

from tapml_tui.compare.result import Status
from tapml_tui.ui import call_text, error_map, judgement
from tapml_tui.ui.lines import Line
from tapml_tui.ui.widgets.pane import Pane

if TYPE_CHECKING:
    from tapml_tui.engine import Engine
    from tapml_tui.engine.events import NodeResult


ROOMY = 26  # rows from which the picture may be tall


class ComparePane(Pane):
    """Verdict first, then the numbers; for a fold what is in it."""

    class Drawn(Message):
        """The picture of the error is there."""

        def __init__(self, result: NodeResult, picture: list[Line]) -> None:
            """Of one result."""
            super().__init__()
            self.result = result
            self.picture = picture

    def __init__(self, engine: Engine) -> None:
        """A pane that has drawn no picture yet."""
        super().__init__(engine)
        self._pictured: NodeResult | None = None  # what the picture is of
        self._picture: list[Line] = []

    def update_lines(self, *, same: bool) -> None:
        """Read the result again; the picture of where the error sits comes from a thread."""
        subject = self.subject
        if subject is None:
            return
        start, stop = subject.just_ran or (subject.start, subject.stop)
        ran = subject.just_ran is not None
        one = stop - start == 1 and (ran or subject.node is not None)
        result = self.engine.result(start) if one else None
        if result is not self._pictured:
            self._pictured, self._picture = result, []
            if result is not None and result.status is Status.FAILED:
                self._draw(result)
        if one:
            note = "the last step" if ran else ""
            content = judgement.of_node(self.engine, start, self.room, note=note, picture=self._picture)
        else:
            content = judgement.of_fold(self.engine, "the last step" if ran else subject.label, start, stop, self.room)
        self.set_lines(content, keep_place=same)

    def on_resize(self) -> None:
        """The picture, too, has a width."""
        self._pictured = None
        super().on_resize()

    def _draw(self, result: NodeResult) -> None:
        index = next((i for i, out in enumerate(result.outputs) if out.comparison and not out.comparison.passed), None)
        comparison = result.outputs[index].comparison if index is not None else None
        if index is None or comparison is None or not comparison.compared:
            return
        allowed, width, rows = comparison.floor * comparison.limit, self.room, 8 if self.size.height > ROOMY else 3

        def draw() -> None:
            try:
                sides = self.engine.reference(result.node, index), self.engine.actual(result.node, index)
                picture = error_map.picture(*sides, rows, width, allowed)
            except Exception as error:  # A damaged block: the Output tab says so; here a picture is missing.
                self.log.error(error)
                picture = []
            self.post_message(self.Drawn(result, picture))

        self.run_worker(draw, thread=True, exclusive=True, group="picture", exit_on_error=False)

    def on_compare_pane_drawn(self, message: Drawn) -> None:
        """Put the picture under the numbers, if they are still those of the same result."""
        if message.result is self._pictured and message.picture:
            self._picture = message.picture
            self.draw(same=True)


class CodePane(Pane):
    """The Python lines that made the node, and the call."""

    def update_lines(self, *, same: bool) -> None:
        """Read the node again."""
        if self.subject is not None:
            self.set_lines(call_text.of_node(self.engine, self.subject.start, self.room), keep_place=same)
