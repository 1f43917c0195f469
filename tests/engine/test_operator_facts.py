"""An operator is what the trace calls it: facts are asked of any text."""

from __future__ import annotations

import numpy as np
import pytest

from tapml_tui.backends.protocol import Call, CallResult, TensorSpec, Unit, UnitInput
from tapml_tui.compare import compare
from tapml_tui.engine.arithmetic import arithmetic_of, products_of
from tapml_tui.engine.operator_facts import choice_of
from trace_format.model import Floor


@pytest.mark.parametrize("op", ["", ".", "x", "aten", "aten.mm", "os.system", "a.b.c.d", "aten..default", "\x00"])
def test_any_name_of_an_operator_has_an_answer(op: str) -> None:
    spec = TensorSpec("float32", (4,))
    call = Call(op, (UnitInput(0),))
    assert choice_of(call) is None
    assert arithmetic_of(Unit((call,), (spec,), (spec,), (CallResult(0),)), (4,)).terms >= 1


def test_a_stable_sort_has_no_free_choice_but_among_what_is_nearly_equal() -> None:
    call = Call("aten.sort.stable", (UnitInput(0),), (("stable", True), ("dim", 0)))
    assert choice_of(call) is None
    assert choice_of(call, near=True) == (1, 0, 0)
    assert choice_of(Call("aten.sort.stable", (UnitInput(0),), (("stable", False),))) == (1, 0, -1)
    assert choice_of(Call("aten.sort.default", (UnitInput(0),))) == (1, 0, -1)


@pytest.mark.parametrize(
    ("op", "shapes", "more", "output", "expected"),
    [
        ("aten.linear.default", [(2, 5, 384), (1536, 384), (1536,)], (), (2, 5, 1536), (384, False)),
        ("aten.bmm.default", [(8, 5, 64), (8, 64, 7)], (), (8, 5, 7), (64, False)),
        ("aten.addmm.default", [(7,), (5, 64), (64, 7)], (), (5, 7), (64, False)),
        ("aten.conv2d.default", [(1, 16, 14, 14), (32, 16, 3, 3)], (None, (1, 1)), (1, 32, 12, 12), (144, False)),
        ("aten.conv2d.default", [(1, 32, 14, 14), (32, 1, 3, 3)], (None, (1, 1)), (1, 32, 12, 12), (9, False)),
        ("aten.layer_norm.default", [(2, 5, 384), (384,), (384,)], None, (2, 5, 384), (96, True)),
        ("aten.softmax.int", [(4, 5, 128)], (-1,), (4, 5, 128), (128, True)),
        ("aten.softmax.int", [(4, 5, 2048)], (-1,), (4, 5, 2048), (16384, True)),
        ("aten.cumsum.default", [(4, 9)], (0,), (4, 9), (4, False)),
        ("aten.mean.dim", [(4, 9)], ((1,), True), (4, 1), (9, False)),
        ("aten.sum.default", [(4, 9)], (), (), (36, False)),
        ("aten.avg_pool2d.default", [(1, 2, 8, 8)], ((3, 3), (1, 1)), (1, 2, 6, 6), (9, False)),
        (
            "aten.scaled_dot_product_attention.default",
            [(1, 4, 7, 64), (1, 4, 32, 64), (1, 4, 32, 64)],
            (),
            (1,),
            (96, True),
        ),
        ("aten.add.Tensor", [(4, 9), (4, 1)], (), (4, 9), (1, False)),
        ("aten.gelu.default", [(4, 9)], (), (4, 9), (1, True)),
        ("my.reduction.default", [(4, 9)], (), (4,), (9, True)),
    ],
)
def test_how_long_sums_are(
    op: str,
    shapes: list[tuple[int, ...]],
    more: tuple[object, ...] | None,
    output: tuple[int, ...],
    expected: tuple[float, bool],
) -> None:
    operands = tuple(UnitInput(i) for i in range(len(shapes)))
    args = (*operands, *more) if more is not None else (operands[0], shapes[1], *operands[1:])
    specs = tuple(TensorSpec("float32", shape) for shape in shapes)
    unit = Unit((Call(op, args),), specs, (TensorSpec("float32", output),), (CallResult(0),))
    found = arithmetic_of(unit, output)
    assert (found.terms, found.functions) == expected


def test_rounded_scores_weigh_as_much_as_they_are_large() -> None:
    spec = TensorSpec("bfloat16", (1, 4, 16, 64))
    operands = (UnitInput(0), UnitInput(1), UnitInput(2))
    call = Call("aten.scaled_dot_product_attention.default", operands, (("scale", 0.25),))
    unit = Unit((call,), (spec,) * 3, (spec,), (CallResult(0),))
    assert arithmetic_of(unit, spec.shape, lambda one, other: 18.0).hidden == pytest.approx(4 * 18 * 0.25)
    small = arithmetic_of(unit, spec.shape, lambda one, other: 0.1)
    assert arithmetic_of(unit, spec.shape).hidden == small.hidden == 2.0


@pytest.mark.parametrize("heads", [4, 2])
def test_the_size_of_scores_is_that_of_the_product(heads: int) -> None:
    random = np.random.default_rng(heads)
    queries, keys = random.normal(size=(2, 4, 6, 8)), random.normal(size=(2, heads, 5, 8)) + 3.0
    product = queries @ np.repeat(keys, 4 // heads, axis=1).swapaxes(-1, -2)
    assert products_of(queries, keys) == pytest.approx(np.sqrt((product**2).mean()))
    queries[0, 0, 0, 0] = np.nan
    assert np.isfinite(products_of(queries, keys))
    assert products_of(queries, keys[..., :7]) is None
    assert products_of(queries[0, 0, 0], keys) is None


def test_a_number_that_a_kernels_source_has_with_seven_digits_only_is_no_fault() -> None:
    """As TVM prints constants for OpenCL and its like; one digit less is one."""
    scale = 0.42044820762685725
    spec = TensorSpec("float32", (64, 64))
    unit = Unit((Call("aten.mul.Tensor", (UnitInput(0), scale)),), (spec,), (spec,), (CallResult(0),))
    arithmetic = arithmetic_of(unit, spec.shape)._asdict()
    x = np.random.default_rng(0).standard_normal(spec.shape).astype(np.float32)
    reference, floor = x * np.float32(scale), Floor(3e-8, 1e-8, "float64", 0.5)
    assert compare(reference, x * np.float32(f"{scale:.6e}"), floor=floor, **arithmetic).passed
    assert not compare(reference, x * np.float32(f"{scale:.5e}"), floor=floor, **arithmetic).passed
    exact = Unit((Call("aten.mul.Tensor", (UnitInput(0), 0.5)),), (spec,), (spec,), (CallResult(0),))
    assert not arithmetic_of(exact, spec.shape).functions


@pytest.mark.parametrize("operator", ["exp", "reciprocal", "rsqrt", "sqrt", "div"])
def test_what_is_small_among_large_results_of_a_function_is_judged_by_its_own_size(operator: str) -> None:
    """Nothing hides behind it; four units in the last place, which targets may be off by, are fine."""
    x = np.geomspace(1e-12, 1e6, 64)
    if operator == "exp":
        x = np.linspace(-40, 40, 64)
    function = {"exp": np.exp, "sqrt": np.sqrt, "rsqrt": lambda x: 1 / np.sqrt(x)}.get(operator, np.reciprocal)
    computed = function(x)
    reference, spec = computed.astype(np.float32), TensorSpec("float32", (64,))
    args = (UnitInput(0), UnitInput(1)) if operator == "div" else (UnitInput(0),)
    unit = Unit((Call(f"aten.{operator}.default", args),), (spec,) * len(args), (spec,), (CallResult(0),))
    facts = arithmetic_of(unit, spec.shape)._asdict()
    floor = Floor(float(reference.max()) * 2.0**-24, float(reference.max()) * 2.0**-26, "float64", 0.5)
    near = reference * np.float32(1 + 4 * 2.0**-23)
    assert compare(reference, near, floor=floor, **facts).passed
    for at in (0, -1):
        wrong = reference.copy()
        wrong[at] *= np.float32(1.0001)
        assert not compare(reference, wrong, floor=floor, **facts).passed
