"""Going somewhere: to a mismatch, a hit of a search, an element, the cursor."""

from __future__ import annotations

import numpy as np
from textual.worker import get_current_worker

from tapml_tui.compare.result import Status, Verdict
from tapml_tui.engine.table import STATUSES, VERDICTS
from tapml_tui.ui.screens.asking import Asks

BAD, LOCAL = STATUSES.index(Status.FAILED), VERDICTS.index(Verdict.LOCAL)


class Finding(Asks):
    """The actions of the group "Find"."""

    searched = ""
    _walked: int | None = None  # the mismatch that was gone to last

    def action_mismatch_previous(self) -> None:
        """Select the mismatch before, in the order of `action_mismatch_next`."""
        self._mismatch(-1)

    def action_mismatch_next(self) -> None:
        """Select the next guilty kernel; after the last of them, the mismatches that are none."""
        self._mismatch(1)

    def _mismatch(self, step: int) -> None:
        table, tree = self.tree_view.table, self.tree_view
        local = np.flatnonzero(table.verdict == LOCAL)
        beside = (table.beside_status >= BAD).any(axis=0)  # on another of several targets
        others = np.flatnonzero(((table.status >= BAD) | beside) & (table.verdict != LOCAL))
        order = [*local.tolist(), *others.tolist()]
        if not order:
            self.say("No mismatch: nothing has failed so far.")
            return
        node = tree.node
        walking = node == self._walked or not len(local) or node in local
        at = order.index(node) if node in order and walking else self._between(order, len(local), step)
        number = at + step
        if not 0 <= number < len(order):
            self.say(f"That was the {'last' if step > 0 else 'first'} of {len(order)} mismatches.")
            return
        self._walked = order[number]
        tree.select_node(self._walked)
        kind = f"LOCAL {number + 1} of {len(local)}" if number < len(local) else "not LOCAL"
        self.say(f"Mismatch {number + 1} of {len(order)}: {kind}.")

    def _between(self, order: list[int], guilty: int, step: int) -> int:
        """Where the selection would stand in the order: among the guilty, or all if none is."""
        among = order[:guilty] or order
        start = self.tree_view.span[0]
        before = sum(node < start for node in among)
        if step > 0:
            return before - 1 if before < len(among) else -1  # none below: the first one
        return before if before else len(among)

    def action_worst_next(self) -> None:
        """Look at the worst element, then at the next worst."""
        self._worst(1)

    def action_worst_previous(self) -> None:
        """Back through the worst elements."""
        self._worst(-1)

    def _worst(self, step: int) -> None:
        pane = self.panes.compare()
        answer = pane.next_worst(step)
        if pane.position is not None:
            pane.focus()
        self.say(answer)

    def action_next_overflow(self) -> None:
        """Go to the next operator that would overflow in half precision: a thread looks for it."""
        engine, tree = self.engine, self.tree_view
        graph, after = engine.graph, tree.span[0] - (tree.node is None)

        def look() -> None:
            from tapml_tui.ui.overflow import next_overflow

            found = next_overflow(engine, after)
            if not get_current_worker().is_cancelled:
                self.app.call_from_thread(arrive, found)

        def arrive(found: int | None) -> None:
            if self.engine.graph is not graph:
                return
            if found is None:
                self.say("No operator would overflow in float16 with the recorded values.")
            else:
                tree.select_node(found)
                self.say(f"{graph.node_id(found)} would overflow in float16: 3 Output says by how much.")

        self.say("Looking for values beyond float16 …")
        self.run_worker(look, thread=True, exclusive=True, group="overflow", exit_on_error=False)

    def action_to_cursor(self) -> None:
        """Select the next operator to execute."""
        self.tree_view.follow()
        cursor, graph = self.engine.snapshot.cursor, self.tree_view.outline.graph
        self.say(f"→ {graph.node_id(cursor)} is next." if cursor < len(graph) else "→ is at the end.")

    async def action_search(self) -> None:
        """Open the search prompt."""
        from tapml_tui.ui.widgets.prompt import SearchPrompt

        await self._ask_line(SearchPrompt(self.tree_view, self.searched, self._searched))

    def _searched(self, text: str) -> None:
        """`.` and `,` go on with what was searched for."""
        if not text:
            self.say("Nothing was typed: / again, then part of an operator, a name or a path.")
            return
        self.searched = text
        hint = f"/{text}   . next   , previous"
        self.say(hint if self.tree_view.hit is not None else _nowhere(text))

    def action_hit_next(self) -> None:
        """Go to the next hit."""
        self._hit(+1)

    def action_hit_previous(self) -> None:
        """Go to the hit before."""
        self._hit(-1)

    def _hit(self, step: int) -> None:
        if not self.searched:
            self.say("Nothing has been searched for: / opens the search.")
            return
        tree = self.tree_view
        found = self.tree_view.outline.graph.search(self.searched, tree.entry, step)
        if found is None:
            self.say(_nowhere(self.searched))
        else:
            wrapped = found <= tree.entry if step > 0 else found >= tree.entry
            tree.hit = found
            tree.select(found)
            self.say(f"/{self.searched}" + ("   (from the other end)" if wrapped else ""))


def _nowhere(text: str) -> str:
    return f"{text!r} is nowhere: not an operator, name or path."
