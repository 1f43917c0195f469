"""The table of keys: complete, without clashes, and the same in bindings, footer, help and palette."""

from __future__ import annotations

import pytest

from tapml_tui.ui import actions, footer
from tapml_tui.ui.lines import length, text_of
from tapml_tui.ui.screens.debugger import DebuggerScreen
from tapml_tui.ui.screens.help import content
from tapml_tui.ui.widgets.compare import ComparePane
from tapml_tui.ui.widgets.line_view import LineView
from tapml_tui.ui.widgets.tensors import TensorPane
from tapml_tui.ui.widgets.tree import OperatorTree

OWNERS = {
    actions.SCREEN: DebuggerScreen,
    actions.TREE: OperatorTree,
    actions.COMPARE: ComparePane,
    actions.TENSOR: TensorPane,
    actions.TEXT: LineView,
}
FORBIDDEN = {"ctrl+a", "ctrl+b", "ctrl+h", "ctrl+i", "ctrl+j", "ctrl+m", "f11", "f12"}
# The keys that the design promises.
PROMISED = {*"nsftcNCrRxXbi[]/.hjklgG?qu:{}"}


def keys_of(action: actions.Action) -> list[str]:
    return action.keys.split(",") if action.keys else []


@pytest.mark.parametrize("action", actions.ACTIONS, ids=actions.binding_id)
def test_every_action_has_a_method_of_its_owner(action: actions.Action) -> None:
    method = f"action_{action.name.partition('(')[0]}"
    assert callable(getattr(OWNERS[action.scope], method))


def test_no_key_means_two_things_in_one_place() -> None:
    for scope in actions.SCOPES:
        everywhere = [key for a in actions.ACTIONS if a.scope in (scope, actions.SCREEN) for key in keys_of(a)]
        assert len(everywhere) == len(set(everywhere)), scope


def test_keys_that_terminals_take_are_not_used() -> None:
    assert not FORBIDDEN & {key for action in actions.ACTIONS for key in keys_of(action)}


def test_every_promised_key_is_bound() -> None:
    bound = {key for action in actions.ACTIONS for key in keys_of(action)}
    assert bound >= PROMISED
    assert {"comma", "f1", "ctrl+p", "escape", "ctrl+c", "space", "enter", "tab", "pageup", "home"} <= bound


def test_every_binding_has_an_id_of_its_own() -> None:
    ids = [binding.id for scope in actions.SCOPES for binding in actions.bindings(scope)]
    assert None not in ids
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("scope", actions.SCOPES)
@pytest.mark.parametrize("width", [60, 80, 120])
def test_help_names_every_key_of_its_place(scope: str, width: int) -> None:
    text = content(scope, width)
    assert all(length(line) <= width for line in text)
    shown = text_of(text)
    for action in actions.ACTIONS:
        if action.scope in (scope, actions.SCREEN) and action.keys:
            assert actions.keys(action) in shown
    for action in actions.by_name():
        assert f"{':':13}{action.title}: " in shown


@pytest.mark.parametrize("scope", actions.SCOPES)
@pytest.mark.parametrize("width", [60, 80, 200])
@pytest.mark.parametrize("running", [False, True])
def test_the_footer_fits_and_always_offers_help(scope: str, width: int, running: bool) -> None:
    line = footer.keys(scope, running=running, width=width)
    assert length(line) <= width
    assert "help" in text_of([line])
    assert ("stop" in text_of([line])) == running
