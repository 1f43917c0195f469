"""Copying out of the terminal: OSC 52, which nobody confirms, and a file, which is there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs

from tapml_tui.ui.lines import Line, text_of

if TYPE_CHECKING:
    from textual.app import App

OSC52_LIMIT = 74_000  # bytes; longer ones are dropped by many terminals


def copy(app: App[int], content: Sequence[Line]) -> str:
    """Send text to the terminal's clipboard and write it to a file; returns what to tell the user."""
    text = text_of(content)
    path = Path(platformdirs.user_state_dir("tapml-tui")) / "copied.txt"
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.write_text(text + "\n", encoding="utf-8")
        where = f"in {_short(path)}"
    except OSError as error:
        where = f"not written to a file: {error.strerror}"
    if len(text.encode()) > OSC52_LIMIT:
        return f"Too long for the terminal's clipboard; {where}"
    app.copy_to_clipboard(text)
    return f"Sent to terminal (OSC 52); also {where}"


def _short(path: Path) -> str:
    return f"~/{path.relative_to(Path.home())}" if path.is_relative_to(Path.home()) else str(path)
