"""Painting only what changed leaves the same screen as painting all of it."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

KEYS = ("s", "n", "j", "k", "G", "g", "x", "X", "b", "enter", "i", "N", "[", "]", "pagedown", "tab", "2", "1", "c", "r")


@pytest.mark.slow
async def test_after_any_keys_the_screen_is_what_a_full_repaint_gives(debugging: Callable[..., Any]) -> None:
    seed = random.randrange(1 << 32)
    chosen = random.Random(seed)
    async with debugging() as d:
        for number in range(40):
            key = chosen.choice(KEYS)
            await d.press(key)
            await d.until(lambda: not d.app.engine.snapshot.running)
            await d.pilot.pause(0.06)
            before = _strips(d.app)
            for widget in d.app.screen.walk_children():
                widget.refresh()
            await d.pilot.pause(0.03)
            assert _strips(d.app) == before, f"seed {seed}, key {number}: {key}"


def _strips(app: Any) -> list[list[tuple[str, str]]]:
    """Text and style of every line on the screen."""
    return [[(part.text, str(part.style)) for part in strip] for strip in app.screen._compositor.render_strips()]
