"""What all actions of the debugger's screen stand on: the engine, the tree, and a line to answer in."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from tapml_tui.engine import commands as c

if TYPE_CHECKING:
    from textual.screen import Screen

    from tapml_tui.engine import Engine
    from tapml_tui.ui.widgets.panes import Panes
    from tapml_tui.ui.widgets.prompt import Prompt
    from tapml_tui.ui.widgets.tree import OperatorTree

    Base = Screen[None]
else:
    Base = object  # Textual looks for the styles of a screen along its first bases


class Asks(Base):
    """Base of the mixins that hold the actions of scope "screen"."""

    engine: Engine
    prompt: Prompt | None = None

    if TYPE_CHECKING:

        @property
        def tree_view(self) -> OperatorTree: ...
        @property
        def panes(self) -> Panes: ...
        def say(self, words: str) -> None: ...
        def keep_folds(self) -> None: ...

    def _submit(self, command: c.Command) -> None:
        self.say("")
        self.engine.submit(command)

    def _submit_for(self, typed: str, command: c.Command) -> None:
        """Ask for what a line was typed for; an empty line cancels."""
        if typed.strip():
            self._submit(command)

    def _empty(self) -> bool:
        if len(self.tree_view.outline.graph) > 0:
            return False
        self.say("This graph has no operators.")
        return True

    async def _ask_line(self, prompt: Prompt) -> None:
        """Let the user type a line where the answers are; one at a time."""
        if self.prompt is not None:
            self.set_focus(self.prompt.field)
            return
        self.prompt = prompt
        self.query_one("#answer").display = False
        await self.mount(prompt, before="#keys")
        self.set_focus(prompt.field)

    async def _line(self, label: str, hint: str, keep: Callable[[str], None], value: str = "") -> None:
        """Ask for a line; `keep` gets what was typed."""
        from tapml_tui.ui.widgets.prompt import Prompt

        await self._ask_line(Prompt(label, hint, value, keep))

    def on_prompt_done(self, message: Prompt.Done) -> None:
        """Close the prompt; what was typed goes to who asked."""
        prompt, self.prompt = self.prompt, None
        if prompt is None:
            return
        prompt.remove()
        self.query_one("#answer").display = True
        self.tree_view.focus()
        if message.text is not None:
            prompt.keep(message.text)
