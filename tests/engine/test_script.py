"""Commands as text and back; what is no command is refused with a reason."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapml_tui.engine.commands import (
    Breakpoint,
    BreakpointKind,
    Command,
    RunNodes,
    SetBackend,
    Step,
    ToggleBreakpoint,
    Verb,
)
from tapml_tui.engine.script import BadScript, format_command, parse_command, parse_script

COMMANDS = st.one_of([st.from_type(kind) for kind in get_args(Command)])


@given(COMMANDS)
def test_every_command_survives(command: Command) -> None:
    line = format_command(command)
    assert "\n" not in line
    assert parse_command(line) == command


def test_a_script_is_read_line_by_line() -> None:
    text = '# a comment\n\nstep verb="over" folded=true\nset-backend start=1 stop=2 backend="source"\n'
    text += "run-nodes nodes=[1, 2]"
    assert list(parse_script(text)) == [Step(Verb.OVER, folded=True), SetBackend(1, 2, "source"), RunNodes((1, 2))]
    condition = Breakpoint(BreakpointKind.CONDITION, 'floor > 8 and dtype == "float16"')
    assert parse_command(format_command(ToggleBreakpoint(condition))) == ToggleBreakpoint(condition)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("dance", "there is no command"),
        ("step", "needs verb"),
        ('step verb="sideways"', "verb is one of"),
        ('step verb="over" speed=3', "has no speed"),
        ("step verb=over", "is no JSON"),
        ('set-backend start="1" stop=2 backend="s"', "start is int"),
        ('set-backend start=true stop=2 backend="s"', "start is int"),
        ("run-nodes nodes=[1.5]", "nodes is"),
        ("run-nodes nodes", "expected field=value"),
        ("run-nodes nodes=" + "[" * 100000, "is no JSON"),
        ("run-nodes nodes=[" + "1," * 600000 + "1]", "too long"),
    ],
)
def test_what_is_no_command_is_refused(line: str, why: str) -> None:
    with pytest.raises(BadScript, match="line 2: "):
        list(parse_script(f"undo\n{line}"))
    with pytest.raises(BadScript) as error:
        parse_command(line)
    assert why in str(error.value)


@given(st.text(max_size=200))
def test_any_line_is_a_command_or_refused(line: str) -> None:
    try:
        parse_command(line)
    except BadScript as error:
        assert str(error)
