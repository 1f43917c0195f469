"""The Compare tab: what is wrong is on the page, and the elements can be looked at."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tapml_tui.ui import window
from tapml_tui.ui.lines import length, text_of
from tapml_tui.ui.widgets.compare import ComparePane
from tests.engine.numpy_backend import Arrays
from tests.engine.toys import mlp
from tests.ui.conftest import half_zero

Start = Callable[..., Any]
FAULTY = "layers.1/aten.add.Tensor#0"  # node 4 of 9


def page(d: Any) -> str:
    return text_of(d.panes.pane.lines)


async def test_the_diagnosis_is_a_sentence_on_the_page(debugging: Start) -> None:
    async with debugging(faults={FAULTY: half_zero}) as d:
        await d.press("c")
        await d.at(5)
        await d.until(lambda: "are zero: the last" in " ".join(page(d).split()))
        shown = page(d).splitlines()
        assert shown[0].startswith("✗ LOCAL  add") and shown[1] == "This kernel is wrong."
        assert "x the floor of" in page(d)


@pytest.mark.slow
async def test_m_and_p_go_through_the_worst_elements_and_enter_leads_back(debugging: Start) -> None:
    async with debugging(faults={FAULTY: half_zero}) as d:
        await d.press("c")
        await d.at(5)
        pane: ComparePane = d.panes.pane
        await d.until(lambda: pane._findings is not None)
        worst = pane._findings.worst
        await d.press("m")
        await d.until(lambda: page(d).startswith("worst 1 of "))
        assert pane.has_focus and pane.position == worst[0].index
        await d.press("m")
        await d.until(lambda: page(d).startswith("worst 2 of "))
        assert pane.position == worst[1].index
        await d.press("p", "p")
        assert d.message == "This is the worst one."
        for _ in worst:
            await d.press("m")
        assert d.message == f"These were the {len(worst)} worst."
        await d.press("enter")
        await d.until(lambda: page(d).startswith("✗ LOCAL"))
        await d.press("m", "escape")
        await d.until(lambda: page(d).startswith("✗ LOCAL"))


async def test_the_window_moves_and_shows_what_the_arrays_hold(debugging: Start) -> None:
    async with debugging(faults={FAULTY: half_zero}) as d:
        await d.press("c")
        await d.at(5)
        pane: ComparePane = d.panes.pane
        await d.press("enter")
        await d.until(lambda: pane._tile is not None)
        column = pane.position[1]
        await d.press("g", "h")
        await d.until(lambda: pane._tile.position == (0, column - 1))
        await d.press("j", "l")
        await d.until(lambda: pane._tile.position == (1, column))
        tile = pane._tile
        reference, actual = d.engine.reference(4, 0), d.engine.actual(4, 0)
        here = np.s_[tile.rows : tile.rows + len(tile.reference), tile.columns : tile.columns + len(tile.reference[0])]
        assert np.array_equal(tile.reference, reference[here]) and np.array_equal(tile.actual, actual[here])
        await d.press("n")
        await d.at(6)
        await d.until(lambda: pane.position is None)


async def test_where_nothing_was_compared_the_keys_say_so(debugging: Start) -> None:
    async with debugging() as d:
        await d.press("m")
        assert "Nothing was compared here" in d.message
        d.tree.select_node(3)
        await d.press("enter")
        assert "Nothing was compared here" in d.message
        await d.press("1", "tab", "enter")
        assert "Nothing was compared here" in d.message


async def test_a_nan_is_looked_at_like_any_other(debugging: Start) -> None:
    def nan(right: Arrays) -> Arrays:
        wrong = right[0].copy()
        wrong[2, 3] = np.nan
        return (wrong,)

    async with debugging(faults={FAULTY: nan}, size=(120, 40)) as d:
        await d.press("c")
        await d.at(5)
        await d.until(lambda: d.panes.pane._findings is not None)
        await d.press("m")
        await d.until(lambda: d.panes.pane._tile is not None)
        assert d.panes.pane.position == (2, 3)
        assert "nan" in page(d) and "∞ x the floor" in page(d)


def test_a_window_fits_for_every_rank_and_marks_its_axes() -> None:
    random = np.random.default_rng(1)
    for shape in ((), (1,), (300,), (1, 5), (5, 1), (40, 50), (2, 1, 30, 1, 40), (1, 1)):
        reference = random.normal(size=shape)
        position = tuple(extent // 2 for extent in shape)
        for width, height in ((33, 19), (54, 35), (20, 8)):
            tile = window.read(reference, reference + 1e-9, position, *window.extent(height, width))
            content = window.draw(tile, width)
            assert len(content) + 1 <= max(height, 9)
            assert all(length(line) <= max(width, 24) for line in content[2:]), shape
            shown = text_of(content)
            assert shown.count("‹") == min(sum(extent > 1 for extent in shape) or len(shape), 2)


async def test_what_was_sampled_says_so_and_d_fetches_all_of_it(debugging: Start) -> None:
    async with debugging(mlp(size=96), faults={}, fetch_limit=1000) as d:
        await d.press("c")
        d.tree.select_node(4)
        await d.until(lambda: "· sampled  add" in d.text)
        await d.until(lambda: "agree." in d.text and "d fetches all of it: 36 KiB" in d.text)
        await d.press("d")
        await d.until(lambda: "✓ passed  add" in d.text)
        assert "fetches all of it" not in d.text
        await d.press("d")
        assert d.message == "All of its output is here."


async def test_what_an_earlier_session_compared_is_not_said_to_be_nothing(debugging: Start, tmp_path: Path) -> None:
    kept = {"faults": {FAULTY: half_zero}, "run_path": tmp_path / "a.run", "resume": True}
    async with debugging(**kept) as d:
        await d.press("c")
        await d.at(5)
        d.engine.close()
    async with debugging(**kept) as d:
        d.tree.select_node(4)
        await d.press("enter")
        await d.until(lambda: d.message.startswith("Of an earlier session"))
        d.tree.select_node(7)
        await d.press("enter")
        await d.until(lambda: d.message.startswith("Nothing was compared here"))
        await d.press("c")
        await d.at(9)
        d.tree.select_node(4)
        await d.press("enter")
        await d.until(lambda: page(d).startswith("worst 1"))
