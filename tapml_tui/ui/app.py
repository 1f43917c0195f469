"""The application: wiring only."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar

from textual import events
from textual.app import App
from textual.filter import Monochrome, NoColor
from textual.message import Message

from tapml_tui.ui import theme
from tapml_tui.ui.inbox import Inbox
from tapml_tui.ui.palette import ActionProvider
from tapml_tui.ui.screens.debugger import DebuggerScreen
from tapml_tui.ui.screens.too_small import TooSmallScreen, too_small

if TYPE_CHECKING:
    from tapml_tui.engine import Engine

_LOG = logging.getLogger(__name__)


class Woke(Message):
    """The engine has put something into the inbox."""


class DebuggerApp(App[int]):
    """The debugger on an engine that is started after the first paint."""

    TITLE = "tapml-tui"
    CSS_PATH = "app.tcss"
    COMMANDS: ClassVar = {ActionProvider}
    ENABLE_COMMAND_PALETTE = True
    COMMAND_PALETTE_BINDING = "ctrl+shift+f24"  # ours is in the action table

    def __init__(
        self, engine: Engine, inbox: Inbox, user: str, *, on_painted: Callable[[], None] = lambda: None
    ) -> None:
        """An app over an engine whose events go into `inbox`.

        Args:
            engine: Not yet started.
            inbox: What the engine was given as `on_event`.
            user: Shown in the header.
            on_painted: Called after the first paint.
        """
        super().__init__()
        self.register_theme(theme.THEME)
        self.theme = theme.THEME.name
        if self.no_color:
            # Shades of grey are colours too: the terminal's own foreground and background.
            self._filters = [NoColor() if isinstance(each, Monochrome) else each for each in self._filters]
        self.engine = engine
        self.inbox = inbox
        self._on_painted = on_painted
        self.debugger = DebuggerScreen(engine, inbox, user)
        inbox.wake = lambda: self.post_message(Woke())

    def get_default_screen(self) -> DebuggerScreen:
        """The debugger is the first screen."""
        return self.debugger

    def on_mount(self) -> None:
        """The tree is painted first; then the engine may start its workers."""
        self.call_after_refresh(self._painted)
        # After ctrl+z and fg the terminal is empty, and Textual would paint only what changes from then on.
        self.app_resume_signal.subscribe(self, lambda _: self.refresh(layout=True))

    def _painted(self) -> None:
        self._on_painted()
        self.engine.start()

    def on_woke(self) -> None:
        """Let the debugger's screen look, also under another screen."""
        self.debugger.look()

    def on_key(self, event: events.Key) -> None:
        """What was typed after `/`, but before its field had the focus, belongs into the field.

        Otherwise the letters of a search that was typed fast, or pasted, would be commands.
        """
        prompt = self.debugger.prompt
        if prompt is not None and event.character and event.is_printable and self.screen is self.debugger:
            prompt.field.insert_text_at_cursor(event.character)
            prompt.field.focus()
            event.stop()
            event.prevent_default()

    def on_resize(self, event: events.Resize) -> None:
        """Ask for room where there is too little."""
        small, shown = too_small(event.size.width, event.size.height), isinstance(self.screen, TooSmallScreen)
        if small and not shown:
            self.push_screen(TooSmallScreen())
        elif shown and not small:
            self.pop_screen()

    def _fatal_error(self) -> None:
        """A fault of ours: the traceback goes to the log, one screen of words to the user."""
        error = sys.exc_info()[1] or self._exception
        _LOG.critical("the screen broke", exc_info=error)
        from tapml_tui.ui.logfile import log_path

        self.panic(
            f"tapml-tui stopped because of a fault of its own: {type(error).__name__}\n"
            "Results so far are kept. Start it again to go on.\n"
            f"What happened is in {log_path()}"
        )
