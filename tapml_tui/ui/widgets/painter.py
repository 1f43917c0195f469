"""What all our Line API widgets share: the style under the text, computed once per repaint."""

from __future__ import annotations

from rich.style import Style
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget


class Painter(Widget):
    """Looks its own style up once per repaint: Textual's look-up takes longer than painting a line."""

    base = Style()

    def render_lines(self, crop: Region) -> list[Strip]:
        """Paint the lines of a region."""
        self.base = self.rich_style
        return super().render_lines(crop)
