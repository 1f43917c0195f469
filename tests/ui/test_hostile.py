"""A trace whose names want to be markup, escape sequences or a flood: they are shown as text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.engine.toys import Toy
from tests.ui.conftest import half_zero
from trace_format.model import InputRef

NAMES = {
    "markup": "[/foo]layers[a][bold].mlp",
    "escape": "\x1b[2J\x1b]0;owned\x07a",
    "newline": "a\nb\r\tc",
    "bidi": "\u202egnp.exe\u2066",
    "long": "x" * 10_000,
    "wide": "層" * 200,
}


def hostile(name: str) -> Toy:
    toy = Toy()
    first = toy.call("aten.add.Tensor", InputRef(0), InputRef(1), path=f"{name}.one")
    second = toy.call("aten.relu.default", first, path=f"{name}.two")
    toy.call("aten.add.Tensor", second, first, path=name)
    return toy


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
async def test_names_reach_the_screen_as_text(debugging: Callable[..., Any], name: str, size: tuple[int, int]) -> None:
    toy = hostile(name)
    path, op = toy.calls[1][2], toy.calls[1][0]
    async with debugging(toy, size=size, faults={f"{path}/{op}#0": half_zero}) as d:
        d.tree.outline.set_closed_under(0, False)
        await d.press("c")
        await d.until(lambda: d.engine.snapshot.cursor == 2)
        for key in ("1", "2", "3", "4", "5", "6", "slash"):
            await d.press(key)
            await d.pilot.pause(0.05)
            rows = d.text.split("\n")
            assert len(rows) == size[1]
            # What is raw would be a control character, and a row with one would not be as wide as the others.
            assert all(row.isprintable() for row in rows)
        await d.press("x", "escape", "b", "X", "question_mark", "escape", "colon", "escape", "g", "enter", "y")
        assert d.app.is_running
    if name == NAMES["markup"]:
        assert "[/foo]" in "\n".join(rows)
