"""Uninitialised memory and random numbers are judged by what is promised of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tapml_tui.backends.protocol import Call, CallArgument, CallResult, TensorSpec, Unit, UnitInput
from tapml_tui.engine.commands import Mode, RunNodes
from tapml_tui.engine.promises import keeps, promise_of
from tests.engine.toys import Driver, Toy
from trace_format.model import InputRef, NodeRef, Value

X = np.linspace(-2, 2, 12, dtype=np.float32).reshape(3, 4)
ONES = np.ones((3, 4), np.float32)


def kept(op: str, actual: np.ndarray, *arguments: CallArgument, output: int = 0) -> bool | None:
    """Whether a value keeps the promise of an operator on X; None if nothing was compared."""
    call = Call(op, arguments)
    spec = TensorSpec(actual.dtype.name, actual.shape)
    promise = promise_of(call, output, reproducible=False)
    assert promise is not None
    unit = Unit((call,), (TensorSpec("float32", X.shape),), (spec,), (CallResult(0),))
    comparison, reason = keeps(promise, unit, 0, actual, [X])
    assert reason
    if comparison is None:
        return None
    assert comparison.reason == reason
    assert comparison.compared == actual.size
    return comparison.passed


@pytest.mark.parametrize(
    ("op", "arguments", "good", "bad"),
    [
        ("aten.rand.default", ((3, 4),), ONES / 2, ONES),
        ("aten.rand_like.default", (UnitInput(0),), ONES * 0, -ONES),
        ("aten.uniform.default", (UnitInput(0), -3.0, 3.0), ONES * -2, ONES * 4),
        ("aten.randn.default", ((3, 4),), ONES * 5, ONES * np.float32(np.nan)),
        ("aten.bernoulli.default", (UnitInput(0),), ONES, ONES / 2),
        ("aten.randint.low", (2, 5, (3, 4)), np.full((3, 4), 4), np.full((3, 4), 5)),
        ("aten.randint.default", (5, (3, 4)), np.full((3, 4), 0), np.full((3, 4), -1)),
        ("aten.randperm.default", (4,), np.array([3, 1, 0, 2]), np.array([3, 1, 1, 2])),
        ("aten.dropout.default", (UnitInput(0), 0.25, True), X / np.float32(0.75), X),
        ("aten.native_dropout.default", (UnitInput(0), 0.5, True), X * 2, X * 2 + np.float32(1e-3)),
    ],
)
def test_what_random_operators_promise(
    op: str, arguments: tuple[CallArgument, ...], good: np.ndarray, bad: np.ndarray
) -> None:
    assert kept(op, good, *arguments) is True
    mixed = good.copy()
    mixed.reshape(-1)[-1] = bad.reshape(-1)[2]  # one element is enough
    assert kept(op, mixed, *arguments) is False


def test_dropout_may_drop_everything_and_its_mask_is_a_mask() -> None:
    assert kept("aten.dropout.default", X * 0, UnitInput(0), 0.25, True) is True
    assert kept("aten.native_dropout.default", X > 0, UnitInput(0), 0.5, True, output=1) is True


def test_what_is_reproducible_is_judged_as_everything_else() -> None:
    assert promise_of(Call("aten.bernoulli.default", ()), 0, reproducible=True) is None
    assert promise_of(Call("aten.dropout.default", ()), 0, reproducible=None) is None
    assert promise_of(Call("aten.matmul.default", ()), 0, reproducible=False) is None
    assert promise_of(Call("mine.empty_like.default", ()), 0, reproducible=False) is None
    # What happens to lie in fresh memory may be the same twice.
    assert promise_of(Call("aten.empty_like.default", ()), 0, reproducible=True) is not None


def toy(op: str, *arguments: float) -> Toy:
    """X -> op(x) -> tanh; the source gives other bits each time."""

    def edit(ref: NodeRef, value: Value) -> Value:
        return value._replace(reproducible=False, isolated=None, chained=None) if ref.node == 0 else value

    made = Toy(edit=edit)
    made.call("aten.tanh.default", made.call(op, InputRef(0), *arguments))
    return made


Fault = Callable[[tuple[np.ndarray, ...]], tuple[np.ndarray, ...]]


@pytest.mark.parametrize("mode", list(Mode))
def test_uninitialised_memory_is_not_compared_and_nobody_inherits_it(mode: Mode, tmp_path: Path) -> None:
    with Driver(toy("aten.empty_like.default").write(tmp_path / "t.trace"), mode=mode) as driver:
        driver.target.faults["/aten.empty_like.default#0"] = lambda right: (right[0] * np.float32(-3),)
        driver.do(RunNodes())
        result = driver.engine.result(0)
        assert (result.status, result.verdict) == ("not_run", "")
        assert "uninitialised: its shape and dtype agree" in result.reason
        assert driver.engine.result(1).status == "passed"  # it got the recorded values


@pytest.mark.parametrize("mode", list(Mode))
@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (lambda right: (right[0][:-1],), "wrong shape"),
        (lambda right: (right[0].astype(np.float64),), "wrong dtype"),
    ],
)
def test_uninitialised_memory_of_the_wrong_kind_fails(mode: Mode, fault: Fault, says: str, tmp_path: Path) -> None:
    with Driver(toy("aten.empty_like.default").write(tmp_path / "t.trace"), mode=mode) as driver:
        driver.target.faults["/aten.empty_like.default#0"] = fault
        driver.do(RunNodes())
        assert driver.engine.result(0).status == "failed"
        assert says in driver.engine.result(0).reason


@pytest.mark.parametrize("mode", list(Mode))
def test_random_numbers_pass_by_their_range(mode: Mode, tmp_path: Path) -> None:
    calls = 0

    def others(right: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
        nonlocal calls
        calls += 1
        return (np.roll(right[0], calls),)  # other ones at each call

    with Driver(toy("aten.bernoulli.p", 0.3).write(tmp_path / "t.trace"), mode=mode) as driver:
        driver.target.faults["/aten.bernoulli.p#0"] = others
        driver.do(RunNodes())
        assert driver.statuses() == ["passed", "passed"]
        assert "random: 0 or 1 in all of 64 elements" in driver.engine.result(0).reason


@pytest.mark.parametrize("mode", list(Mode))
def test_random_numbers_out_of_their_range_fail(mode: Mode, tmp_path: Path) -> None:
    with Driver(toy("aten.dropout.default", 0.5, True).write(tmp_path / "t.trace"), mode=mode) as driver:
        driver.do(RunNodes())
        assert driver.statuses() == ["passed", "passed"]
        driver.engine.close()
    with Driver(toy("aten.dropout.default", 0.5, True).write(tmp_path / "u.trace"), mode=mode) as driver:
        driver.target.faults["/aten.dropout.default#0"] = lambda right: (right[0] * np.float32(0.5),)
        driver.do(RunNodes())
        result = driver.engine.result(0)
        assert result.status == "failed"
        assert "not zero or its input scaled" in result.reason
        assert driver.engine.result(1).status == "passed"
