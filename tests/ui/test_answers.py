"""Every key gets an answer: the screen shows something else, or says why it does not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from textual.driver import Driver

from tapml_tui.ui import actions
from tests.engine.numpy_backend import Arrays
from tests.ui.conftest import half_zero

Start = Callable[..., Any]
LEAVES = {"quit", "suspend", "help", "palette", "search"}  # tested on their own
STAYING = [one for one in actions.ACTIONS if one.scope == actions.SCREEN and one.name not in LEAVES]


def broken(right: Arrays) -> Arrays:
    raise RuntimeError("the device is on fire")


@pytest.mark.slow
@pytest.mark.parametrize("before", [(), ("c", "c")], ids=["start", "end"])
@pytest.mark.parametrize("action", STAYING, ids=actions.binding_id)
async def test_every_key_that_works_everywhere_gets_an_answer(
    debugging: Start, action: actions.Action, before: tuple[str, ...]
) -> None:
    async with debugging(faults={"layers.1/aten.add.Tensor#0": half_zero}) as d:
        await d.press(*before)
        await d.pilot.pause(0.1)
        shown, focused = d.text, d.app.focused
        if action.keys:
            await d.press(action.keys.split(",")[0])
        else:
            await d.app.debugger.run_action(action.name)
        await d.until(lambda: d.text != shown or d.app.focused is not focused)  # else the key was swallowed


async def test_a_step_says_what_became_of_it(debugging: Start) -> None:
    async with debugging(faults={"layers.0/aten.add.Tensor#0": broken}) as d:
        d.tree.outline.set_closed_under(0, False)
        await d.press("n")
        await d.at(1)
        assert d.message.startswith("layers.0.attn/aten.matmul.default#0: passed, ")
        assert d.message.endswith(" x the floor")
        await d.press("n")
        await d.at(2)
        assert "layers.0/aten.add.Tensor#0: error: " in d.message and "on fire" in d.message


async def test_a_step_over_a_fold_says_how_many_of_each(debugging: Start) -> None:
    async with debugging(faults={"layers.0/aten.add.Tensor#0": half_zero}) as d:
        d.tree.outline.set_closed_under(0, True)
        d.tree.outline.set_closed(0, False)
        await d.press("n")
        await d.at(3)
        assert d.message == "1 passed, 2 failed"


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ({}, "the answer holds: "),
        ({"layers.1/aten.add.Tensor#0": half_zero}, "] shows the guilty, B proves who breaks it"),
    ],
    ids=["right", "wrong"],
)
async def test_the_end_of_a_run_says_whether_the_answer_holds(
    debugging: Start, fault: dict[str, Any], said: str
) -> None:
    async with debugging(faults=fault) as d:
        await d.press(*("c",) * (1 + len(fault)))
        await d.until(lambda: said in d.message)


async def test_a_switch_its_undo_a_mode_and_a_case_say_what_they_did(debugging: Start) -> None:
    async with debugging() as d:
        d.tree.select_node(4)
        await d.press("x")
        await d.until(lambda: d.message == "layers.1/aten.add.Tensor#0: on source now")
        await d.press("X")
        await d.until(lambda: d.message == "layers.1, 3 operators: on target now")
        await d.press("u")
        await d.until(lambda: d.message == "layers.1, 3 operators: back on source and target")
        await d.press("u")
        await d.until(lambda: d.message == "layers.1/aten.add.Tensor#0: back on target")
        await d.press("u")
        await d.until(lambda: d.message == "nothing to undo")
        await d.press("i")
        await d.until(lambda: d.message == "isolated now: each operator gets the recorded inputs")


async def test_coming_back_from_the_shell_paints_everything(debugging: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    async with debugging() as d:
        painted: list[bool] = []
        monkeypatch.setattr(d.app, "refresh", lambda **options: painted.append(bool(options.get("layout"))))
        d.app.post_message(Driver.SignalResume())
        await d.until(lambda: painted == [True])
