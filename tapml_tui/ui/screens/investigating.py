"""Whose fault, and what can move: blame, migration, forced values, notes, conditions, the model's answer."""

from __future__ import annotations

from tapml_tui.engine import commands as c
from tapml_tui.ui.screens.asking import Asks


class Investigating(Asks):
    """What takes many runs, and what the user states. Reports open by themselves when they are there."""

    _before: tuple[object, object] | None = None  # blame and ledger when one of them was asked for

    def action_blame(self) -> None:
        """Find the smallest set of operators that breaks the answer, and prove it."""
        self._investigate(c.FindBlame())

    def action_migrate(self) -> None:
        """Move signature after signature to the target, as long as their tests pass and the answer holds."""
        self._investigate(c.Migrate())

    def action_migrate_again(self) -> None:
        """The same, trying again also what is known."""
        self._investigate(c.Migrate(again=True))

    def _investigate(self, command: c.Command) -> None:
        if self.engine.snapshot.running:
            self.say("Something is running: esc stops it.")
            return
        self._before = (self.engine.snapshot.blame, self.engine.snapshot.migrated)
        self._submit(command)

    def investigated(self) -> None:
        """Show the report that was asked for, once it is there."""
        snapshot = self.engine.snapshot
        if self._before is None or snapshot.running:
            return
        blame, migrated = self._before
        if snapshot.blame is not blame and snapshot.blame is not None:
            self._before = None
            self.action_blame_report()
            if snapshot.blame.blame.guilty:
                self.tree_view.select_node(min(snapshot.blame.blame.guilty))
        elif snapshot.migrated is not migrated and snapshot.migrated:
            self._before = None
            self.action_ledger()

    def action_blame_report(self) -> None:
        """Show what blame found last."""
        from tapml_tui.ui import reports
        from tapml_tui.ui.screens.text import TextScreen

        report = self.engine.snapshot.blame
        if report is None:
            self.say("Nobody has been blamed yet: B asks who breaks the answer.")
        else:
            self.app.push_screen(TextScreen("who breaks the answer", lambda width: reports.blame(report, width)))

    def action_ledger(self) -> None:
        """Show what became of each signature when it was migrated."""
        from tapml_tui.ui import reports
        from tapml_tui.ui.screens.text import TextScreen

        entries = self.engine.snapshot.migrated
        if not entries:
            self.say("Nothing has been migrated yet: M tries every signature on the target.")
        else:
            self.app.push_screen(TextScreen("migration", lambda width: reports.ledger(entries, width)))

    async def action_export(self) -> None:
        """Write the selected kernel out as a test."""
        node = self._node("a path is no kernel")
        if node is not None:
            from tapml_tui.export.writing import file_name

            default = file_name(self.tree_view.outline.graph.node_id(node))
            await self._line(
                "write test to", "FILE.py", lambda file: self._submit_for(file, c.Export(node, file)), default
            )

    # What the user states

    def _node(self, what: str) -> int | None:
        if self.tree_view.node is None:
            self.say(f"Select an operator: {what}.")
        return self.tree_view.node

    def action_force(self) -> None:
        """Force the recorded value of the selected operator, or put it on the target again."""
        node = self._node("a path has no value of its own")
        if node is None:
            return
        ids = self.engine.backend_ids
        placed = int(self.tree_view.table.backend[node])
        if placed >= len(ids):  # forced: behind the real backends
            self._submit(c.SetBackend(node, node + 1, ids[-1]))
        else:
            self._submit(c.Force(node))

    async def action_force_file(self) -> None:
        """Force what a .npy file holds."""
        node = self._node("a path has no value of its own")
        if node is not None:
            await self._line("value from", "FILE.npy", lambda file: self._submit_for(file, c.Force(node, file)))

    async def action_note(self) -> None:
        """Write a note on the selected operator."""
        node = self._node("a path takes no note")
        if node is not None:
            hint = "what is known about this operator"
            before = self.engine.note(node)
            await self._line("note", hint, lambda text: self._submit(c.SetNote(node, text)), before)

    async def action_break_condition(self) -> None:
        """Stop after the first node for which a condition holds."""
        await self._line(
            "break where",
            'floor > 8 and dtype == "float16"',
            lambda text: self._submit_for(text, c.ToggleBreakpoint(c.Breakpoint(c.BreakpointKind.CONDITION, text))),
        )

    async def action_answer_as(self, kind: str) -> None:
        """Judge the model's answer as something else; of several outputs, the one that is named."""
        answer = self.engine.snapshot.answer
        if answer is None:
            self.say("There is no answer yet: run to the end first.")
            return
        names = {one.output: one.name for one in answer.outputs}
        choices = ", ".join(f"{number} {name}" for number, name in names.items())

        def keep(which: str) -> None:
            number = next((number for number, name in names.items() if which.strip() in (str(number), name)), None)
            if number is not None:
                self._submit(c.SetOutputKind(number, kind))
            elif which.strip():
                self.say(f"There is no output {which.strip()}; there are {choices}.")

        if len(names) == 1:
            self._submit(c.SetOutputKind(answer.outputs[0].output, kind))
        else:
            await self._line(f"which output is {kind}", choices, keep)
