"""The debugger driven by keys, on the real engine over a real trace."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from textual import events
from textual.command import CommandList, CommandPalette

from tapml_tui.backends.protocol import BackendStatus, State
from tapml_tui.compare.result import Verdict
from tapml_tui.engine.commands import Mode
from tapml_tui.engine.events import StopReason
from tapml_tui.engine.table import BREAKPOINT, STALE
from tapml_tui.ui.screens.help import HelpScreen
from tapml_tui.ui.screens.too_small import TooSmallScreen
from tapml_tui.ui.widgets.line_view import LineView
from tapml_tui.ui.widgets.prompt import SearchPrompt
from tapml_tui.ui.words import SENTENCES
from tests.engine.numpy_backend import Arrays
from tests.engine.toys import Toy, mlp, write_together
from tests.ui.conftest import half_zero
from trace_format.model import InputRef

Start = Callable[..., Any]
FAULTY = "layers.1/aten.add.Tensor#0"  # node 4 of 9


async def test_the_tree_is_there_and_the_target_says_its_state(debugging: Start) -> None:
    async with debugging() as d:
        assert "layers.0" in d.text
        await d.until(lambda: "numpy target ● ready" in d.text)
        assert d.app.engine.snapshot.backends[1].state is State.READY
        assert "step 0/9" in d.text


async def test_n_executes_one_operator_and_the_verdict_is_on_the_screen(debugging: Start) -> None:
    async with debugging() as d:
        d.tree.outline.set_closed_under(0, False)
        await d.press("n")
        await d.at(1)
        assert "✓ passed" in d.text
        assert "the last step" in d.text
        assert "step 1/9" in d.text


async def test_n_steps_over_a_closed_fold_and_s_into_it(debugging: Start) -> None:
    async with debugging() as d:
        tree = d.tree
        tree.outline.set_closed_under(0, True)
        tree.outline.set_closed(0, False)
        await d.press("n")
        await d.at(3)
        assert tree.is_closed(tree.entry), "the cursor waits at the next fold, which stays closed"
        await d.press("s")
        await d.at(4)
        assert not tree.is_closed(tree.outline.parent_entry(tree.entry))


async def test_c_stops_at_the_guilty_kernel_and_selects_it(debugging: Start) -> None:
    async with debugging(faults={FAULTY: half_zero}) as d:
        await d.press("c")
        await d.at(5)
        assert d.selected == FAULTY
        assert "✗ LOCAL  add" in d.text
        assert "This kernel is wrong." in d.text
        await d.until(lambda: "where  ↓ axis 0" in d.text)
        assert re.search("░{4}[▒▓█]{4}", d.text)


async def test_the_end_is_said_and_does_no_harm(debugging: Start) -> None:
    async with debugging() as d:
        await d.press("c")
        await d.at(9)
        await d.press("n")
        assert d.message.startswith("At the end: everything")
        d.engine.table.flags[0] |= STALE
        await d.press("n")
        assert "c computes them again" in d.message
        d.engine.table.flags[0] &= ~STALE & 0xFF
        await d.press("i", "n")
        assert "nothing has been executed isolated" in d.message
        await d.press("i", "N")
        await d.at(8)
        await d.press("r")
        await d.at(0)


async def test_at_the_end_c_computes_again_what_a_switch_made_stale(debugging: Start) -> None:
    async with debugging() as d:
        await d.press("c")
        await d.at(9)
        await d.press("X")
        assert d.engine.table.flags[8] & STALE
        await d.press("c")
        await d.until(lambda: not (d.engine.table.flags & STALE).any())
        await d.until(lambda: "stale nodes computed again" in d.message)


async def test_sides_switch_for_a_node_and_its_path_and_undo_takes_it_back(debugging: Start) -> None:
    async with debugging() as d:
        backend = d.engine.table.backend
        d.tree.select_node(4)
        await d.press("x")
        await d.until(lambda: backend[4] == 0)
        assert backend[3] == 1
        await d.press("X")
        await d.until(lambda: set(backend[3:6]) == {1})
        await d.press("X")
        await d.until(lambda: set(backend[3:6]) == {0})
        assert set(backend[:3]) == {1}
        await d.press("u")
        await d.until(lambda: set(backend[3:6]) == {1})


async def test_a_switch_dims_what_follows_from_it(debugging: Start) -> None:
    async with debugging(faults={FAULTY: half_zero}) as d:
        await d.press("c", "c")
        await d.at(9)
        d.tree.select_node(4)
        await d.press("x")
        await d.until(lambda: bool(d.engine.table.flags[8] & STALE))
        d.tree.select_node(8)
        await d.pilot.pause()
        await d.until(lambda: "~ stale" in d.text)


async def test_a_breakpoint_is_drawn_and_stops_the_run(debugging: Start) -> None:
    async with debugging() as d:
        d.tree.select_node(5)
        await d.press("b")
        await d.until(lambda: bool(d.engine.table.flags[5] & BREAKPOINT))
        await d.until(lambda: "●" in "\n".join(d.text.splitlines()[3:-2]))
        await d.press("c")
        await d.at(5)
        await d.press("b")
        await d.until(lambda: not d.engine.table.flags[5] & BREAKPOINT)


async def test_modes_and_cases_switch(debugging: Start) -> None:
    async with debugging(mlp(2, cases=2)) as d:
        await d.press("i")
        await d.until(lambda: d.engine.snapshot.mode is Mode.ISOLATED)
        await d.until(lambda: "isolated" in d.text)
        await d.press("}")
        await d.until(lambda: d.engine.snapshot.case == 1)
        await d.until(lambda: "case 2/2" in d.text)
        await d.press("}")
        assert d.message == "This is the last case."
        await d.press("{")
        await d.until(lambda: d.engine.snapshot.case == 0)


@pytest.mark.slow
async def test_cases_of_other_graphs_bring_their_own_tree(debugging: Start) -> None:
    both = SimpleNamespace(
        write=lambda path: write_together(path, mlp(5), mlp(1), Toy([("aten.tanh.default", (InputRef(0),), "")]))
    )
    async with debugging(both) as d:
        d.tree.outline.set_closed_under(0, False)
        await d.press("G", "n")
        for key in ("}", "x", "}", "n", "{", "G", "{", "}", "}", "X", "j", "{", "{", "/", "t", "enter", "c"):
            await d.pilot.press(key)  # faster than the engine answers
        await d.until(lambda: d.engine.snapshot.case == 0 and d.engine.snapshot.cursor == 15)
        assert "layers.4" in d.text
        await d.press("}")
        await d.until(lambda: d.engine.snapshot.case == 1 and "layers.1" not in d.text)
        assert "step 0/3" in d.text


@pytest.mark.slow
async def test_brackets_go_to_the_guilty_first_then_to_what_inherited(debugging: Start) -> None:
    async with debugging(faults={FAULTY: half_zero, "layers.2/aten.add.Tensor#0": half_zero}) as d:
        await d.press("]")
        assert "nothing has failed so far" in d.message
        await d.press("c", "c", "c")
        await d.at(9)
        await d.press("g")
        for node, words in ((4, "LOCAL 1 of 2"), (7, "LOCAL 2 of 2"), (5, "not LOCAL"), (6, "not LOCAL"), (8, "not")):
            await d.press("]")
            assert d.tree.node == node
            assert words in d.message
        await d.press("]")
        assert d.tree.node == 8 and "the last of 5" in d.message
        await d.press("[", "[", "[")
        assert d.tree.node == 7
        d.tree.select_node(8)  # where a run ends: a mismatch that was not walked to
        await d.press("]")
        assert d.tree.node == 4, "below there is none: the first of the guilty"
        d.tree.select_node(3)
        await d.press("[")
        assert d.tree.node == 7, "above there is none: the last of the guilty"
        d.tree.select_node(3)
        await d.press("]")
        assert d.tree.node == 4


async def test_search_goes_along_and_opens_folds(debugging: Start) -> None:
    async with debugging() as d:
        d.tree.outline.set_closed_under(0, True)
        await d.press("slash", *"TANH")
        assert d.selected.endswith("tanh.default#0")
        first = d.tree.node
        await d.press("enter", "full_stop")
        assert d.tree.node == first + 3
        await d.press("comma")
        assert d.tree.node == first
        assert d.tree.has_focus


async def test_news_of_a_backend_does_not_wipe_out_an_answer(debugging: Start) -> None:
    async with debugging(faults={FAULTY: half_zero}) as d:
        await d.press("c")
        await d.at(5)
        assert "layers.1" in d.message
        await d.press("slash", *"tanh", "enter")
        await d.until(lambda: ". next" in d.message)
        generation = d.engine.snapshot.generation
        d.engine._backends["target"]._sink(BackendStatus("target", State.READY, latency_ms=7.0))
        await d.until(lambda: d.engine.snapshot.generation > generation and "7.0 ms" in d.text)
        assert ". next" in d.message


async def test_search_for_nothing_says_so_and_escape_returns(debugging: Start) -> None:
    async with debugging() as d:
        await d.press("down")
        before = d.tree.entry
        await d.press("slash", *"add", "escape")
        assert d.tree.entry == before
        await d.press("slash", "enter")
        assert "Nothing was typed" in d.message
        await d.press("slash", *"nosuch", "enter")
        assert "'nosuch' is nowhere" in d.message
        assert d.tree.entry == before


async def test_a_search_that_is_typed_faster_than_its_prompt_opens_is_no_command(debugging: Start) -> None:
    async with debugging() as d:
        for character in "/tanh":
            d.app.post_message(events.Key("slash" if character == "/" else character, character))
        await d.until(lambda: d.app.debugger.prompt is not None and d.app.debugger.prompt.field.value == "tanh")
        assert d.selected.endswith("tanh.default#0")
        assert d.engine.snapshot.cursor == 0


async def test_search_keys_answer_before_any_search(debugging: Start) -> None:
    async with debugging() as d:
        await d.press("full_stop")
        assert "/ opens the search" in d.message


@pytest.mark.parametrize("tab", range(1, 7))
async def test_every_tab_shows_something_of_a_node_and_of_a_fold(debugging: Start, tab: int) -> None:
    async with debugging(faults={FAULTY: half_zero}) as d:
        await d.press("c", str(tab))
        await d.until(lambda: len(d.panes.pane.lines) > 0)
        await d.press("g")
        await d.until(lambda: len(d.panes.pane.lines) > 0)
        await d.press("tab")
        assert d.panes.pane.has_focus
        await d.press("tab")
        assert d.tree.has_focus


async def test_the_output_tab_opens_at_the_worst_element_and_moves(debugging: Start) -> None:
    async with debugging(faults={FAULTY: half_zero}) as d:
        await d.press("c")
        await d.at(5)
        await d.press("3")
        comparison = d.engine.result(4).outputs[0].comparison
        await d.until(lambda: getattr(d.panes.pane, "view", None) and d.panes.pane.view.position == comparison.worst)
        await d.press("tab", "home")
        await d.until(lambda: d.panes.pane.view.position[1] == 0)
        await d.press("left", "down", "down")
        await d.until(lambda: d.panes.pane.loaded.window.axis == 0)
        await d.press("end")
        await d.until(lambda: d.panes.pane.view.position[0] == 7)
        reference, actual = d.engine.reference(4, 0), d.engine.actual(4, 0)
        window = d.panes.pane.loaded.window
        assert window.reference == tuple(reference[window.first : window.first + len(window.reference), 0].tolist())
        assert window.actual == tuple(actual[window.first : window.first + len(window.actual), 0].tolist())


async def test_keys_faster_than_the_values_are_read(debugging: Start) -> None:
    async with debugging() as d:
        d.tree.select_node(0)
        await d.press("2", "tab")
        pane = d.panes.pane
        await d.until(lambda: pane.loaded is not None)
        for change in (pane.action_other, pane.action_worst, lambda: d.tree.select_node(3)):
            change()
            for move in (pane.action_forth, pane.action_last, pane.action_axis_right, pane.action_page_back):
                move()
            await d.until(lambda: pane.loaded is not None)
            assert len(pane.view.position) == len(pane.loaded.window.position)


async def test_inputs_are_shown_one_after_the_other(debugging: Start) -> None:
    async with debugging() as d:
        d.tree.select_node(0)
        await d.press("2")
        await d.until(lambda: "1/2" in d.text)
        await d.press("tab", "space")
        await d.until(lambda: "2/2" in d.text)


async def test_the_kernel_text_arrives(debugging: Start) -> None:
    async with debugging() as d:
        d.tree.select_node(1)
        await d.press("5")
        await d.until(lambda: "── numpy" in d.text)
        assert "aten.add.Tensor" in d.text


async def test_the_code_tab_shows_the_call(debugging: Start) -> None:
    async with debugging(size=(120, 40)) as d:
        d.tree.select_node(1)
        await d.press("4")
        await d.until(lambda: "aten.add.Tensor(" in d.text)
        assert "layers.0.attn/aten.matmul.default#0" in d.text


async def test_stop_interrupts_a_run(debugging: Start) -> None:
    async with debugging() as d:
        backend = d.engine._backends["target"]
        backend.stopped.clear()
        await d.pilot.press("c")
        await d.until(lambda: d.engine.snapshot.running)
        await d.until(lambda: "esc stops" in d.text)
        await d.pilot.press("escape")
        await d.until(lambda: not d.engine.snapshot.running)
        await d.press("escape")
        assert "Nothing is running" in d.message


async def test_help_opens_for_the_focus_and_closes(debugging: Start) -> None:
    async with debugging() as d:
        await d.press("question_mark")
        assert isinstance(d.app.screen, HelpScreen)
        assert "in the tree" in d.text
        await d.press("escape", "3", "tab", "f1")
        assert "in a window on values" in d.text
        await d.press("q")
        assert not isinstance(d.app.screen, HelpScreen)


async def test_help_scrolls(debugging: Start) -> None:
    async with debugging(size=(80, 24)) as d:
        await d.press("question_mark")
        first = d.text
        await d.press("pagedown")
        assert d.text != first
        await d.press("end")
        assert SENTENCES[Verdict.HEALED][:20] in d.text
        assert "One row up" not in d.text


async def test_a_long_text_scrolls_and_shows_where_it_is(debugging: Start) -> None:
    async with debugging(size=(60, 16)) as d:
        await d.press("s", "up", "4", "tab")
        pane = d.app.focused
        assert isinstance(pane, LineView)
        assert len(pane.lines) > pane.size.height
        assert pane.show_vertical_scrollbar
        await d.press("pagedown")
        assert pane.scroll_offset.y > 0


async def test_the_palette_finds_an_action_and_does_it(debugging: Start) -> None:
    async with debugging() as d:
        await d.press("colon")
        await d.press(*"first mism")
        await d.until(lambda: "Break on the first mismatch" in d.text)
        await d.press("enter")
        await d.until(lambda: len(d.engine.snapshot.breakpoints) == 1)


async def test_what_is_called_so_comes_before_what_is_described_so(debugging: Start) -> None:
    async with debugging() as d:
        await d.press("colon")
        await d.press(*"record")
        await d.until(lambda: "Record a script" in d.text)
        listed = d.app.screen.query_one(CommandList)
        await d.until(lambda: "Record a script" in str(listed.get_option_at_index(0).hit.text))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "stops_at", "words"),
    [
        ("break operator", 2, "the operator aten.tanh.default: set"),
        ("break path", 2, "the path layers.0.mlp: set"),
        ("first mism", 3, "the first mismatch: set"),
        ("first NaN", 6, "the first NaN: set"),
    ],
)
async def test_every_kind_of_breakpoint_can_be_set_from_the_palette(
    debugging: Start, name: str, stops_at: int, words: str
) -> None:
    def scaled(right: Arrays) -> Arrays:
        return (right[0] * 2,)

    def nan(right: Arrays) -> Arrays:
        return (right[0] * np.float32(np.nan),)

    faults = {"layers.0.mlp/aten.tanh.default#0": scaled, "layers.1.mlp/aten.tanh.default#0": nan}
    async with debugging(faults=faults) as d:
        d.tree.select_node(2)
        await d.press("colon")
        await d.press(*name)
        await d.until(lambda: "Break on" in d.text)
        await d.press("enter")
        await d.until(lambda: len(d.engine.snapshot.breakpoints) == 1)
        await d.until(lambda: words in d.message)
        while d.engine.snapshot.stopped is not StopReason.BREAKPOINT:
            before = d.engine.snapshot.generation
            await d.press("c")
            await d.until(lambda before=before: d.engine.snapshot.generation > before)
            await d.until(lambda: not d.engine.snapshot.running)
        assert d.engine.snapshot.cursor == stops_at


async def test_a_page_key_before_the_palette_has_its_lines(debugging: Start) -> None:
    async with debugging() as d:
        await d.press("colon")
        await d.until(lambda: isinstance(d.app.screen, CommandPalette))
        commands = d.app.screen.query_one(CommandList)
        commands.display = False
        await d.pilot.pause()
        commands.clear_options()
        commands.add_option("late")
        for _ in range(2):  # the first marks it, the second would move on from its line
            await d.app.screen.run_action("command_list('page_down')")
        assert d.app.is_running


@pytest.mark.parametrize("opens", ["question_mark", "colon"])
async def test_a_screen_leaves_once_however_often_it_is_told(debugging: Start, opens: str) -> None:
    async with debugging() as d:
        await d.press(opens)
        await d.until(lambda: d.app.screen is not d.app.debugger)
        above = d.app.screen
        for _ in range(3):
            above.dismiss()
        await d.until(lambda: d.app.screen is d.app.debugger)
        await d.press("j")
        assert d.app.is_running


async def test_a_search_that_lost_the_focus_is_typed_on_and_left(debugging: Start) -> None:
    async with debugging() as d:
        await d.press("slash", "a", "tab", "d")
        await d.until(lambda: d.app.debugger.prompt.field.value == "ad")
        await d.press("d", "tab", "escape")
        await d.until(lambda: d.app.debugger.prompt is None)
        await d.press("slash", "tab")
        await d.app.debugger.run_action("search")
        assert len(d.app.screen.query(SearchPrompt)) == 1
        await d.press("escape", "q")
        assert d.app.return_value == 0


async def test_a_small_terminal_asks_for_room_and_a_large_one_is_used(debugging: Start) -> None:
    async with debugging(size=(59, 24)) as d:
        assert isinstance(d.app.screen, TooSmallScreen)
        assert "make me bigger" in d.text
        await d.pilot.resize_terminal(60, 16)
        await d.until(lambda: not isinstance(d.app.screen, TooSmallScreen))
        assert "layers.0" in d.text
        await d.pilot.resize_terminal(60, 15)
        await d.until(lambda: isinstance(d.app.screen, TooSmallScreen))


async def test_copy_says_where_it_went(debugging: Start) -> None:
    async with debugging(size=(200, 40)) as d:
        await d.press("n", "y")
        assert d.message.startswith("Sent to terminal (OSC 52); also in ")
        path = Path(d.message.partition("also in ")[2])
        assert "passed" in path.read_text(encoding="utf-8")


async def test_the_mouse_selects_and_folds(debugging: Start) -> None:
    async with debugging() as d:
        await d.pilot.click("#tree", offset=(10, 1))
        assert d.tree.outline.row_of(d.tree.entry) == 1
        rows = len(d.tree.outline)
        await d.pilot.click("#tree", offset=(10, 1))
        assert len(d.tree.outline) != rows
        await d.pilot.click("#tabs", offset=(10, 0))
        assert d.panes.active == 1


@pytest.mark.slow
async def test_every_key_of_the_table_can_be_pressed_at_any_time(debugging: Start) -> None:
    from tapml_tui.ui import actions

    harmless = [a for a in actions.ACTIONS if a.name not in ("quit", "suspend", "search", "palette", "help")]
    async with debugging(faults={FAULTY: half_zero}) as d:
        for tab in "123456":
            await d.press("tab", tab)
            for action in harmless:
                for key in filter(None, action.keys.split(",")):
                    await d.pilot.press(key)
        await d.until(lambda: not d.engine.snapshot.running)
        assert d.app.is_running
