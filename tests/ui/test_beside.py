"""Several targets on the screen: a column for each in the tree, a line for each on the page, and whose fault it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.engine.numpy_backend import NumpyBackend
from tests.ui.conftest import half_zero

Start = Callable[..., Any]
ON_BOTH, ON_ONE = "layers.0/aten.add.Tensor#0", "layers.1/aten.add.Tensor#0"


def targets() -> list[NumpyBackend]:
    return [
        NumpyBackend("target:llvm", faults={ON_BOTH: half_zero}),
        NumpyBackend("target:pixel8", faults={ON_BOTH: half_zero, ON_ONE: half_zero}),
    ]


def words(d: Any) -> str:
    return " ".join(" ".join(line.split("▏")[-1] for line in d.text.splitlines()).split())


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
async def test_a_column_and_a_line_for_each_and_whose_fault_it_is(debugging: Start, size: tuple[int, int]) -> None:
    async with debugging(targets=targets(), size=size) as d:
        d.tree.outline.set_closed_under(0, False)
        await d.press("i", "c")
        await d.at(2)
        assert "llvm" in d.text.splitlines()[2] and "pixel8" in d.text.splitlines()[2]
        await d.until(lambda: "Wrong on all: llvm, pixel8. Our kernel" in words(d))
        assert "x llvm ✗" in words(d)
        await d.press("c")
        await d.at(9)
        d.tree.select_node(4)
        await d.until(lambda: "Wrong on pixel8, right on llvm: its driver" in words(d))
        rows = [line.split("▏")[0] for line in d.text.splitlines()]
        assert any(" add " in row and 0 < row.find("✓") < row.find("✗") for row in rows)
        assert d.text.splitlines()[0].count("●") == 2


async def test_x_goes_from_one_to_the_next(debugging: Start) -> None:
    async with debugging(targets=targets()) as d:
        d.tree.select_node(4)
        for letter, said in (("P", "target:pixel8"), ("S", "source"), ("L", "target:llvm")):
            await d.press("x")
            await d.until(lambda said=said: f"on {said} now" in d.message)
            assert d.tree.table.worst(4, 5).side == letter


async def test_what_is_wrong_on_another_target_only_is_found_too(debugging: Start) -> None:
    async with debugging(targets=targets()) as d:
        await d.press("i", "c", "c")
        await d.at(9)
        await d.press("g", "]", "]")
        assert d.tree.node == 4
