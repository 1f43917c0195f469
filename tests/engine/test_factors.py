"""What the recorded inputs tell of a small output."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tapml_tui.backends.protocol import Call, UnitInput
from tapml_tui.compare.chunks import rms
from tapml_tui.compare.noise import FLOAT32, Known, noise_of
from tapml_tui.compare.sums import known
from tapml_tui.engine.commands import Mode, RunNodes
from tapml_tui.engine.factors import known_of
from tapml_tui.engine.units import Binding, bind
from tapml_tui.engine.values import References
from tests import sampling
from tests.engine.numpy_backend import Arrays
from tests.engine.toys import Driver, Toy
from trace_format.model import Floor, InputRef, NodeRef, Value


def test_products_of_the_recorded_inputs_are_known(tmp_path: Path) -> None:
    toy = Toy()
    product = toy.call("aten.matmul.default", InputRef(0), InputRef(1))
    toy.call("aten.tanh.default", product)
    toy.call("aten.matmul.default", product, product)
    with toy.write(tmp_path / "t.trace") as trace:
        references, found = References(trace), []
        for node in range(3):
            binding = bind(trace, 0, node)
            value = references.array(trace.value(0, NodeRef(node, 0)))
            assert isinstance(binding, Binding) and value is not None
            inputs = [references.array(references.value(0, ref)) for ref in binding.operands]
            found.append(known_of(binding.unit.calls[0], inputs, value))
        first, second, third = found
        x, y = (references.array(trace.value(0, InputRef(i))) for i in range(2))
        assert x is not None and y is not None
        np.testing.assert_array_equal(first, known(x, y.T, FLOAT32))
        assert second is None
        h = references.array(trace.value(0, NodeRef(0, 0)))
        assert h is not None
        np.testing.assert_array_equal(third, known(h, h.T, FLOAT32))


def as_exact_as_can_be(ref: NodeRef, value: Value) -> Value:
    """The source errs by its last rounding alone."""
    return value._replace(isolated=Floor(1e-6, 1e-8, "float64", 0.5, 0.0))


def test_an_element_of_small_terms_is_held_to_them(tmp_path: Path) -> None:
    toy = Toy(edit=as_exact_as_can_be)
    toy.call("aten.matmul.default", InputRef(0), InputRef(1))
    with Driver(toy.write(tmp_path / "t.trace"), mode=Mode.ISOLATED) as driver:
        trace = driver.engine.trace
        binding, reference = bind(trace, 0, 0), driver.engine.reference(0, 0)
        assert isinstance(binding, Binding) and reference is not None
        references = References(trace)
        inputs = [references.array(references.value(0, ref)) for ref in binding.operands]
        found = known_of(binding.unit.calls[0], inputs, reference)
        assert found is not None
        rule = noise_of(reference.dtype, binding.values[0].isolated, rms(reference), terms=8.0, functions=False)
        usual = rule.allowance(np.abs(reference.astype(np.float64)))
        allowed = rule.knowing(reference, reference + 1, found)
        at = np.unravel_index((usual / allowed).argmax(), reference.shape)
        assert usual[at] > 1.5 * allowed[at]

        def off(right: Arrays) -> Arrays:
            wrong = right[0].copy()
            wrong[at] += 1.3 * allowed[at]
            return (wrong,)

        driver.target.faults["/aten.matmul.default#0"] = off
        driver.do(RunNodes())
        result = driver.engine.result(0)
        assert result is not None and result.status == "failed" and 1.0 < result.factor < 2.0
        assert result.outputs[0].comparison.worst == at and result.outputs[0].comparison.outside == 1


CALLS = {
    "linear": ([(2, 3, 8), (5, 8), (5,)], (), {}),
    "addmm": ([(5,), (3, 8), (8, 5)], (), {}),
    "baddbmm": ([(2, 3, 5), (2, 3, 8), (2, 8, 5)], (), {}),
    "bmm": ([(2, 3, 8), (2, 8, 5)], (), {}),
    "matmul": ([(2, 1, 3, 8), (4, 8, 5)], (), {}),
    "conv1d": ([(2, 4, 9), (6, 2, 3), (6,)], ((2,), (1,), (2,), 2), {}),
    "conv2d": ([(2, 4, 9, 8), (6, 4, 3, 2)], (None, (2, 1), (0, 1), (1, 3)), {}),
    "conv2d grouped": ([(2, 4, 9, 8), (8, 1, 3, 3), (8,)], ((1, 1), (1, 1), (1, 1), 4), {}),
    "conv3d": ([(1, 2, 4, 5, 6), (3, 2, 2, 2, 2), (3,)], ((1, 2, 1),), {}),
    "convolution": ([(2, 4, 9, 8), (6, 2, 3, 2), (6,)], ((2, 1), (1, 1), (1, 1), False, (0, 0), 2), {}),
    "scaled_dot_product_attention": ([(2, 3, 5, 8), (2, 3, 6, 8), (2, 3, 6, 4)], (), {}),
    "scaled_dot_product_attention masked": ([(2, 3, 5, 8), (2, 3, 6, 8), (2, 3, 6, 4), (2, 1, 5, 6)], (), {}),
    "scaled_dot_product_attention causal": ([(3, 5, 8), (3, 6, 8), (3, 6, 4)], (None, 0.0, True), {"scale": 0.7}),
    "scaled_dot_product_attention grouped": (
        [(1, 6, 5, 8), (1, 2, 6, 8), (1, 2, 6, 4)],
        (None, 0.0, False),
        {"enable_gqa": True},
    ),
}


def arguments(name: str, dtype: str) -> tuple[str, list[Arrays], tuple[object, ...], dict[str, object]]:
    shapes, more, named = CALLS[name]
    random = np.random.default_rng(sampling.rng(name).getrandbits(64))
    return name.partition(" ")[0], [random.normal(size=shape).astype(dtype) for shape in shapes], more, named


@pytest.mark.torch
@pytest.mark.parametrize("name", CALLS)
def test_the_truth_is_what_torch_computes_in_float64(name: str) -> None:
    import torch

    operator, inputs, more, named = arguments(name, "float16")
    exact = [torch.tensor(one.astype(np.float64)) for one in inputs]
    expected = getattr(torch.ops.aten, operator)(*exact, *more, **named).numpy()
    call = Call(f"aten.{operator}.default", (*map(UnitInput, range(len(inputs))), *more), tuple(named.items()))
    known = known_of(call, inputs, expected.astype(np.float16))
    assert known is not None and known.truth is not None
    np.testing.assert_allclose(known.truth, expected, rtol=1e-9, atol=1e-9)
    assert (known.straying > 0).all() and known.straying.max() < 8 * 2.0**-11 * np.abs(expected).max()


LEFT = {
    "tanh": (8, 8),
    "addmm": (3, 5),
    "linear": (3, 5),
    "conv2d": (2, 6, 7, 7),
    "convolution": (2, 6, 11, 9),
    "scaled_dot_product_attention": (2, 5, 4),
}


@pytest.mark.parametrize(
    ("operator", "shapes", "more", "named"),
    [
        ("tanh", [(8, 8)], (), {}),
        ("addmm", [(5,), (3, 8), (8, 5)], (), {"beta": 2}),
        ("linear", [(3, 8), (5, 8), (4,)], (), {}),
        ("linear", [(3, 8), (5, 8)], (7.0,), {}),
        ("linear", [(3, 8)], (1.0,), {}),
        ("conv2d", [(2, 4, 9, 8), (6, 2, 3, 2)], (None, (0, 1)), {}),
        ("conv2d", [(2, 4, 9, 8), (6, 4, 3, 2)], (None, "same"), {}),
        ("conv2d", [(2, 4, 9, 8), (6, 4, 3, 2)], (None, (1, 1), (1 << 40, 0)), {}),
        ("conv2d", [(2, 4, 9, 8), (6, 4, 3, 2)], (None, (1, 1), (-9, 0)), {}),
        ("conv2d", [(4, 9, 8), (6, 4, 3, 2)], (), {}),
        ("convolution", [(2, 4, 9, 8), (4, 6, 3, 2)], (None, (1, 1), (0, 0), (1, 1), True, (0, 0), 1), {}),
        ("scaled_dot_product_attention", [(2, 5, 8), (2, 6, 8), (2, 6, 4), (3, 5, 6)], (), {}),
        ("scaled_dot_product_attention", [(2, 5, 8), (2, 6, 7), (2, 6, 4)], (), {}),
        ("scaled_dot_product_attention", [(2, 5, 8), (2, 6, 8), (2, 6, 4)], (None, 0.1), {}),
        ("scaled_dot_product_attention", [(4, 5, 8), (0, 6, 8), (0, 6, 4)], (None, 0.0, False), {"enable_gqa": True}),
    ],
)
def test_what_is_not_known_is_left_to_the_law(
    operator: str, shapes: list[tuple[int, ...]], more: tuple[object, ...], named: dict[str, object]
) -> None:
    inputs = [np.ones(shape, np.float16) for shape in shapes]
    call = Call(f"aten.{operator}.default", (*map(UnitInput, range(len(inputs))), *more), tuple(named.items()))
    assert known_of(call, inputs, np.ones(LEFT[operator], np.float16)) is None


def test_nor_is_anything_known_of_what_was_not_fetched_or_is_of_another_shape() -> None:
    call = Call("aten.linear.default", (UnitInput(0), UnitInput(1)))
    inputs = [np.ones((3, 8), np.float16), np.ones((5, 8), np.float16)]
    reference = np.ones((3, 5), np.float16)
    assert known_of(call, inputs, reference) is not None
    assert known_of(call, [inputs[0], None], reference) is None
    assert known_of(call, inputs, reference[:2]) is None
    assert known_of(call, inputs, reference.astype(np.complex64)) is None
    assert known_of(call, inputs, reference.astype(np.int32)) is None


def test_of_layer_norm_something_is_known_only_on_inputs_that_no_model_has() -> None:
    x, weight = np.full((3, 4, 8), 1.7, np.float32), np.full((4, 8), 2.0, np.float32)
    reference = np.zeros_like(x)

    def found(shape: object, *more: object, on: np.ndarray = x, failed: bool = True) -> Known | None:
        call = Call("aten.layer_norm.default", (UnitInput(0), shape, *more))
        return known_of(call, [on, weight], reference, failed=failed)

    assert found((4, 8), UnitInput(1), None, 1e-6) is not None
    assert found((8,)) is not None
    assert found((8,), failed=False) is None
    assert found((8,), UnitInput(1)) is None
    assert found((3, 8)) is None
    assert found("8") is None
    assert found((8,), None, None, "small") is None
    assert found((8,), on=np.resize(np.linspace(-1, 1, 8, dtype=np.float32), x.shape)) is None


@pytest.mark.parametrize(
    ("dims", "more"), [((-1,), (True,)), ((0, 2), ()), (1, ()), (None, ()), ((), (True,)), ((2, 0, 1), (False, None))]
)
def test_sums_of_terms_that_a_fault_made_equal_are_known(dims: object, more: tuple[object, ...]) -> None:
    x = np.full((4, 100, 6), 0.3, np.float32)
    over = {(): None, None: None}.get(dims, dims)  # type: ignore[call-overload]
    for name, exact in (("sum", np.sum), ("mean", np.mean)):
        call = Call(f"aten.{name}.dim", (UnitInput(0), dims, *more))
        reference = np.asarray(exact(x.astype(np.float64), axis=over, keepdims=more[:1] == (True,)))
        found = known_of(call, [x], reference.astype(np.float32))
        assert found is not None
        assert found.truth is not None
        np.testing.assert_allclose(found.truth, reference)
        assert (found.straying > 0).all()
        assert known_of(call, [x], reference.astype(np.float32), failed=False) is None


@pytest.mark.parametrize("arguments", [(3,), ((0, 5),), ("all",), ((0,), False, "float64"), (0.5,)])
def test_other_sums_are_left_to_the_law(arguments: tuple[object, ...]) -> None:
    x = np.full((4, 100, 6), 0.3, np.float32)
    assert known_of(Call("aten.sum.dim_IntList", (UnitInput(0), *arguments)), [x], x[0]) is None
