"""The user's own tolerances: from the file that is named, or from one that lies beside the trace."""

from __future__ import annotations

from pathlib import Path

from tapml_tui.compare.overrides import Overrides, OverridesError, load_overrides
from tapml_tui.headless.exits import CommandError
from tapml_tui.profiles import BESIDE, read_profiles

COMMON = BESIDE
"""Beside a trace: the tolerances of all traces in that folder which have none of their own, and profiles."""


def tolerances_for(trace: str, named: str | None) -> tuple[Overrides, str]:
    """The tolerances, and the file that they are from: TRACE.toml, or `COMMON` beside it; "" if they say none.

    A file that was found, and not named, must be told to the user.

    Raises:
        CommandError: If it cannot be read or understood.
    """
    file = named if named is not None else _beside(Path(trace))
    if not file:
        return Overrides(), ""
    common = Path(file).name == COMMON
    try:
        overrides = load_overrides(Path(file), tables_too=common)
    except OverridesError as error:
        raise CommandError(str(error), remedy="`tapml-tui check -h` names the option; the file is TOML") from None
    if common:
        read_profiles(Path(file), trusted=False)  # a misspelt rule is no profile either
    return overrides, file if overrides.rules or named is not None else ""


def _beside(trace: Path) -> str:
    candidates = (trace.with_name(f"{trace.name}.toml"), trace.with_name(COMMON))
    return next((str(path) for path in candidates if path.is_file()), "")
