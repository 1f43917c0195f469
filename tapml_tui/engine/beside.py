"""Several targets beside each other: whose fault it is, if a kernel is wrong on some of them."""

from __future__ import annotations

from collections.abc import Mapping

from tapml_tui.compare.result import Status, Verdict
from tapml_tui.engine.events import NodeResult


def is_wrong(result: NodeResult) -> bool | None:
    """Whether the kernel itself is wrong there, not only what it was given; None if nothing was compared."""
    if result.status not in (Status.PASSED, Status.FAILED):
        return None
    return result.status is Status.FAILED and result.verdict in (Verdict.NONE, Verdict.LOCAL)


def conclusion(wrong: Mapping[str, bool | None]) -> str:
    """In a sentence, what it means that a kernel is wrong on some targets.

    Args:
        wrong: By name of the target, see `is_wrong`.

    Returns:
        "" if it is wrong nowhere, or only one target can say.
    """
    bad = [name for name, one in wrong.items() if one]
    good = [name for name, one in wrong.items() if one is False]
    if not bad or len(bad) + len(good) < 2:
        return ""
    if not good:
        return f"wrong on all: {', '.join(bad)}. Our kernel, or what TVM makes of it everywhere"
    whose = "its driver, or what is compiled for it" if len(bad) == 1 else "their drivers, or what is compiled for them"
    return f"wrong on {', '.join(bad)}, right on {', '.join(good)}: {whose}"
