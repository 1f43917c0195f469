"""Colours and marks. Every state has a mark of its own: colour only repeats what a mark says."""

from __future__ import annotations

from typing import Final

from rich.style import Style
from textual.theme import Theme

BACKGROUND: Final = "#0f141b"
BAR: Final = "#1b2430"
FOREGROUND: Final = "#d5dce6"
MUTED: Final = "#77869a"
SELECTED: Final = "#23405c"
SELECTED_IDLE: Final = "#1f2a37"

THEME: Final = Theme(
    name="tapml",
    primary="#5ccfe6",
    secondary="#73b8ff",
    warning="#e6b450",
    error="#ff6b6b",
    success="#7fd18b",
    accent="#5ccfe6",
    foreground=FOREGROUND,
    background=BACKGROUND,
    surface=BACKGROUND,
    panel=BAR,
    dark=True,
)


def _style(color: str, *, bold: bool = False, background: str | None = None) -> Style:
    return Style(color=color, bold=bold or None, bgcolor=background)


PLAIN: Final = Style()
TEXT: Final = _style(FOREGROUND)
STRONG: Final = _style("#ffffff", bold=True)
DIM: Final = _style(MUTED)
STALE: Final = Style(color=MUTED, italic=True)
PASSED: Final = _style("#7fd18b")
FAILED: Final = _style("#ff6b6b", bold=True)
ERROR: Final = _style("#e58cff", bold=True)
UNSUPPORTED: Final = _style("#e6b450")
INHERITED: Final = _style("#c98a8a")
SOURCE: Final = _style("#73b8ff")
TARGET: Final = _style("#ffae57")
CURSOR: Final = _style("#5ccfe6", bold=True)
BREAKPOINT: Final = _style("#ff6b6b", bold=True)
KEY: Final = _style("#5ccfe6", bold=True)
UNDERLINE: Final = Style(underline=True)
HIT: Final = UNDERLINE
GUILTY: Final = Style(bgcolor="#4a1f26")
REVERSE: Final = Style(reverse=True)

# Indexed like `engine.table.STATUSES`: not_run, passed, unsupported, failed, error.
STATUS_MARKS: Final = ("·", "✓", "?", "✗", "!")
STATUS_STYLES: Final = (DIM, PASSED, UNSUPPORTED, FAILED, ERROR)

FOLD_OPEN: Final = "▼"
FOLD_CLOSED: Final = "▶"
CURSOR_MARK: Final = "→"
BREAKPOINT_MARK: Final = "●"
