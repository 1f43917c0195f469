"""Commands as lines of text: recorded by a screen, replayed without one.

    # comments and empty lines are fine
    step verb="continue"
    set-backend start=7 stop=8 backend="source"
    toggle-breakpoint kind="condition" pattern="floor > 8"

A name, then `field=JSON`; what is left out has its default.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import MISSING, Field, fields
from typing import Any, get_args

from tapml_tui.engine.commands import Breakpoint, BreakpointKind, Command, Mode, ToggleBreakpoint, Verb

LINE = 1 << 20
"""Characters that a line may have: a command names some nodes, not a million."""

_FIELD = re.compile(r"\s*([a-z_]+)=")
_ENUMS: dict[str, Any] = {"verb": Verb, "mode": Mode, "kind": BreakpointKind}


class BadScript(ValueError):
    """A line that is no command. The message says which and why."""


def _name(kind: type) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "-", kind.__name__).lower()


_KINDS: dict[str, type] = {_name(kind): kind for kind in get_args(Command)}


def format_command(command: Command) -> str:
    """A command as a line; `parse_command` is the inverse."""
    body = command.breakpoint if isinstance(command, ToggleBreakpoint) else command
    given = [(one.name, getattr(body, one.name)) for one in fields(body) if getattr(body, one.name) != one.default]
    return " ".join([_name(type(command)), *(f"{name}={json.dumps(value)}" for name, value in given)])


def parse_command(line: str) -> Command:
    """The command that a line says.

    Raises:
        BadScript: If it says none.
    """
    if len(line) > LINE:
        raise BadScript("the line is too long")
    name, _, rest = line.strip().partition(" ")
    kind = _KINDS.get(name)
    if kind is None:
        raise BadScript(f"there is no command {name[:40]!r}; there are {', '.join(_KINDS)}")
    body = Breakpoint if kind is ToggleBreakpoint else kind
    wanted = {one.name: one for one in fields(body)}
    given = dict(_fields(rest, name))
    unknown, missing = given.keys() - wanted.keys(), {n for n, one in wanted.items() if _needed(one)} - given.keys()
    if unknown or missing:
        raise BadScript(f"{name} {'has no' if unknown else 'needs'} {', '.join(sorted(unknown or missing))}")
    values = {field: _value(name, wanted[field], value) for field, value in given.items()}
    made = body(**values)
    command: Command = ToggleBreakpoint(made) if kind is ToggleBreakpoint else made
    return command


def parse_script(text: str) -> Iterator[Command]:
    """The commands of a script, in order.

    Raises:
        BadScript: At the first line that says none.
    """
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and not line.lstrip().startswith("#"):
            try:
                yield parse_command(line)
            except BadScript as error:
                raise BadScript(f"line {number}: {error}") from None


def _needed(one: Field[Any]) -> bool:
    return one.default is MISSING


def _fields(rest: str, name: str) -> Iterator[tuple[str, object]]:
    decoder, place = json.JSONDecoder(), 0
    while rest[place:].strip():
        match = _FIELD.match(rest, place)
        if match is None:
            raise BadScript(f"{name}: expected field=value at {rest[place:].strip()[:40]!r}")
        try:
            value, place = decoder.raw_decode(rest, match.end())
        except (ValueError, RecursionError):
            raise BadScript(f'{name}: {match[1]} is no JSON; words are quoted: {match[1]}="..."') from None
        yield match[1], value


def _value(name: str, one: Field[Any], value: object) -> object:
    """A JSON value as the type that the field says."""
    if one.name in _ENUMS and str(one.type) != "str":
        try:
            return _ENUMS[one.name](value)
        except ValueError:
            raise BadScript(f"{name}: {one.name} is one of {', '.join(_ENUMS[one.name])}") from None
    allowed = [part.strip() for part in str(one.type).split("|")]
    checks: dict[str, bool] = {
        "int": isinstance(value, int) and not isinstance(value, bool),
        "str": isinstance(value, str),
        "bool": isinstance(value, bool),
        "None": value is None,
        "tuple[int, ...]": isinstance(value, list) and all(type(item) is int for item in value),
        "tuple[str, ...]": isinstance(value, list) and all(type(item) is str for item in value),
    }
    if not any(checks.get(part, False) for part in allowed):
        raise BadScript(f"{name}: {one.name} is {' or '.join(allowed)}")
    return tuple(value) if isinstance(value, list) else value
