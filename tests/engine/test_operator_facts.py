"""An operator is what the trace calls it: facts are asked of any text."""

from __future__ import annotations

import pytest

from tapml_tui.backends.protocol import Call, CallResult, TensorSpec, Unit, UnitInput
from tapml_tui.engine.operator_facts import choice_of, summed_terms


@pytest.mark.parametrize("op", ["", ".", "x", "aten", "aten.mm", "os.system", "a.b.c.d", "aten..default", "\x00"])
def test_any_name_of_an_operator_has_an_answer(op: str) -> None:
    spec = TensorSpec("float32", (4,))
    call = Call(op, (UnitInput(0),))
    assert choice_of(call) is None
    assert summed_terms(Unit((call,), (spec,), (spec,), (CallResult(0),)), (4,)) >= 1
