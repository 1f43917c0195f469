"""Data is cut as long as the fault shows alike, and what remains is consistent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from tapml_tui.backends.protocol import Call, CallArgument, CallResult, TensorSpec, Unit, UnitInput
from tapml_tui.compare.diagnosis import Kind
from tapml_tui.export import Exhibit, Output
from tapml_tui.export.shrinking import ATTEMPTS, Arrays, shrink
from tapml_tui.headless.shrinking import judge
from trace_format.model import Floor

KINDS = [kind.value for kind in Kind]
RANDOM = np.random.default_rng(0)
Numpy = Callable[..., np.ndarray]


def view(a: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    return a.reshape(shape)


def softmax(a: np.ndarray, axis: int) -> np.ndarray:
    e = np.exp(a - a.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def embedding(weight: np.ndarray, indices: np.ndarray) -> np.ndarray:
    return weight[indices]


class Bench:
    """A kernel in numpy, right on the source, and spoiled on the target."""

    def __init__(self, function: Numpy, op: str, spoil: Callable[[np.ndarray], np.ndarray], *args: object) -> None:
        self.function, self.spoil = function, spoil
        inputs = tuple(arg for arg in args if isinstance(arg, np.ndarray))
        numbers = iter(range(len(inputs)))
        call_args: tuple[CallArgument, ...] = tuple(
            UnitInput(next(numbers)) if isinstance(arg, np.ndarray) else arg
            for arg in args  # type: ignore[misc]
        )
        right = function(*args)
        specs = tuple(TensorSpec(a.dtype.name, a.shape) for a in inputs)
        unit = Unit((Call(op, call_args),), specs, (TensorSpec(right.dtype.name, right.shape),), (CallResult(0),))
        self.runs = 0
        whole = Exhibit(
            node="n", case="c", unit=unit, inputs=inputs, outputs=(Output(0, right, np.ones_like(right)),),
            target="llvm", floors=(Floor(1e-7, 1e-8),), reason="x the floor", wrong_kind="",
        )  # fmt: skip
        # The kind is that of the whole.
        for kind in ("", *KINDS):
            found = judge(replace(whole, wrong_kind=kind), (right,), (spoil(right),))
            if found is not None:
                self.whole = found
                return
        raise AssertionError("it does not fail")

    def source(self, unit: Unit, inputs: Arrays) -> Arrays | None:
        args = [inputs[arg.index] if isinstance(arg, UnitInput) else arg for arg in unit.calls[0].args]
        try:
            return (self.function(*args),)
        except (ValueError, IndexError):
            return None

    def target(self, unit: Unit, inputs: Arrays) -> Arrays | None:
        self.runs += 1
        right = self.source(unit, inputs)
        return None if right is None else (self.spoil(right[0]),)

    def shrunk(self) -> Exhibit:
        return shrink(self.whole, self.source, self.target, judge)


def normal(*shape: int) -> np.ndarray:
    return RANDOM.normal(size=shape).astype(np.float32)


def doubled(a: np.ndarray) -> np.ndarray:
    return a * 2


def last_row_zero(a: np.ndarray) -> np.ndarray:
    a = a.copy()
    a[..., -1, :] = 0
    return a


@pytest.mark.parametrize(
    "bench",
    [
        Bench(np.matmul, "aten.matmul.default", doubled, normal(32, 64), normal(64, 48)),
        Bench(np.matmul, "aten.matmul.default", last_row_zero, normal(4, 32, 64), normal(64, 48)),
        Bench(np.add, "aten.add.Tensor", doubled, normal(1, 36, 64), normal(1, 36, 64)),
        Bench(softmax, "aten.softmax.int", doubled, normal(2, 8, 32, 32), -1),
        Bench(view, "aten.view.default", doubled, normal(36, 64), (1, 36, 64)),
        Bench(embedding, "aten.embedding.default", doubled, normal(500, 64), RANDOM.integers(0, 500, size=(1, 32))),
    ],
    ids=["product", "row", "add", "softmax", "view", "embedding"],
)
def test_much_less_data_fails_alike(bench: Bench) -> None:
    whole, small = bench.whole, bench.shrunk()
    assert small.nbytes * 10 <= whole.nbytes
    assert small.wrong_kind == whole.wrong_kind
    assert small.reason
    right = bench.source(small.unit, small.inputs)
    assert right is not None
    np.testing.assert_array_equal(right[0], small.outputs[0].expected)
    allowed = small.outputs[0].allowed
    assert allowed is not None
    assert allowed.shape == right[0].shape
    assert (np.abs(bench.spoil(right[0]) - right[0]) > allowed).any()
    assert [spec.shape for spec in small.unit.inputs] == [array.shape for array in small.inputs]
    assert bench.runs <= ATTEMPTS


def test_a_fault_of_one_size_alone_keeps_that_size() -> None:
    def wrong_at_64(a: np.ndarray) -> np.ndarray:
        return a * 2 if a.shape[-1] == 64 else a

    small = Bench(np.add, "aten.add.Tensor", wrong_at_64, normal(36, 64), normal(36, 64)).shrunk()
    assert small.inputs[0].shape == (1, 64)


def test_what_cannot_be_cut_stays_whole() -> None:
    def wrong_as_a_whole(a: np.ndarray) -> np.ndarray:
        return a * 2 if a.shape == (36, 64) else a

    bench = Bench(np.add, "aten.add.Tensor", wrong_as_a_whole, normal(36, 64), normal(36, 64))
    assert bench.shrunk() is bench.whole


def test_a_kernel_that_breaks_is_cut_too() -> None:
    bench = Bench(np.add, "aten.add.Tensor", doubled, normal(36, 64), normal(36, 64))
    broken = replace(bench.whole, broke=True, reason="it does not compile")
    small = shrink(broken, bench.source, lambda unit, inputs: None, judge)
    assert small.nbytes * 10 <= broken.nbytes
    assert small.reason == "it does not compile"
    assert shrink(broken, bench.source, bench.target, judge) is broken
