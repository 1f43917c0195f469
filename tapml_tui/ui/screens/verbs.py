"""What the keys of the debugger do: each asks the engine, or answers why it does not."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import Any

from tapml_tui.backends.protocol import State
from tapml_tui.compare.result import Status
from tapml_tui.engine import commands as c
from tapml_tui.engine.table import STALE, STATUSES
from tapml_tui.ui.screens.asking import Asks

UNSUPPORTED = STATUSES.index(Status.UNSUPPORTED)


class Verbs(Asks):
    """Run, change, look."""

    # Run

    def _any_stale(self) -> bool:
        return bool((self.tree_view.table.flags & STALE).any())

    def _at_end(self) -> bool:
        if self.engine.snapshot.cursor < len(self.tree_view.outline.graph):
            return False
        counts = self.engine.snapshot.counts
        if self._any_stale():
            self.say("At the end; rows with ~ are of before. c computes them again, r rewinds.")
        elif counts.passed + counts.failed + counts.error + counts.unsupported:
            self.say("At the end: everything has been executed. r rewinds, N steps back.")
        else:
            self.say(f"At the end, and nothing has been executed {self.engine.snapshot.mode}. r goes to the start.")
        return True

    def action_step_over(self) -> None:
        """Execute the operator at the cursor, or the closed fold that begins there."""
        if self._at_end():
            return
        tree = self.tree_view
        entry = tree.cursor_entry
        folded = entry is not None and tree.is_closed(entry)
        self._submit(c.Step(c.Verb.OVER, entry if folded else None, folded))

    def action_step_into(self) -> None:
        """Open the fold at the cursor and execute one operator."""
        if not self._at_end():
            self.tree_view.open_to(self.engine.snapshot.cursor)
            self._submit(c.Step(c.Verb.INTO))

    def action_step_out(self) -> None:
        """Run to the end of the innermost path."""
        if not self._at_end():
            self._submit(c.Step(c.Verb.OUT))

    def action_run_to(self) -> None:
        """Run to just before the selection."""
        self._submit(c.Step(c.Verb.TO, self.tree_view.entry, self.tree_view.is_closed(self.tree_view.entry)))

    def action_run_on(self) -> None:
        """Run to the next breakpoint, LOCAL or error; at the end, compute again what is stale."""
        if self._any_stale() or not self._at_end():
            self._submit(c.Step(c.Verb.CONTINUE))

    def action_step_back(self) -> None:
        """Go back one step without computing."""
        self._submit(c.Step(c.Verb.BACK))

    def action_run_back(self) -> None:
        """Go back to the last breakpoint, LOCAL or error."""
        self._submit(c.Step(c.Verb.BACK_CONTINUE))

    def action_rewind(self) -> None:
        """Put the cursor at the start."""
        self._submit(c.Rewind())

    def action_retry(self) -> None:
        """Execute again what failed; restart what is lost; take up what the user's files say."""
        lost = any(each.state in (State.LOST, State.FAILED) for each in self.engine.snapshot.backends)
        if lost or bool((self.tree_view.table.status >= UNSUPPORTED).any()):
            self._submit(c.Retry())
        else:
            self.say("Nothing to retry: nothing has failed. n and c go on.")

    def action_stop(self) -> None:
        """Stop what is running; before that, leave a search that has lost the focus, or a window on elements."""
        if self.prompt is not None:
            self.prompt.action_leave()
        elif not self.engine.snapshot.running and self.panes.leave():
            self.say("")
        elif self.engine.snapshot.running:
            self.engine.submit(c.Interrupt())
            self.say("Stopping …")
        else:
            self.say("Nothing is running. q quits.")

    # Change

    def action_side(self) -> None:
        """Move the selected row to the other side."""
        self._switch(*self.tree_view.span)

    def action_side_subtree(self) -> None:
        """Move the path that the selected row is in."""
        tree = self.tree_view
        entry: int | None = tree.entry
        if entry is not None and not tree.outline.fold[entry]:
            entry = tree.outline.parent_entry(entry)
        if entry is not None:
            self._switch(int(tree.outline.start[entry]), int(tree.outline.stop[entry]))

    def _switch(self, start: int, stop: int) -> None:
        """To the backend after the present one; a mixture goes to the last (the target)."""
        if self._empty():
            return
        ids = self.engine.backend_ids
        placed = self.tree_view.table.backend[start:stop]
        present = int(placed[0])
        mixed = bool((placed != present).any())
        backend = ids[-1] if mixed else ids[(present + 1) % len(ids)]
        self._submit(c.SetBackend(start, stop, backend))

    def action_breakpoint(self) -> None:
        """Set or remove a breakpoint at the first node of the selected row."""
        if not self._empty():
            self._toggle(c.BreakpointKind.NODE, self.tree_view.outline.graph.node_id(self.tree_view.span[0]))

    def _toggle(self, kind: c.BreakpointKind, pattern: str = "") -> None:
        self._submit(c.ToggleBreakpoint(c.Breakpoint(kind, pattern)))

    def action_break_operator(self) -> None:
        """Stop before every node with the selected operator."""
        if not self._empty():
            self._toggle(c.BreakpointKind.OPERATOR, _literal(self.tree_view.outline.graph.op(self.tree_view.span[0])))

    def action_break_path(self) -> None:
        """Stop where a run comes into the selected path: that of a fold, or the one that a node is in."""
        if not self._empty():
            path = self.tree_view.outline.graph.outline_path(self.tree_view.entry)
            self._toggle(c.BreakpointKind.PATH, _literal(path) or "*")

    def action_break_mismatch(self) -> None:
        """Stop after the first mismatch."""
        self._toggle(c.BreakpointKind.MISMATCH)

    def action_break_nan(self) -> None:
        """Stop after the first NaN."""
        self._toggle(c.BreakpointKind.NAN)

    def action_mode(self) -> None:
        """Switch between isolated and chained."""
        chained = self.engine.snapshot.mode is c.Mode.CHAINED
        self._submit(c.SetMode(c.Mode.ISOLATED if chained else c.Mode.CHAINED))

    def action_undo(self) -> None:
        """Take the last switch of side back."""
        self._submit(c.Undo())

    def action_fetch_whole(self) -> None:
        """Fetch the whole output of the selected node."""
        node = self.tree_view.node
        if node is None:
            self.say("Select an operator: a path has no output of its own.")
            return
        result = self.engine.result(node)
        if result is not None and result.outputs and all(output.bytes is not None for output in result.outputs):
            self.say("All of its output is here.")
        else:
            self._submit(c.FetchWhole(node))

    def action_case_previous(self) -> None:
        """Work on the case before."""
        self._case(-1)

    def action_case_next(self) -> None:
        """Work on the next case."""
        self._case(1)

    def _case(self, by: int) -> None:
        case, count = self.engine.snapshot.case + by, len(self.engine.trace.cases)
        if 0 <= case < count:
            self._submit(c.SelectCase(case))
        else:
            self.say("This is the only case." if count == 1 else f"This is the {'last' if by > 0 else 'first'} case.")

    # Views and session

    def action_tab(self, number: int) -> None:
        """Show tab `number`, counted from 1."""
        if not self.panes.switch(number - 1):
            self.say(f"{self.panes.title} is shown already. tab goes into it.")

    def action_next_focus(self) -> None:
        """Move between the tree and the tabs."""
        target: Any = self.panes.pane if self.tree_view.has_focus else self.tree_view
        target.focus()

    def action_copy(self) -> None:
        """Copy the shown tab, and write it to a file."""
        from tapml_tui.ui.copying import copy

        self.say(copy(self.app, self.panes.pane.lines))

    async def action_record(self) -> None:
        """Write what is done from here on into a script."""
        default = _unused(f"{self.engine.trace.path.stem}.script")
        await self._line("record in", "FILE.script", lambda file: self._submit_for(file, c.Record(file)), default)

    def action_record_stop(self) -> None:
        """Close the script that is being recorded."""
        self._submit(c.Record(None))

    def action_palette(self) -> None:
        """Open the command palette."""
        from tapml_tui.ui.palette import Palette

        if not Palette.is_open(self.app):
            self.app.push_screen(Palette())

    def action_help(self) -> None:
        """Show the keys of what has the focus."""
        from tapml_tui.ui.screens.help import HelpScreen

        self.app.push_screen(HelpScreen(getattr(self.focused, "scope", "tree")))

    def action_suspend(self) -> None:
        """Back to the shell."""
        self.app.action_suspend_process()

    def action_quit(self) -> None:
        """Leave; the workers are stopped on the way out."""
        self.keep_folds()
        self.app.exit(0)


def _literal(text: str) -> str:
    """Text as a glob that matches only itself."""
    return "".join(f"[{char}]" if char in "*?[" else char for char in text)


def _unused(name: str) -> str:
    """The name, with a number where there is such a file already."""
    path = Path(name)
    numbered = (f"{path.stem}-{number}{path.suffix}" for number in count(2))
    return name if not path.exists() else next(other for other in numbered if not Path(other).exists())
