"""Screens over the debugger."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.await_complete import AwaitComplete
from textual.screen import ModalScreen, Screen

if TYPE_CHECKING:
    Base = Screen[None]
else:
    Base = object  # Textual looks for the styles of a screen along its first bases


class LeavesOnce(Base):
    """Leaves only if it is there: a key pressed twice fast must not take the screen below away."""

    def dismiss(self, result: None = None) -> AwaitComplete:
        """Leave, once."""
        return super().dismiss(result) if self.app.screen is self else AwaitComplete()


class OverDebugger(LeavesOnce, ModalScreen[None]):
    """A modal screen of ours."""
