"""What all our Line API widgets share: the style under the text, computed once per repaint."""

from __future__ import annotations

from rich.style import Style
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget


class Painter(Widget):
    """Looks its own style up once per repaint: Textual's look-up takes longer than painting a line.

    And only if a line is painted: Textual asks for the lines of every widget near a change, and
    has kept most of them.
    """

    _base: Style | None = None

    @property
    def base(self) -> Style:
        """The style under the text."""
        if self._base is None:
            self._base = self.rich_style
        return self._base

    def render_lines(self, crop: Region) -> list[Strip]:
        """Paint the lines of a region."""
        self._base = None
        return super().render_lines(crop)
