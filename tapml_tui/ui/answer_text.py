"""The end-to-end verdict in few words: is the model's answer still right?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.style import Style

from tapml_tui.ui import lines, numbers, theme
from tapml_tui.ui.lines import Line

if TYPE_CHECKING:
    from tapml_tui.engine.answering import Answer
    from tapml_tui.engine.end_to_end import Measure, OutputVerdict


def short(answer: Answer | None, width: int) -> Line:
    """Mark and deciding measure, in at most `width` cells; nothing before there is an answer."""
    if answer is None:
        return []
    mark, style = _mark(answer.passed, stale=answer.stale)
    judged = [output for output in answer.outputs if output.passed is not None]
    wrong = [output for output in judged if not output.passed]
    line: Line = [("answer ", theme.DIM), (f"{mark} ", style)]
    if not judged:
        words = "not judged"
    else:
        shown = (wrong or judged)[0]
        more = f", {len(wrong)} of {len(judged)} wrong" if len(judged) > 1 and wrong else ""
        words = _measure(shown) + more
    return [*line, (lines.shorten(words, max(width - lines.length(line), 6)), style)]


def sentence(answer: Answer) -> str:
    """What to say where a run has come to the end; "" if nothing was judged, or sides changed since."""
    if answer.stale or answer.passed is None:
        return ""
    (_, _), (_, _), (measure, _) = short(answer, 200)
    if answer.passed:
        return f"the answer holds: {measure}"
    return f"the answer is wrong: {measure}. ] shows the guilty, B proves who breaks it"


def full(answer: Answer, width: int) -> list[Line]:
    """Every output with what it was judged as, its measures and their thresholds."""
    content: list[Line] = []
    for output in answer.outputs:
        mark, style = _mark(output.passed, stale=answer.stale)
        content += lines.wrap(f"{mark} answer {output.name}, as {output.kind.value}", width, style)
        for measure in output.measures:
            content += lines.wrap(str(measure), width, theme.TEXT if measure.holds else theme.FAILED, indent="    ")
        if output.passed is None:
            content += lines.wrap(output.reason, width, theme.DIM, indent="    ")
        if output.comparison is not None and output.comparison.compared:
            factor = numbers.factor(output.comparison.factor)
            content += lines.wrap(f"element by element {factor} x the chained floor", width, theme.DIM, indent="    ")
    if answer.stale:
        content += lines.wrap("~ of before a side was switched; c computes it again", width, theme.STALE)
    return content


def _mark(passed: bool | None, *, stale: bool) -> tuple[str, Style]:
    if stale:
        return "~", theme.STALE
    if passed is None:
        return theme.STATUS_MARKS[0], theme.DIM
    return (theme.STATUS_MARKS[1], theme.PASSED) if passed else (theme.STATUS_MARKS[3], theme.FAILED)


def _measure(output: OutputVerdict) -> str:
    if not output.measures:
        return output.reason or "nothing to compare"
    broken = [measure for measure in output.measures if not measure.holds]
    return _value((broken or list(output.measures))[0])


def _value(measure: Measure) -> str:
    if measure.name.startswith("top-"):
        return f"{measure.name} {measure.value:.1%}"
    if measure.name == "x floor":
        return f"{numbers.factor(measure.value)} x floor"
    if measure.name == "cosine":  # four nines are no one
        return f"{measure.name} {measure.value:.6g}"
    return f"{measure.name} {measure.value:.3g}"
