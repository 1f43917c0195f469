"""Lines of styled text: the one way from data to the terminal.

Everything on the screen is painted by `paint`. It is also the one place where text that may
come from a trace is made harmless, so that no widget can forget it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeAlias

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from trace_format.text import printable

Line: TypeAlias = "list[tuple[str, Style]]"

ELLIPSIS = "…"


def harmless(text: str) -> str:
    """Text without anything that a terminal would obey. Free of cost for ordinary names."""
    return text if text.isprintable() else printable(text, 4000)


def paint(line: Iterable[tuple[str, Style]], width: int, base: Style, *, scroll: int = 0) -> Strip:
    """A strip of exactly `width` cells, starting `scroll` cells into the line."""
    segments = [Segment(harmless(text), style) for text, style in line if text]
    strip = Strip(segments)
    if scroll or strip.cell_length > width:
        strip = strip.crop(scroll, scroll + width)
    return strip.extend_cell_length(width).apply_style(base)


def fit(text: str, width: int) -> str:
    """Text in exactly `width` cells; what does not fit ends in an ellipsis."""
    text = harmless(text[: 4 * width + 4])
    if cell_len(text) <= width:
        return text + " " * (width - cell_len(text))
    return set_cell_size(text, max(width - 1, 0)) + ELLIPSIS if width > 0 else ""


def shorten(text: str, width: int) -> str:
    """Text in at most `width` cells; the middle goes, because both ends of a path tell most."""
    text = harmless(text if len(text) <= 2000 else text[:1000] + ELLIPSIS + text[-1000:])
    if cell_len(text) <= width:
        return text
    if width < 5:
        return fit(text, width)
    front = (width - 1) // 2
    back = width - 1 - front
    return set_cell_size(text, front).rstrip() + ELLIPSIS + set_cell_size(text[::-1], back)[::-1].lstrip()


def spread(left: Line, right: Line, width: int) -> Line:
    """Two lines at both ends of one; the right one stays whole, the left one is cut."""
    room = width - length(right)
    return [*cut(left, room), *right]


def cut(line: Line, width: int) -> Line:
    """A line in exactly `width` cells."""
    out: Line = []
    room = max(width, 0)
    for text, style in line:
        if room <= 0:
            break
        piece = harmless(text)
        piece = piece if cell_len(piece) <= room else fit(piece, room)
        out.append((piece, style))
        room -= cell_len(piece)
    if room > 0:
        out.append((" " * room, Style()))
    return out


def length(line: Line) -> int:
    """Width of a line in cells."""
    return sum(cell_len(harmless(text)) for text, _ in line)


def wrap(text: str, width: int, style: Style, *, indent: str = "", limit: int = 40) -> list[Line]:
    """Text over as many lines as it needs, at most `limit`, broken between words where it can be."""
    width = max(width - len(indent), 8)
    lines: list[Line] = []
    for paragraph in text.splitlines()[:limit]:
        rest = harmless(paragraph[: width * limit])
        while True:
            piece = set_cell_size(rest, width).rstrip() if cell_len(rest) > width else rest
            if len(piece) < len(rest) and rest[len(piece)] != " " and " " in piece:
                piece = piece[: piece.rindex(" ")]
            lines.append([(indent + piece, style)])
            rest = rest[max(len(piece), 1) :].lstrip()
            if not rest:
                break
            if len(lines) >= limit:
                return [*lines, [(indent + ELLIPSIS, style)]]
    return lines


def text_of(lines: Sequence[Line]) -> str:
    """Plain text, for the clipboard and for tests."""
    return "\n".join("".join(harmless(text) for text, _ in line).rstrip() for line in lines)
