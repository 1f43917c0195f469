"""Every key, once: the table that feeds bindings, footer, help and command palette.

An action `step_over` is the method `action_step_over` of the widget or screen that owns its
scope. Scopes are the screen ("screen": works everywhere) and the focusable widgets.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from textual.binding import Binding, BindingType

SCREEN, TREE, COMPARE, TENSOR, TEXT = "screen", "tree", "compare", "tensor", "text"
SCOPES = {
    SCREEN: "everywhere",
    TREE: "in the tree",
    COMPARE: "in the Compare tab",
    TENSOR: "in a window on values",
    TEXT: "in a text",
}


@dataclass(frozen=True, slots=True)
class Action:
    """One thing that the user can do.

    Attributes:
        name: Also the id of its binding, and the method `action_NAME`.
        keys: As Textual names them, comma-separated; "" if only the palette has it.
        title: A few words, for help and palette.
        about: One sentence: what it does exactly.
        group: Heading in the help.
        scope: Who owns it.
        shown: How help and footer write the keys.
        footer: A word for the footer, or "".
    """

    name: str
    keys: str
    title: str
    about: str
    group: str
    scope: str = SCREEN
    shown: str = ""
    footer: str = ""


_STEP, _SIDE, _FIND, _VIEW, _MOVE = "Run", "Change", "Find", "Views and session", "Move"
_WHOLE = "The whole model"

ACTIONS: tuple[Action, ...] = (
    Action(
        "step_over",
        "n",
        "Step over",
        "Execute the operator at →, or the closed fold that begins there, up to a breakpoint in it.",
        _STEP,
        footer="over",
    ),
    Action("step_into", "s", "Step into", "Open the fold at → and execute one operator.", _STEP, footer="into"),
    Action("step_out", "f", "Step out", "Run to the end of the innermost path or a breakpoint.", _STEP, footer="out"),
    Action("run_to", "t", "Run to the selection", "Run to just before the selected row, or to a breakpoint.", _STEP),
    Action(
        "run_on",
        "c",
        "Continue",
        "Run to the next breakpoint, guilty kernel (LOCAL) or error.",
        _STEP,
        footer="continue",
    ),
    Action("step_back", "N", "Step back", "Go back one step. Nothing is computed.", _STEP),
    Action("run_back", "C", "Continue back", "Go back to the last breakpoint, LOCAL or error.", _STEP),
    Action("rewind", "r", "Rewind", "Put → at the start. Results stay.", _STEP),
    Action(
        "retry",
        "R",
        "Retry",
        "Execute again what failed or was stopped; start again what is lost; take up edited --lower and --load files.",
        _STEP,
        footer="retry",
    ),
    Action(
        "fetch_whole",
        "d",
        "Fetch the whole output",
        "Fetch all of the selected operator's output, of which only a sample was judged, and judge it; esc stops it.",
        _STEP,
    ),
    Action(
        "stop",
        "escape,ctrl+c",
        "Stop",
        "Stop what is running. Results so far stay.",
        _STEP,
        shown="esc ctrl+c",
    ),
    Action(
        "side",
        "x",
        "Switch side",
        "Move the selected row to the other side; of several targets, to the next.",
        _SIDE,
        footer="side",
    ),
    Action(
        "side_subtree",
        "X",
        "Switch side of the subtree",
        "Move the whole path that the selected row is in.",
        _SIDE,
    ),
    Action("breakpoint", "b", "Breakpoint", "Stop before the selected row, or no longer.", _SIDE, footer="break"),
    Action(
        "mode",
        "i",
        "Isolated or chained",
        "Isolated: each operator gets the recorded inputs. Chained: what its producers computed.",
        _SIDE,
        footer="mode",
    ),
    Action(
        "force",
        "F",
        "Force the recorded value",
        "Hand on what was recorded in place of the selected operator's result; again: back to the target.",
        _SIDE,
    ),
    Action("force_file", "", "Force the value of a file", "Hand on what a .npy file holds.", _SIDE),
    Action("note", "a", "Annotate", "Write a note on the selected operator; it is kept.", _SIDE),
    Action("undo", "u", "Undo", "Take the last switch of side back.", _SIDE),
    Action("break_operator", "", "Break on this operator", "Stop before every node with the selected operator.", _SIDE),
    Action("break_path", "", "Break on this path", "Stop where a run comes into the selected path.", _SIDE),
    Action("break_mismatch", "", "Break on the first mismatch", "Stop after the first node that fails.", _SIDE),
    Action("break_nan", "", "Break on the first NaN", "Stop after the first node that gives a NaN.", _SIDE),
    Action(
        "break_condition",
        "",
        "Break where a condition holds",
        'Stop after the first node that fits, as: floor > 8 and dtype == "float16".',
        _SIDE,
    ),
    Action("mismatch_previous", "[", "Previous mismatch", "Back through the mismatches.", _FIND),
    Action(
        "mismatch_next",
        "]",
        "Next mismatch",
        "Go to the next guilty kernel (LOCAL); after the last of them to the other mismatches.",
        _FIND,
        footer="mismatch",
    ),
    Action(
        "search",
        "/",
        "Search",
        "Find an operator, a name or a path; folds open by themselves.",
        _FIND,
        footer="search",
    ),
    Action("hit_next", ".", "Next hit", "Go to the next hit of the search.", _FIND),
    Action("hit_previous", "comma", "Previous hit", "Go to the hit before.", _FIND, shown=","),
    Action(
        "worst_next",
        "m",
        "Next worst element",
        "Look at the element that is furthest off, then at the next of the worst hundred.",
        _FIND,
        footer="worst",
    ),
    Action("worst_previous", "p", "Previous worst element", "Back through the worst elements.", _FIND),
    Action("next_overflow", "", "Next overflow", "Go to the next operator that float16 is too narrow for.", _FIND),
    Action(
        "export",
        "e",
        "Export as a test",
        "Write the selected kernel out as a pytest that fails without this program.",
        _WHOLE,
        footer="export",
    ),
    Action(
        "blame",
        "B",
        "Blame",
        "Find the smallest set of operators that breaks the model's answer, and prove it by two runs.",
        _WHOLE,
        footer="blame",
    ),
    Action("blame_report", "", "Blame: the report", "Show again what blame found.", _WHOLE),
    Action(
        "migrate",
        "M",
        "Migrate",
        "Move signature after signature to the target, as long as their tests pass and the answer holds.",
        _WHOLE,
        footer="migrate",
    ),
    Action("migrate_again", "", "Migrate everything again", "Also what the ledger knows already.", _WHOLE),
    Action("ledger", "", "Migration: the table", "Show what became of each signature.", _WHOLE),
    Action("answer_as('logits')", "", "Answer is logits", "Judge it by top-1, top-5 and KL.", _WHOLE),
    Action("answer_as('class')", "", "Answer is a class", "Judge it by agreement.", _WHOLE),
    Action("answer_as('embedding')", "", "Answer is an embedding", "Judge it by cosine and length.", _WHOLE),
    Action("answer_as('tensor')", "", "Answer is a tensor", "Judge it element by element.", _WHOLE),
    Action("to_cursor", "=", "Back to →", "Select the next operator to execute.", _FIND),
    Action(
        "record",
        "",
        "Record a script",
        "Write what you do from here on into a file, which --script repeats without a screen.",
        _VIEW,
    ),
    Action("record_stop", "", "Stop recording", "Close the script that is being recorded.", _VIEW),
    Action("case_previous", "{", "Previous case", "Work on the case before.", _VIEW),
    Action("case_next", "}", "Next case", "Work on the next case.", _VIEW),
    Action("tab(1)", "1", "Compare", "Verdict, floor, errors, the worst element.", _VIEW),
    Action("tab(2)", "2", "Inputs", "What goes in: summary and values.", _VIEW),
    Action("tab(3)", "3", "Output", "What came out, source beside target.", _VIEW),
    Action("tab(4)", "4", "Code", "The Python lines and the call.", _VIEW),
    Action("tab(5)", "5", "Kernel", "Relax and TensorIR, or the compiler's message.", _VIEW),
    Action("tab(6)", "6", "Log", "What the workers said.", _VIEW),
    Action("next_focus", "tab", "Other half", "Move between the tree and the tabs.", _VIEW, footer="tabs"),
    Action("copy", "y", "Copy", "Copy what the tab shows (OSC 52), and write it to a file.", _VIEW),
    Action("suspend", "ctrl+z", "Suspend", "Back to the shell; `fg` returns.", _VIEW),
    Action("palette", ":,ctrl+p", "Command palette", "Every action by name.", _VIEW, shown=": ctrl+p"),
    Action("help", "?,f1", "Help", "The keys of what has the focus.", _VIEW, shown="? F1", footer="help"),
    Action(
        "quit",
        "q",
        "Quit",
        "Leave. Place, sides, breakpoints, notes and results are kept; they are there when it is opened again.",
        _VIEW,
        footer="quit",
    ),
    Action("up", "up,k", "Up", "One row up.", _MOVE, TREE, "↑ k"),
    Action("down", "down,j", "Down", "One row down.", _MOVE, TREE, "↓ j"),
    Action("page_up", "pageup,ctrl+u", "Page up", "One screen up.", _MOVE, TREE, "pgup"),
    Action("page_down", "pagedown,ctrl+d", "Page down", "One screen down.", _MOVE, TREE, "pgdn"),
    Action("top", "home,g", "Top", "First row.", _MOVE, TREE, "home g"),
    Action("bottom", "end,G", "Bottom", "Last row.", _MOVE, TREE, "end G"),
    Action("close", "left,h", "Close", "Close the fold, or go to the one around.", _MOVE, TREE, "← h"),
    Action("open", "right,l", "Open", "Open the fold, or go into it.", _MOVE, TREE, "→ l"),
    Action("toggle_fold", "space", "Open or close", "Open or close the fold.", _MOVE, TREE, "space"),
    Action("enter", "enter", "Look inside", "Open a fold; of an operator, look at the worst element.", _MOVE, TREE),
    Action("close_all", "-", "Close all", "Close everything in the selected fold.", _MOVE, TREE, "-"),
    Action("open_all", "+,*", "Open all", "Open everything in the selected fold.", _MOVE, TREE, "+"),
    Action("look", "enter", "Look at elements", "Both sides around the worst element, and back.", _MOVE, COMPARE),
    Action("look_up", "up,k", "Up", "One row up: of the elements, or of the page.", _MOVE, COMPARE, "↑ k"),
    Action("look_down", "down,j", "Down", "One row down.", _MOVE, COMPARE, "↓ j"),
    Action("look_left", "left,h", "Left", "One column left.", _MOVE, COMPARE, "← h"),
    Action("look_right", "right,l", "Right", "One column right.", _MOVE, COMPARE, "→ l"),
    Action("look_page_up", "pageup", "Page up", "One screen up.", _MOVE, COMPARE, "pgup"),
    Action("look_page_down", "pagedown", "Page down", "One screen down.", _MOVE, COMPARE, "pgdn"),
    Action("look_top", "home,g", "Top", "First row.", _MOVE, COMPARE, "home g"),
    Action("look_bottom", "end,G", "Bottom", "Last row.", _MOVE, COMPARE, "end G"),
    Action("back", "up,k", "Back", "Back along the marked axis.", _MOVE, TENSOR, "↑ k"),
    Action("forth", "down,j", "On", "On along the marked axis.", _MOVE, TENSOR, "↓ j"),
    Action("page_back", "pageup", "Page back", "One screen back.", _MOVE, TENSOR, "pgup"),
    Action("page_forth", "pagedown", "Page on", "One screen on.", _MOVE, TENSOR, "pgdn"),
    Action("first", "home,g", "First", "To the first element of the axis.", _MOVE, TENSOR, "home g"),
    Action("last", "end,G", "Last", "To the last element of the axis.", _MOVE, TENSOR, "end G"),
    Action("axis_left", "left,h", "Axis before", "Mark the axis before.", _MOVE, TENSOR, "← h"),
    Action("axis_right", "right,l", "Next axis", "Mark the next axis.", _MOVE, TENSOR, "→ l"),
    Action("other", "space,enter", "Next tensor", "The next input or output.", _MOVE, TENSOR, "space"),
    Action("worst", "w", "Worst element", "To the element with the largest error.", _MOVE, TENSOR),
    Action("line_up", "up,k", "Up", "One line up.", _MOVE, TEXT, "↑ k"),
    Action("line_down", "down,j", "Down", "One line down.", _MOVE, TEXT, "↓ j"),
    Action("text_page_up", "pageup", "Page up", "One screen up.", _MOVE, TEXT, "pgup"),
    Action("text_page_down", "pagedown", "Page down", "One screen down.", _MOVE, TEXT, "pgdn"),
    Action("text_top", "home,g", "Top", "First line.", _MOVE, TEXT, "home g"),
    Action("text_bottom", "end,G", "Bottom", "Last line.", _MOVE, TEXT, "end G"),
    Action("text_left", "left,h", "Left", "Scroll left.", _MOVE, TEXT, "← h"),
    Action("text_right", "right,l", "Right", "Scroll right.", _MOVE, TEXT, "→ l"),
)


def bindings(scope: str) -> list[BindingType]:
    """The bindings of one scope, for a `BINDINGS` class variable."""
    return [
        Binding(action.keys, action.name, action.title, show=False, id=binding_id(action))
        for action in ACTIONS
        if action.scope == scope and action.keys
    ]


def binding_id(action: Action) -> str:
    """The id under which a keymap can give an action another key."""
    return f"{action.scope}.{action.name}"


def keys(action: Action) -> str:
    """The keys of an action as help and footer write them."""
    return action.shown or action.keys


def for_help(scope: str) -> Iterator[tuple[str, list[Action]]]:
    """The actions of a scope, by group, in the order of the table."""
    groups: dict[str, list[Action]] = {}
    for action in ACTIONS:
        if action.scope == scope and action.keys:
            groups.setdefault(action.group, []).append(action)
    yield from groups.items()


def by_name() -> list[Action]:
    """The actions without a key of their own, which the palette has."""
    return [action for action in ACTIONS if not action.keys]
