"""Blame, migration, forced values, notes, conditions and the model's answer, on the screen."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tapml_tui.engine import Engine
from tapml_tui.engine.commands import BreakpointKind
from tapml_tui.engine.events import Event
from tapml_tui.headless.script import replay
from tapml_tui.ui.screens.text import TextScreen
from tests.engine.numpy_backend import Arrays, NumpyBackend
from tests.engine.toys import mlp
from tests.ui.conftest import half_zero
from trace_format import Trace
from trace_format.model import NodeRef

Start = Callable[..., Any]
FAULTY = "layers.1/aten.add.Tensor#0"  # node 4 of 9


async def test_the_answer_is_always_on_the_screen_and_moves_with_a_switch(debugging: Start) -> None:
    async with debugging(faults={FAULTY: half_zero}) as d:
        assert "answer" not in d.text
        await d.press("c", "c")
        await d.at(9)
        await d.until(lambda: "answer ✗" in d.text)
        d.tree.select_node(4)
        await d.press("x")
        await d.until(lambda: "answer ~" in d.text)
        await d.press("c")
        await d.until(lambda: "answer ✓" in d.text)
        await d.press("g")
        await d.until(lambda: "✓ answer" in d.text.split("side x floor")[1])


async def test_blame_names_the_guilty_kernel_and_proves_it(debugging: Start) -> None:
    async with debugging(faults={FAULTY: half_zero}) as d:
        await d.press("c", "c")
        await d.at(9)
        await d.press("B")
        await d.until(lambda: isinstance(d.app.screen, TextScreen))
        assert FAULTY in d.text and "this alone on the target" in d.text
        await d.press("escape")
        assert d.selected == FAULTY


async def test_where_the_answer_is_right_there_is_nothing_to_blame(debugging: Start) -> None:
    async with debugging() as d:
        await d.press("B")
        await d.until(lambda: isinstance(d.app.screen, TextScreen))
        assert "nothing to blame" in d.text


async def test_migration_ends_in_a_table_with_the_blocked_ones_first(debugging: Start) -> None:
    def broken(right: Arrays) -> Arrays:
        raise RuntimeError("no such instruction")

    async with debugging(faults={FAULTY: broken}) as d:
        await d.press("M")
        await d.until(lambda: isinstance(d.app.screen, TextScreen))
        shown = d.text.splitlines()
        assert "blocked" in shown[1] and "migrated" in shown[1]
        assert "✗ blocked" in shown[4] and "add" in shown[4]
        assert "no such instruction" in " ".join(shown[5:8])
        await d.press("escape")
        backend = d.engine.table.backend
        assert backend[4] == 0 and backend[3] == 1


@pytest.mark.parametrize("name", ["blame_report", "ledger", "answer_as('logits')"])
async def test_what_is_not_there_yet_says_how_to_get_it(debugging: Start, name: str) -> None:
    async with debugging() as d:
        await d.app.debugger.run_action(name)
        await d.pilot.pause()
        assert d.message


async def test_a_forced_value_stops_an_error_and_is_taken_back(debugging: Start) -> None:
    async with debugging(faults={FAULTY: half_zero}) as d:
        await d.press("c", "c")
        await d.at(9)
        d.tree.select_node(4)
        await d.press("F")
        await d.until(lambda: "its recorded value is forced" in d.message)
        row = next(line for line in d.text.splitlines() if "add" in line and " R " in line)
        assert "~" in row
        await d.press("c")
        await d.until(lambda: "answer ✓" in d.text)
        await d.press("F")
        await d.until(lambda: "on target now" in d.message)
        await d.press("c")
        await d.until(lambda: "answer ✗" in d.text)


async def test_a_file_is_forced_by_name(debugging: Start, tmp_path: Path) -> None:
    async with debugging() as d:
        d.tree.select_node(1)
        value = np.full_like(d.engine.reference(1, 0), 3)
        np.save(tmp_path / "v.npy", value)
        await d.app.debugger.run_action("force_file")
        await d.until(lambda: d.app.debugger.prompt is not None)
        d.app.debugger.prompt.field.value = str(tmp_path / "v.npy")
        await d.press("enter")
        await d.until(lambda: "v.npy is forced" in d.engine.snapshot.message)
        await d.press("n", "n", "n", "n")
        await d.until(lambda: d.engine.actual(1, 0) is not None)
        assert np.array_equal(d.engine.actual(1, 0), value)


@pytest.mark.parametrize("name", ["force_file", "break_condition", "record"])
@pytest.mark.parametrize("typed", ["", " "])
async def test_an_empty_line_cancels(debugging: Start, name: str, typed: str) -> None:
    async with debugging() as d:
        d.tree.select_node(1)
        await d.app.debugger.run_action(name)
        await d.until(lambda: d.app.debugger.prompt is not None)
        d.app.debugger.prompt.field.value = typed
        await d.press("enter")
        await d.until(lambda: d.app.debugger.prompt is None)
        await d.press("n")
        await d.until(lambda: d.engine.snapshot.cursor == 1)
        assert d.engine.table.backend[1] == 1 and not d.engine.snapshot.message
        assert not d.engine.snapshot.breakpoints and d.engine.snapshot.recording is None


async def test_a_note_is_written_shown_and_removed(debugging: Start) -> None:
    async with debugging() as d:
        d.tree.select_node(4)
        await d.press("a")
        await d.until(lambda: d.app.debugger.prompt is not None)
        await d.press(*"seen", "enter")
        await d.until(lambda: "note: seen" in d.text)
        await d.press("a")
        await d.until(lambda: d.app.debugger.prompt is not None and d.app.debugger.prompt.field.value == "seen")
        await d.press("ctrl+u", "enter")
        await d.until(lambda: "note: seen" not in d.text)


async def test_a_condition_stops_the_run_and_a_wrong_one_is_refused_in_words(debugging: Start) -> None:
    async with debugging(faults={FAULTY: half_zero}) as d:
        for text, stops in (("floor > 8 and", False), ('max_abs > 0.01 and op == "aten.add.Tensor"', True)):
            await d.app.debugger.run_action("break_condition")
            await d.until(lambda: d.app.debugger.prompt is not None)
            d.app.debugger.prompt.field.value = text
            await d.press("enter")
            await d.until(lambda stops=stops: ("set" if stops else "no breakpoint") in d.message)
        assert d.engine.snapshot.breakpoints[0].kind is BreakpointKind.CONDITION
        await d.press("c")
        await d.at(5)


async def test_what_is_recorded_on_the_screen_is_replayed_without_one(debugging: Start, tmp_path: Path) -> None:
    script = tmp_path / "walk.script"
    async with debugging(faults={FAULTY: half_zero}) as d:
        await d.app.debugger.run_action("record")
        await d.until(lambda: d.app.debugger.prompt is not None)
        assert d.app.debugger.prompt.field.value == "toy.script"
        d.app.debugger.prompt.field.value = str(script)
        await d.press("enter")
        await d.until(lambda: "● recording" in d.text)
        await d.press("n", "x", "c")
        await d.at(5)
        d.tree.select_node(7)
        await d.press("b", "c")
        await d.at(7)
        await d.app.debugger.run_action("record_stop")
        await d.until(lambda: "recorded in" in d.engine.snapshot.message)
        assert "● recording" not in d.text
        await d.press("n")
        sides, breakpoints = list(d.engine.table.backend), d.engine.snapshot.breakpoints
    engines: list[Engine] = []

    def make_engine(trace: Trace, on_event: Callable[[Event], None]) -> Engine:
        backends = [NumpyBackend("source"), NumpyBackend("target", faults={FAULTY: half_zero})]
        engines.append(Engine(trace, backends, on_event=on_event, run_path=tmp_path / "replayed.run"))
        return engines[0]

    replay(str(tmp_path / "toy.trace"), str(script), make_engine)
    assert 0 in sides and list(engines[0].table.backend) == sides
    assert engines[0].snapshot.cursor == 7 and engines[0].snapshot.breakpoints == breakpoints


async def test_a_name_is_proposed_that_is_not_taken(
    debugging: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "toy.script").touch()
    async with debugging() as d:
        await d.app.debugger.run_action("record")
        await d.until(lambda: d.app.debugger.prompt is not None)
        assert d.app.debugger.prompt.field.value == "toy-2.script"


async def test_of_several_outputs_the_one_that_is_named_is_judged_as_something_else(debugging: Start) -> None:
    toy = mlp(3)
    toy.also["pooled"] = NodeRef(4)
    async with debugging(toy) as d:
        await d.press("c")
        await d.at(9)
        for typed, said in (("pool", "There is no output pool; there are 0 out, 1 pooled."), ("1", ""), ("pooled", "")):
            await d.app.debugger.run_action("answer_as('embedding')")
            await d.until(lambda: d.app.debugger.prompt is not None)
            d.app.debugger.prompt.field.value = typed
            await d.press("enter")
            await d.until(lambda said=said: (said or "output 1 (pooled) is judged as embedding now") in d.message)
        assert [output.kind for output in d.engine.snapshot.answer.outputs] == ["tensor", "embedding"]


async def test_the_only_output_is_judged_as_something_else_without_a_question(debugging: Start) -> None:
    async with debugging() as d:
        await d.press("c")
        await d.at(9)
        await d.app.debugger.run_action("answer_as('embedding')")
        await d.until(lambda: "output 0 (out) is judged as embedding now" in d.message)


async def test_a_name_that_no_test_can_have_is_refused(debugging: Start, tmp_path: Path) -> None:
    async with debugging() as d:
        d.tree.select_node(1)
        for name, said in (("x.txt", "ends in .py"), ("no/test_x.py", "there is no folder")):
            await d.press("e")
            await d.until(lambda: d.app.debugger.prompt is not None)
            d.app.debugger.prompt.field.value = str(tmp_path / name)
            await d.press("enter")
            await d.until(lambda said=said: said in d.engine.snapshot.message)
            assert d.engine.snapshot.message.startswith("no test was written: ")
