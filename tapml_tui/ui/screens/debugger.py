"""The debugger's screen: header, tree, tabs, one line of answers, one line of keys."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.screen import Screen
from textual.timer import Timer

from tapml_tui.backends.protocol import LogLine
from tapml_tui.compare.result import Status
from tapml_tui.engine.commands import SetFolds
from tapml_tui.engine.events import StopReason
from tapml_tui.engine.table import STATUSES
from tapml_tui.ui import actions, footer, lines, rows
from tapml_tui.ui.header import header
from tapml_tui.ui.inbox import Batch, Inbox
from tapml_tui.ui.lines import Line
from tapml_tui.ui.screens.finding import Finding
from tapml_tui.ui.screens.investigating import Investigating
from tapml_tui.ui.screens.verbs import Verbs
from tapml_tui.ui.widgets.bar import Bar
from tapml_tui.ui.widgets.kernel import KEPT_LOG_LINES, KernelPane, LogPane
from tapml_tui.ui.widgets.pane import Pane, Subject
from tapml_tui.ui.widgets.panes import Panes
from tapml_tui.ui.widgets.tree import OperatorTree

if TYPE_CHECKING:
    from tapml_tui.engine import Engine

_LOG = logging.getLogger(__name__)
QUIET = 1 / 20  # seconds between two looks at a run that is under way
REST = 1.0  # seconds after the first of some folds before they are written down
BAD = STATUSES.index(Status.FAILED)


class DebuggerScreen(Verbs, Finding, Investigating, Screen[None]):
    """Wires the engine's events to the widgets; what keys do is in the mixins."""

    BINDINGS = actions.bindings(actions.SCREEN)
    AUTO_FOCUS = "#tree"

    def __init__(self, engine: Engine, inbox: Inbox, user: str) -> None:
        """A screen over an engine that need not have been started."""
        super().__init__()
        self.engine = engine
        self.inbox = inbox
        self.user = user
        self.words = ""
        self._message = ""  # the engine's, as it was last seen
        self.log_lines: deque[LogLine] = deque(maxlen=KEPT_LOG_LINES)
        self._cursor = engine.snapshot.cursor
        self._shown = (engine.snapshot.case, engine.snapshot.mode)
        self._ran = (0, 0)  # nodes [start, stop) that the last step executed
        self._look_later: Timer | None = None
        self._folds_later: Timer | None = None

    def compose(self) -> ComposeResult:
        """All parts; the tabs' bodies come when they are first shown."""
        yield Bar(lambda width: header(self.engine, self.user, width), id="header")
        with Horizontal(id="halves"):
            with Vertical(id="left"):
                yield Bar(
                    lambda width: [rows.title(width, self.engine.snapshot.answer, self.engine.targets)], id="title"
                )
                yield OperatorTree(self.engine)
            yield Panes(self.engine)
        yield Bar(self._answer, id="answer")
        yield Bar(self._keys, id="keys")

    def on_mount(self) -> None:
        """Show what is selected."""
        self.tree_view.plain_colors = self.app.no_color or self.app.console.color_system == "standard"
        self._show_subject()
        trace = self.engine.trace
        if trace.damage or not trace.complete:
            what = trace.damage[0] if trace.damage else "it ends before its summary"
            self.say(f"This trace is damaged: {what}. What can be read is shown.")

    @property
    def tree_view(self) -> OperatorTree:
        """The tree."""
        return self.query_one("#tree", OperatorTree)

    @property
    def panes(self) -> Panes:
        """The tabs."""
        return self.query_one("#panes", Panes)

    def _title(self, width: int) -> Sequence[Line]:
        return [rows.title(width, self.engine.snapshot.answer, self.engine.targets)]

    def _answer(self, width: int) -> Sequence[Line]:
        return [footer.answer(self.engine, self.words, self._ran, width)]

    def _keys(self, width: int) -> Sequence[Line]:
        scope = getattr(self.focused, "scope", actions.TREE)
        return [footer.keys(scope, running=self.engine.snapshot.running, width=width)]

    def on_descendant_focus(self) -> None:
        """The keys in the last line are those of the focused part."""
        self.query_one("#keys", Bar).refresh()
        self.tree_view.refresh()

    def on_descendant_blur(self) -> None:
        """The same."""
        self.tree_view.refresh()

    def say(self, words: str) -> None:
        """Answer a key in the message line."""
        self.words = words
        self.query_one("#answer", Bar).renew()

    @on(Pane.Answer)
    def _answered(self, message: Pane.Answer) -> None:
        self.say(message.words)

    # What the engine says

    def look(self) -> None:
        """Look into the inbox: at once, or a little later while a run streams by.

        That a step has begun is not painted at once either: it would only delay the paint of its end.
        """
        if not self.engine.snapshot.running:
            self._look_now()
        elif self._look_later is None:
            self._look_later = self.set_timer(QUIET, self._look_now)

    def _look_now(self) -> None:
        if self._look_later is not None:
            self._look_later.stop()
            self._look_later = None
        self._apply(self.inbox.take())

    def _apply(self, batch: Batch) -> None:
        if batch.log:
            self.log_lines.extend(batch.log)
            for said in batch.log:
                _LOG.info("%s %s %s", said.backend, said.level, lines.harmless(said.text))
            for log_pane in self.query(LogPane):
                log_pane.receive(self.log_lines)
        for text in batch.kernels:
            for kernel_pane in self.query(KernelPane):
                kernel_pane.receive(text)
        if batch.changed is None:
            return
        tree = self.tree_view
        tree.engine_changed()
        snapshot = self.engine.snapshot
        if snapshot.message != self._message:  # an old one, told again, is no answer to the last key
            self._message = snapshot.message
            self.words = ""
        if (snapshot.case, snapshot.mode) != self._shown:  # its cursor is another one: nothing has run
            self._shown = (snapshot.case, snapshot.mode)
            self._ran, self._cursor = (0, 0), snapshot.cursor
            tree.follow()
        if not snapshot.running and snapshot.cursor != self._cursor:
            self._ran = (self._cursor, snapshot.cursor) if snapshot.cursor > self._cursor else (0, 0)
            self._cursor = snapshot.cursor
            self._follow(snapshot.stopped)
        for bar in self.query(Bar):
            bar.renew()
        self._show_subject()
        self.investigated()

    def _follow(self, stopped: StopReason) -> None:
        """Select where the run stopped: the node that is wrong, else the next to execute."""
        tree, before = self.tree_view, self._cursor - 1
        wrong = stopped in (StopReason.MISMATCH, StopReason.ERROR, StopReason.BREAKPOINT)
        if wrong and before >= 0 and self.engine.table.status[before] >= BAD:
            tree.outline.reveal_cursor(self._cursor)
            tree.select_node(before)
        else:
            tree.follow()

    @on(OperatorTree.Folded)
    def _keep_folds_later(self) -> None:
        if self._folds_later is None:
            self._folds_later = self.set_timer(REST, self.keep_folds)

    def keep_folds(self) -> None:
        """Tell the engine what is closed, so that the session opens again like this."""
        self._folds_later = None
        closed = self.tree_view.outline.closed_paths()
        if closed != self.engine.folds:
            self.engine.submit(SetFolds(closed))

    @on(OperatorTree.Entered)
    def _look_inside(self) -> None:
        self.action_worst_next()

    @on(OperatorTree.Selected)
    def _show_subject(self) -> None:
        tree, engine = self.tree_view, self.engine
        start, stop = tree.span
        cursor = engine.snapshot.cursor
        waits = start == cursor and tree.entry == tree.cursor_entry and cursor > 0
        fresh = waits and engine.result(cursor) is None and self._ran[1] == cursor
        label = tree.outline.label(tree.entry)
        self.panes.show(Subject(tree.entry, label, start, stop, tree.node, self._ran if fresh else None))
