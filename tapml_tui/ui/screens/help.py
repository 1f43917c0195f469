"""Help: the keys of what has the focus, then those that work everywhere."""

from __future__ import annotations

from rich.style import Style

from tapml_tui.compare.result import Status, Verdict
from tapml_tui.ui import actions, lines, rows, theme
from tapml_tui.ui.lines import Line
from tapml_tui.ui.screens.text import TextScreen
from tapml_tui.ui.words import SENTENCES

KEYS = 16  # cells before the sentences
STATUS_WORDS = (
    (Status.PASSED, "passed: compared, within the noise floor"),
    (Status.FAILED, "failed: compared, outside the noise floor"),
    (Status.ERROR, "error: converting, compiling or running broke"),
    (Status.UNSUPPORTED, "unsupported: every way of converting refused"),
    (Status.NOT_RUN, "not run, or nothing to compare"),
)

NUMBERS = (
    ("x floor", "the worst element's error as a multiple of its noise floor; above 1 it fails"),
    ("floor", "how far off a healthy element may be: what PyTorch itself errs, and another order of rounding"),
    ("  float64", "measured against a float64 replay when carving"),
    ("  bound", "computed: what rounding alone may do to a sum of that length"),
    ("  exact", "the operator only moves values or counts: bits must agree"),
    ("max abs", "largest error of an element"),
    ("rel", "largest error divided by its element: 0.01 is 1%"),
    ("outside", "elements beyond their floor"),
    ("cosine", "as snr and pearson an average, which decides nothing; blind: by it alone this error would pass"),
    ("passes", "the tolerance that would have let it pass: what others ask for"),
    ("where", "the worst of each block of elements: ░ within its floor, ▒▓█ beyond, by magnitude"),
    ("|error|", "how many elements have an error of which magnitude; │ marks the floor"),
    ("answer", "what the model answers, by its own measure: top-1, cosine, KL; ~ is of before a switch"),
)


class HelpScreen(TextScreen):
    """Reads the action table."""

    def __init__(self, scope: str) -> None:
        """Help for a focused part."""
        super().__init__("help", lambda width: content(scope, width))


def content(scope: str, width: int) -> list[Line]:
    """The whole help for one scope, in lines of at most `width` cells."""
    text: list[Line] = []
    for where in dict.fromkeys((scope if scope in actions.SCOPES else actions.TREE, actions.SCREEN)):
        for group, members in actions.for_help(where):
            note = "" if where == actions.SCREEN else f"  {actions.SCOPES[where]}"
            text += [[(f" {group}", theme.STRONG), (note, theme.DIM)]]
            for action in members:
                text += _entry(actions.keys(action), theme.KEY, action.about, width)
            text.append([])
    text.append([(" By name, in the command palette", theme.STRONG)])
    for action in actions.by_name():
        text += _entry(":", theme.KEY, f"{action.title}: {action.about}", width)
    text += [[], [(" Marks", theme.STRONG)]]
    for mark, style, words in (
        (theme.CURSOR_MARK, theme.CURSOR, "the next operator to execute"),
        (theme.BREAKPOINT_MARK, theme.BREAKPOINT, "a breakpoint"),
        ("S T *", theme.TEXT, "runs on the source, on the target (of several: its initial, or its number), on both"),
        ("R", theme.TEXT, "forced: hands on its recorded value, or what a file says"),
        ("~", theme.STALE, "stale: a side changed upstream since it was computed"),
        ("◐", theme.PASSED, "a path that has been executed in part"),
        ("5»", theme.DIM, "so many levels deep: there is no room to draw them"),
    ):
        text += _entry(mark, style, words, width)
    for status, words in STATUS_WORDS:
        mark, style = rows.mark(status)
        text += _entry(mark, style, words, width)
    text += [[], [(" Numbers", theme.STRONG)]]
    for name, words in NUMBERS:
        text += _entry(name, theme.TEXT, words, width)
    text += [[], [(" Verdicts of a chained run", theme.STRONG)]]
    for verdict, words in SENTENCES.items():
        letter = rows.LETTERS[verdict].strip()
        name = f"{letter} {verdict.value}" if letter else f"  {verdict.value}"
        style = theme.PASSED if verdict is Verdict.CLEAN else rows.mark(Status.FAILED, verdict)[1]
        text += _entry(name, style, words, width)
    return text


def _entry(sign: str, style: Style, words: str, width: int) -> list[Line]:
    """A key or a mark, and what it means, over as many lines as that needs."""
    first, *rest = lines.wrap(words, width - KEYS, theme.TEXT)
    return [[(f"   {sign:<{KEYS - 3}}", style), *first], *([(" " * KEYS, theme.PLAIN), *line] for line in rest)]
