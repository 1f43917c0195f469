"""From units to Relax: the hand-built exported program, identities, the order of the ways."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tapml_tui.backends.protocol import Call, CallResult, NamedConstant, TensorSpec, Unit, UnitInput
from tests.backends.driver import unary, unit

pytestmark = [pytest.mark.tvm]

X, Y = UnitInput(0), UnitInput(1)
F = TensorSpec("float32", (2, 3))


@pytest.mark.parametrize(
    "wanted",
    [
        unit("aten.add.Tensor", [X, Y], [F, F], [F]),
        unit("aten.split.Tensor", [X, 1, 1], [F], [TensorSpec("float32", (2, 1))] * 3),
        unit("aten.scaled_dot_product_attention.default", [X, X, X], [TensorSpec("float32", (1, 2, 3, 4))] * 1,
             [TensorSpec("float32", (1, 2, 3, 4))]),
        unit("aten.full.default", [(2, 3), 1.5], [], [F], dtype=NamedConstant("dtype", "float32")),
    ],
    ids=lambda wanted: wanted.calls[0].op,
)  # fmt: skip
def test_program_computes_what_the_unit_says(wanted: Unit) -> None:
    """The program that is given to TVM, run by torch itself."""
    import torch

    from tapml_tui import operators
    from tapml_tui.backends.compiler.exported import decompose, export_unit

    torch.manual_seed(0)
    tensors = [torch.randn(spec.shape) for spec in wanted.inputs]
    for program in (export_unit(wanted), decompose(export_unit(wanted))):
        got = program.module(check_guards=False)(*tensors) if tensors else program.graph_module()
        expected = operators.call_unit(wanted, tensors, max_output_bytes=1 << 20)
        for one, other in zip(operators.flat_outputs(got), expected, strict=True):
            torch.testing.assert_close(one, other)


@pytest.mark.parametrize("op", ["diff", "layer_norm", "_safe_softmax", "scaled_dot_product_attention", "std"])
def test_decomposition_is_that_of_torch(op: str) -> None:
    from tapml_tui.backends.compiler.exported import decompose, export_unit

    q = TensorSpec("float32", (1, 2, 4, 8))
    args = {
        "layer_norm": [X, (8,)],
        "_safe_softmax": [X, -1],
        "scaled_dot_product_attention": [X, X, X],
    }.get(op, [X])
    out = {"diff": TensorSpec("float32", (1, 2, 4, 7)), "std": TensorSpec("float32", ())}.get(op, q)
    program = export_unit(unit(f"aten.{op}.default", args, [q], [out]))
    ours, theirs = (
        [str(n.target) for n in p.graph.nodes if n.op == "call_function"]
        for p in (decompose(program), program.run_decompositions())
    )
    assert ours == theirs


@pytest.mark.parametrize(
    ("wanted", "identity"),
    [
        (unit("aten.clone.default", [X], [F], [F]), (0,)),
        (unit("aten.dropout.default", [X, 0.5, False], [F], [F]), (0,)),
        (unit("aten.relu.default", [X], [F], [F]), ()),
        (unit("aten.view.default", [X, (3, 2)], [F], [TensorSpec("float32", (3, 2))]), ()),
        (Unit((Call("aten.clone.default", (Y,)),), (F, F), (F, F), (CallResult(0), CallResult(0))), (1, 1)),
        (
            Unit((Call("aten.clone.default", (X,)), Call("aten.relu.default", (X,))), (F,), (F, F),
                 (CallResult(0), CallResult(1))),
            (),
        ),
    ],
)  # fmt: skip
def test_identities(wanted: Unit, identity: tuple[int, ...]) -> None:
    from tapml_tui.backends.compiler.lower import lower_unit

    assert lower_unit(wanted, (), None).identity == identity


def test_both_ways_are_tried_and_their_messages_kept() -> None:
    from tapml_tui.backends.compiler.lower import NotLowered, lower_unit

    mask = TensorSpec("bool", (4, 4))
    q = TensorSpec("float32", (1, 1, 4, 8))
    attention = unit("aten.scaled_dot_product_attention.default", [X, X, X, Y], [q, mask], [q])
    ((way, message),) = lower_unit(attention, (), None).attempts
    assert (way, "mask" in message) == ("without decomposition", True)
    with pytest.raises(NotLowered) as refused:
        lower_unit(unary("aten.histc.default", np.ones(3, np.float32), TensorSpec("float32", (100,))), (), None)
    assert refused.value.unsupported
    assert "without decomposition" in refused.value.detail
    assert "with decomposition" in refused.value.detail


@pytest.mark.parametrize(
    "wanted",
    [
        unit("aten.from_file.default", ["x", True, 4], [], [F]),
        unit("aten.relu.default", [Y], [F], [F]),
        unit("aten.relu.default", [X, X, X], [F], [F]),
        unit("aten.zeros.default", [(1 << 40,)], [], [F]),
        unit("aten.zeros.default", [(1 << 40,)], [], [TensorSpec("float32", (1 << 40,))]),
        unit("aten.relu.default", [CallResult(3)], [F], [F]),
        Unit((), (F,), (F,), (CallResult(0),)),
        unit("aten.nonzero.default", [X], [F], [TensorSpec("int64", (3, 2))]),
        unit("aten.to.dtype", [X, NamedConstant("dtype", "no_such")], [F], [F]),
        unit("aten.to.dtype", [X, NamedConstant("layout", "nn")], [F], [F]),
    ],
)
def test_hostile_or_impossible_units_are_refused(wanted: Unit) -> None:
    from tapml_tui.backends.compiler.lower import NotLowered, lower_unit

    with pytest.raises(NotLowered) as refused:
        lower_unit(wanted, (), None)
    assert refused.value.reason


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("def nothing(): pass", r"lower\.py defines no function lower\(op\)"),
        ("lower = {}", r"lower\.py defines no function lower\(op\)"),
        ("raise RuntimeError('no')", r"lower\.py: .*no"),
        ("syntax error here", r"lower\.py"),
        (None, r"lower\.py"),
    ],
)
def test_lower_file_that_does_not_load(tmp_path: Path, text: str | None, said: str) -> None:
    from tapml_tui.backends.compiler.lower import NotLowered, load_user_lowering

    file = tmp_path / "lower.py"
    if text is not None:
        file.write_text(text)
    with pytest.raises(NotLowered, match=said):
        load_user_lowering(str(file))


def test_many_units_in_one_library(tmp_path: Path) -> None:
    """PrimFuncs of one name, out of two units, stay apart."""
    import tvm

    from tapml_tui.backends.compiler.build import build, parse_target
    from tapml_tui.backends.compiler.lower import load_user_lowering, lower_unit

    file = tmp_path / "lower.py"
    file.write_text(
        "from tvm import te\n"
        "def lower(op):\n"
        "    add = {'aten.sin.default': 1.0, 'aten.cos.default': 2.0}.get(op)\n"
        "    if add is not None:\n"
        "        return lambda bb, args, kw: bb.emit_te("
        "lambda a: te.compute(a.shape, lambda *i: a(*i) + add, name='same'), args[0])\n"
    )
    user = load_user_lowering(str(file))
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    units = [(name, lower_unit(unary(f"aten.{name}.default", x), (), user)) for name in ("sin", "cos", "relu")]
    build(units, parse_target("llvm"), tmp_path / "library.so")
    machine = tvm.relax.VirtualMachine(tvm.runtime.load_module(str(tmp_path / "library.so")), tvm.cpu())
    for name, expected in (("sin", x + 1), ("cos", x + 2), ("relu", x)):
        np.testing.assert_array_equal(machine[name](tvm.runtime.tensor(x)).numpy(), expected)
    assert not list(tmp_path.glob("build-*"))


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt("3"), ValueError("3")])
def test_whatever_the_users_own_converters_raise_is_told_as_theirs(error: BaseException) -> None:
    from tapml_tui.backends.compiler.lower import NotLowered, lower_unit

    def fail(*_: object) -> None:
        raise error

    plain = unary("aten.relu.default", np.ones(4, np.float32))
    for user, whose in ((fail, "lower() of --lower"), (lambda op: fail, "the converter of --lower")):
        with pytest.raises(NotLowered) as raised:
            lower_unit(plain, (), user)
        assert raised.value.reason == f"{whose}: {type(error).__name__}: 3"
