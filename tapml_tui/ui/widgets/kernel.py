"""The Kernel tab and the Log tab: texts that come from the workers."""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import TYPE_CHECKING

from rich.style import Style

from tapml_tui.backends.protocol import KernelText, LogLine
from tapml_tui.engine.commands import Describe
from tapml_tui.ui import lines, theme
from tapml_tui.ui.lines import Line
from tapml_tui.ui.widgets.pane import Pane

if TYPE_CHECKING:
    from tapml_tui.engine import Engine

KEPT_KERNELS = 64
KEPT_LOG_LINES = 2000
PAUSE = 0.15  # seconds of rest before a kernel is asked for: moving through rows asks for none


class KernelPane(Pane):
    """Relax and TensorIR text, read-only; for an error the compiler's message, cause first."""

    def __init__(self, engine: Engine) -> None:
        """A pane that knows no kernel yet: texts arrive later, by signature."""
        super().__init__(engine)
        self._asked = ""
        self._texts: OrderedDict[str, KernelText] = OrderedDict()

    def update_lines(self, *, same: bool) -> None:
        """Show what is known, and ask for the text if it is not."""
        subject = self.subject
        if subject is None:
            return
        if subject.node is None:
            self.set_lines([[("select an operator: a path has no kernel of its own", theme.DIM)]])
            return
        content = self._error(subject.start)
        unit = self.engine.unit(subject.start)
        if not unit.outputs:
            self.set_lines(lines.wrap("no backend executes this operator: it has no kernel", self.room, theme.DIM))
            return
        signature = unit.signature
        text = self._texts.get(signature)
        if text is None:
            content.append([("asking the compiler …", theme.DIM)])
            if not same or signature != self._asked:
                self._asked = signature
                self.set_timer(PAUSE, lambda: self._ask(subject.start))
        else:
            for title, body in text.sections:
                content += [[(f"── {title} ", theme.CURSOR)], *self._body(body), []]
        self.set_lines(content, keep_place=same)

    def _ask(self, node: int) -> None:
        if self.subject is None or self.subject.start != node:
            return
        if self.display:
            self.engine.submit(Describe(node))
        else:
            self._asked = ""  # another tab was opened meanwhile: this one asks when it is shown again

    def receive(self, text: KernelText) -> None:
        """A text has arrived."""
        self._texts[text.signature] = text
        while len(self._texts) > KEPT_KERNELS:
            self._texts.popitem(last=False)
        if self.subject is not None:
            self.draw(same=True)

    def _error(self, node: int) -> list[Line]:
        result = self.engine.result(node)
        if result is None or not result.detail:
            return []
        content = lines.wrap(result.reason, self.room, theme.FAILED, limit=12)
        content += [[], [("── the whole message ", theme.CURSOR)]]
        return [*content, *lines.wrap(result.detail, self.room, theme.TEXT, limit=400), []]

    @staticmethod
    def _body(text: str) -> list[Line]:
        return [[(line.expandtabs(4), _code_style(line))] for line in text.splitlines()]


def _code_style(line: str) -> Style:
    stripped = line.lstrip()
    if stripped.startswith("#"):
        return theme.DIM
    if stripped.startswith(("def ", "class ", "@", "with ", "for ")):
        return theme.SOURCE
    return theme.TEXT


NAMES = 8  # cells for the name of a backend
LEVELS = {"error": theme.FAILED, "warning": theme.UNSUPPORTED, "debug": theme.DIM}


class LogPane(Pane):
    """What the workers said, newest last; stays at the end unless it was scrolled up."""

    log_lines: deque[LogLine]

    def receive(self, kept: deque[LogLine]) -> None:
        """More lines have arrived in the screen's store."""
        self.log_lines = kept
        self.update_lines(same=True)

    def update_lines(self, *, same: bool) -> None:
        """Draw the kept lines."""
        kept = getattr(self, "log_lines", ())
        at_end = self.scroll_offset.y >= self.max_scroll_y
        content: list[Line] = []
        for said in kept:
            style = LEVELS.get(said.level.lower(), theme.TEXT)
            first, *rest = lines.wrap(said.text, self.room - NAMES, style) or [[]]
            content.append([(f"{said.backend:<{NAMES}}", theme.DIM), *first])
            content += [[(" " * NAMES, theme.DIM), *line] for line in rest]
        self.set_lines(content or [[("PyTorch, TVM and the device have said nothing", theme.DIM)]], keep_place=True)
        if at_end:
            self.action_text_bottom()
