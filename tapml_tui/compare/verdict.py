"""Whose fault it is: the verdict on a node of a chained run, as a pure function."""

from __future__ import annotations

from tapml_tui.compare.result import Verdict

AMPLIFIED_BY = 4.0
"""An inherited error that grew to more than this many times that of the inputs marks a fragile place.

The floor of a chained value is several times what a healthy target errs, so that what fails has also grown by more
than four of those; without the ratio, every node downstream of an error of a million floors would count as fragile.
"""


def decide(
    *,
    on_source: bool,
    chained: bool,
    isolated: bool | None = None,
    live: bool | None = None,
    inputs_failed: bool = False,
    growth: float = 1.0,
) -> Verdict:
    """The verdict on a node that was compared in a chained run.

    Args:
        on_source: A node on the source is never LOCAL.
        chained: Whether its value passed against the reference run.
        isolated: Whether it passed on the reference inputs; None if that was not tried.
        live: Whether it passed against the source on its real inputs; None if not tried.
        inputs_failed: Whether one of the values that it read failed.
        growth: Its error as a multiple of the largest error of its inputs, both in noise floors.
    """
    if not on_source and (isolated is False or live is False):
        return Verdict.LOCAL
    if chained:
        return Verdict.HEALED if inputs_failed else Verdict.CLEAN
    if not on_source and isolated is None and live is None:
        # Nothing but the end result was seen: nobody can be blamed, nobody acquitted.
        return Verdict.NONE
    return Verdict.AMPLIFIED if growth > AMPLIFIED_BY else Verdict.INHERITED
