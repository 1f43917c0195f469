"""Operators by name: what is found, what is refused, and that nothing happens on the way."""

from __future__ import annotations

import warnings
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from tapml_tui.backends.protocol import Call, CallResult, NamedConstant, TensorSpec, Unit, UnitInput

pytestmark = pytest.mark.torch

LARGE = 1 << 30


def unit(op, args, inputs=(), outputs=1, **kwargs):
    specs = tuple(TensorSpec(str(t.dtype).removeprefix("torch."), tuple(t.shape)) for t in inputs)
    call = Call(op, tuple(args), tuple(kwargs.items()))
    return Unit((call,), specs, (), tuple(CallResult(0, i) for i in range(outputs)))


def run(op, args, inputs=(), outputs=1, *, limit=LARGE, allow=frozenset(), **kwargs):
    from tapml_tui.operators import call_unit

    return call_unit(unit(op, args, inputs, outputs, **kwargs), list(inputs), allow=allow, max_output_bytes=limit)


@pytest.mark.parametrize(
    "name",
    ["aten.linear.default", "aten.add.Tensor", "prims.convert_element_type.default", "aten.__and__.Tensor"],
)
def test_name_round_trip(name):
    from tapml_tui.operators import operator_name, resolve

    assert operator_name(resolve(name)) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "aten",
        "aten.add",
        "aten.add.Tensor.more",
        "aten.add.Tensor\n",
        "aten.add.__class__",
        "aten.__class__.default",
        "aten.no_such_operator.default",
        "os.system.default",
        "import_me.thing.default",
        "aten.äöü.default",
        "a" * 10_000 + ".b.c",
        "../etc.passwd.default",
        "aten.from_file.default",
        "aten.from_file.out",
        "aten.save.default",
        "aten._print.default",
        "aten._assert_async.msg",
        "aten.set_.source_Storage",
        "aten.record_stream.default",
        "quantized.add.default",
    ],
)
def test_refused_names_leave_no_trace(name):
    import sys

    import torch

    from tapml_tui.operators import OperatorRefused, resolve

    modules, namespaces = set(sys.modules), set(vars(torch.ops))
    with pytest.raises(OperatorRefused):
        resolve(name)
    assert set(sys.modules) == modules
    assert set(vars(torch.ops)) == namespaces


def test_from_file_creates_nothing(tmp_path: Path):
    from tapml_tui.operators import OperatorRefused

    victim = tmp_path / "victim"
    with pytest.raises(OperatorRefused, match="path"):
        run("aten.from_file.default", [str(victim), True, 4])
    with pytest.raises(OperatorRefused, match="path"):
        run("aten.from_file.default", [str(victim), True, 4], allow={"aten", "aten.from_file.default"})
    assert not victim.exists()


@pytest.mark.parametrize("allow", [{"quantized"}, {"quantized.max_pool1d"}, {"quantized.max_pool1d.default"}])
def test_namespace_or_operator_can_be_allowed(allow):
    from tapml_tui.operators import OperatorRefused, resolve

    with pytest.raises(OperatorRefused, match="--allow-ops quantized"):
        resolve("quantized.max_pool1d.default")
    assert resolve("quantized.max_pool1d.default", allow)


@pytest.mark.parametrize(
    ("op", "args", "kwargs"),
    [
        ("aten.relu.default", [], {}),
        ("aten.relu.default", [UnitInput(0), 1], {}),
        ("aten.relu.default", ["text"], {}),
        ("aten.relu.default", [UnitInput(1)], {}),
        ("aten.relu.default", [UnitInput(-1)], {}),
        ("aten.relu.default", [CallResult(0)], {}),
        ("aten.relu.default", [UnitInput(0)], {"self": UnitInput(0)}),
        ("aten.relu.default", [UnitInput(0)], {"surprise": 1}),
        ("aten.softmax.int", [UnitInput(0), "1"], {}),
        ("aten.softmax.int", [UnitInput(0), 1, NamedConstant("dtype", "object")], {}),
        ("aten.softmax.int", [UnitInput(0), 1, NamedConstant("module", "os")], {}),
        ("aten.permute.default", [UnitInput(0), (0, 1.5)], {}),
        ("aten.cat.default", [(UnitInput(0), "x")], {}),
    ],
)
def test_arguments_that_do_not_fit_are_refused(op, args, kwargs):
    import torch

    from tapml_tui.operators import OperatorRefused

    with pytest.raises(OperatorRefused):
        run(op, args, [torch.ones(2, 2)], **kwargs)


@pytest.mark.parametrize(
    ("op", "args", "kwargs"),
    [
        ("aten.zeros.default", [(1 << 40,)], {}),
        ("aten.zeros.default", [(1 << 20, 1 << 20)], {"device": NamedConstant("device", "cpu")}),
        ("aten.arange.default", [1 << 40], {}),
        ("aten.repeat.default", [UnitInput(0), (1 << 38, 1)], {}),
        ("aten.expand.default", [UnitInput(0), (1 << 38, 2, 2)], {}),
        ("aten.new_zeros.default", [UnitInput(0), (1 << 40,)], {}),
        ("aten.constant_pad_nd.default", [UnitInput(0), (0, 1 << 40)], {}),
    ],
)
def test_a_huge_output_is_refused_before_it_is_allocated(op, args, kwargs):
    import torch

    from tapml_tui.operators import OutputTooLarge

    with pytest.raises(OutputTooLarge, match="bytes"):
        run(op, args, [torch.ones(2, 2)], limit=1 << 20, **kwargs)


def test_inputs_are_never_written():
    import torch

    x = torch.arange(4.0)
    (out,) = run("aten.add_.Tensor", [UnitInput(0), 1], [x])
    assert out.tolist() == [1, 2, 3, 4]
    assert x.tolist() == [0, 1, 2, 3]


def test_wrong_tensors_are_refused():
    import torch

    from tapml_tui.operators import CallRefused, call_unit

    wanted = unit("aten.relu.default", [UnitInput(0)], [torch.ones(2)])
    for tensors in ([], [torch.ones(3)], [torch.ones(2, dtype=torch.float64)]):
        with pytest.raises(CallRefused):
            call_unit(wanted, tensors, max_output_bytes=LARGE)


def test_several_calls_lists_and_data_dependent_shapes():
    import torch

    from tapml_tui.operators import call_unit

    x = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    chain = Unit(
        (Call("aten.unbind.int", (UnitInput(0),)), Call("aten.nonzero.default", (CallResult(0, 1),))),
        (TensorSpec("float32", (2, 2)),),
        (),
        (CallResult(0, 0), CallResult(1, 0)),
    )
    first, indices = call_unit(chain, [x], max_output_bytes=LARGE)
    assert first.tolist() == [1.0, 0.0]
    assert indices.tolist() == [[1]]


@pytest.mark.parametrize("name", ["bool", "uint16", "int64", "float16", "complex64", "bfloat16", "float8_e4m3fn"])
@pytest.mark.parametrize("shape", [(), (0, 3), (2, 3)])
def test_numpy_and_back_keeps_the_bits(name, shape):
    from tapml_tui.operators import dtype_name, from_numpy, numpy_dtype, to_numpy

    rng = np.random.default_rng(0)
    array = rng.integers(0, 2, shape).astype(numpy_dtype(name))
    array.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message="The given buffer is not writable")
        tensor = from_numpy(array)
    assert dtype_name(tensor.dtype) == name
    back = to_numpy(tensor)
    assert (back.shape, back.dtype) == (shape, array.dtype)
    assert back.tobytes() == array.tobytes()
    if array.size:
        assert np.shares_memory(back, array)


def test_types_torch_does_not_have_are_refused():
    from tapml_tui.operators import from_numpy

    with pytest.raises(ValueError, match="torch has no dtype"):
        from_numpy(np.zeros(2, ml_dtypes.int4))
