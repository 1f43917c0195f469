"""The Compare tab: a page of sentences, numbers and pictures; and a window on the elements that are worst."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.message import Message
from textual.worker import get_current_worker

from tapml_tui.ui import actions, findings, fold_page, lines, node_page, numbers, theme, window
from tapml_tui.ui.findings import Findings
from tapml_tui.ui.lines import Line
from tapml_tui.ui.widgets.pane import Pane

if TYPE_CHECKING:
    from tapml_tui.engine import Engine
    from tapml_tui.engine.events import NodeResult

LARGE = 1 << 20  # elements from which one must rest on a row before they are read
REST = 0.15  # seconds


class ComparePane(Pane):
    """Verdict first, then the numbers; for a fold what is in it. enter looks at single elements."""

    BINDINGS = actions.bindings(actions.COMPARE)
    inherit_bindings = False
    scope = actions.COMPARE

    class Found(Message):
        """A thread has looked at both sides of a result."""

        def __init__(self, result: NodeResult, found: Findings | None) -> None:
            """Of one result."""
            super().__init__()
            self.result = result
            self.found = found

    class Read(Message):
        """A thread has read the elements of a window."""

        def __init__(self, position: tuple[int, ...], tile: window.Tile | None, problem: str = "") -> None:
            """Around one position."""
            super().__init__()
            self.position = position
            self.tile = tile
            self.problem = problem

    def __init__(self, engine: Engine) -> None:
        """A pane that has looked at nothing yet."""
        super().__init__(engine)
        self._cache = findings.Cache()
        self._result: NodeResult | None = None  # whose findings these are
        self._findings: Findings | None = None
        self.position: tuple[int, ...] | None = None  # the element looked at, or None: the page is shown
        self._rank: int | None = None  # which of the worst that is
        self._tile: window.Tile | None = None

    @property
    def node(self) -> int | None:
        """The one node that is shown, or None."""
        if self.subject is None:
            return None
        start, stop = self.subject.just_ran or (self.subject.start, self.subject.stop)
        one = stop - start == 1 and (self.subject.just_ran is not None or self.subject.node is not None)
        return start if one else None

    def update_lines(self, *, same: bool) -> None:
        """Read the result again; what takes long comes from a thread."""
        node = self.node
        result = self.engine.result(node) if node is not None else None
        if result is not self._result:
            self._result, self._findings = result, None
            self.position = self._rank = self._tile = None
            if result is not None:
                self._find(result)
        if self.position is not None:
            self._draw_window()
        else:
            self._draw_page(node, same=same)

    def _draw_page(self, node: int | None, *, same: bool) -> None:
        assert self.subject is not None
        ran = self.subject.just_ran
        if node is None:
            start, stop = ran or (self.subject.start, self.subject.stop)
            label = "the last step" if ran is not None else self.subject.label
            self.set_lines(fold_page.of_fold(self.engine, label, start, stop, self.room), keep_place=same)
            return
        room = node_page.Room(self.room, self.size.height)
        note = "the last step" if ran is not None else ""
        self.set_lines(node_page.of_node(self.engine, node, room, self._findings, note=note), keep_place=same)

    def _find(self, result: NodeResult) -> None:
        what = findings.shown(result)
        if what is None:
            return
        snapshot = self.engine.snapshot
        computed = result.finding.computed.digest if result.finding is not None else result.outputs[what.place].key
        key = (snapshot.case, snapshot.mode, result.node, what.place, what.title, computed)
        self._findings = self._cache.get(key)
        if self._findings is not None:
            return

        def find() -> None:
            try:
                found = findings.find(self.engine, result, what)
            except Exception as error:  # a damaged block: the Output tab says so; here the pictures are missing
                self.log.error(error)
                found = None
            if found is not None:
                self._cache.keep(key, found)
            if not get_current_worker().is_cancelled:
                self.post_message(self.Found(result, found))

        def begin() -> None:
            if result is self._result:
                self.run_worker(find, thread=True, exclusive=True, group="find", exit_on_error=False)

        if what.comparison.compared > LARGE:
            self.set_timer(REST, begin)
        else:
            begin()

    def on_compare_pane_found(self, message: Found) -> None:
        """Complete the page, if it is still that of the same result."""
        if message.result is self._result and message.found is not None:
            self._findings = message.found
            self.draw(same=True)

    # The window on elements

    def _look_at(self, position: tuple[int, ...], rank: int | None) -> None:
        """Show the elements around a position, which a thread reads."""
        result = self._result
        what = findings.shown(result) if result is not None else None
        if result is None or what is None:
            return
        self.position, self._rank = position, rank
        extent = window.extent(self.size.height, self.room)

        def read() -> None:
            tile, problem = None, "one side is not here"
            try:
                sides = findings.sides(self.engine, result, what)
                if sides is not None:
                    tile = window.read(*sides, position, *extent)
            except Exception as error:  # a damaged block: it is data, said in the pane
                self.log.error(error)
                problem = f"cannot be read: {error}"
            if not get_current_worker().is_cancelled:
                self.post_message(self.Read(position, tile, problem))

        self.run_worker(read, thread=True, exclusive=True, group="window", exit_on_error=False)

    def on_compare_pane_read(self, message: Read) -> None:
        """Draw what was read, if it is still what was asked for."""
        if message.position != self.position:
            return
        self._tile = message.tile
        if message.tile is None:
            self.set_lines(lines.wrap(message.problem, self.room, theme.DIM))
        else:
            self._draw_window()

    def _draw_window(self) -> None:
        if self._tile is None:
            return
        self.set_lines([self._title(), *window.draw(self._tile, self.room)])

    def _title(self) -> Line:
        worst = self._findings.worst if self._findings is not None else ()
        if self._rank is None:
            return [("enter: back to the page", theme.DIM)]
        total = f" of {len(worst)}" if worst else ""
        factor = f"   {numbers.factor(worst[self._rank].factor)} x the floor" if self._rank < len(worst) else ""
        return [(f"worst {self._rank + 1}{total}", theme.STRONG), (factor, theme.FAILED)]

    def look(self) -> str:
        """Open the window at the worst element, or close it; what to say if there is nothing to look at."""
        if self.position is not None:
            self.leave()
            return ""
        return self.next_worst(1)

    def leave(self) -> bool:
        """Back to the page; whether there was a window."""
        if self.position is None:
            return False
        self.position = self._rank = self._tile = None
        self.draw(same=False)
        return True

    def next_worst(self, step: int) -> str:
        """Look at the next of the worst elements, the first one at first; what to say if there is none."""
        result = self._result
        what = findings.shown(result) if result is not None else None
        if what is None:
            node = self.node
            if node is not None and node_page.left_before(self.engine, node) is not None:
                return "Of an earlier session: stepping over it (n, or c for all) looks its values up."
            return "Nothing was compared here: there is no worst element."
        worst = self._findings.worst if self._findings is not None else ()
        rank = 0 if self._rank is None else self._rank + step
        if rank < len(worst) and rank >= 0:
            self._look_at(worst[rank].index, rank)
            return ""
        if self._rank is None and what.comparison.worst is not None:
            self._look_at(what.comparison.worst, 0)  # quicker than the thread that looks for the others
            return ""
        if not worst:
            return "No element differs." if self._findings is not None else "Both sides are still being read."
        return "This is the worst one." if step < 0 else f"These were the {len(worst)} worst."

    def _move(self, axis: str, by: int) -> None:
        if self._tile is None or self.position is None:
            if axis == "row":
                self.scroll_relative(y=by, animate=False)
            return
        position = window.moved(self.position, getattr(self._tile.axes, axis), by, self._tile.shape)
        if position != self.position:
            self._look_at(position, None)

    @property
    def _page(self) -> int:
        return window.extent(self.size.height, self.room)[0] if self.position is not None else self.size.height - 1

    def action_look_up(self) -> None:
        """One row up: of the window, or of the page."""
        self._move("row", -1)

    def action_look_down(self) -> None:
        """One row down."""
        self._move("row", 1)

    def action_look_left(self) -> None:
        """One column left."""
        self._move("column", -1)

    def action_look_right(self) -> None:
        """One column right."""
        self._move("column", 1)

    def action_look_page_up(self) -> None:
        """One screen up."""
        self._move("row", -self._page)

    def action_look_page_down(self) -> None:
        """One screen down."""
        self._move("row", self._page)

    def action_look_top(self) -> None:
        """The first row."""
        self._move("row", -(1 << 62)) if self.position is not None else self.scroll_to(y=0, animate=False)

    def action_look_bottom(self) -> None:
        """The last row."""
        self._move("row", 1 << 62) if self.position is not None else self.scroll_to(y=len(self.lines), animate=False)

    def action_look(self) -> None:
        """Open the window on elements, or close it."""
        self.post_message(self.Answer(self.look()))
