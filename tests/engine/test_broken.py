"""What is said of a node that gave nothing."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from tapml_tui.backends.protocol import Call, CallResult, Failed, Stage, TensorSpec, Unit, UnitInput
from tapml_tui.compare import Status
from tapml_tui.engine.judging import _broken


def said_of(reason: str, stage: Stage, op: str = "aten.cumsum.default") -> str:
    flag, out = TensorSpec("bool", (1, 36)), TensorSpec("int64", (1, 36))
    unit = Unit((Call(op, (UnitInput(0), -1)),), (flag,), (out,), (CallResult(0),))
    visit = cast("Any", SimpleNamespace(node=0, backend="target", binding=SimpleNamespace(unit=unit)))
    return _broken(visit, Failed(0, False, stage, reason), Status.ERROR).reason


def test_what_tvm_cannot_compile_is_said_in_words_first() -> None:
    raw = "InternalError: Check failed: (t.MatchesCode(DLDataTypeCode::kDLFloat)) is false: ;"
    assert said_of(raw, Stage.COMPILE) == f"TVM cannot compile cumsum on bool: {raw.removesuffix(': ;')}"


@pytest.mark.parametrize(
    ("reason", "stage"),
    [
        ("TypeError: no", Stage.CONVERT),
        ("compiling needs PyTorch and TVM: pip install 'tapml-tui[all]'", Stage.COMPILE),
        ("LinkError: cc failed", Stage.COMPILE),
    ],
)
def test_other_reasons_stay_as_they_are(reason: str, stage: Stage) -> None:
    assert said_of(reason, stage) == reason


def test_an_operator_of_a_trace_is_printed_harmlessly() -> None:
    assert "\x1b" not in said_of("ValueError: no", Stage.COMPILE, "aten.\x1b[2J.default")
