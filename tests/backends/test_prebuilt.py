"""A library that somebody else compiled, as it is used instead of compiling."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tapml_tui.backends.launch import TargetOptions, make_backends
from tapml_tui.backends.prebuilt import names_of
from tapml_tui.backends.protocol import Failed
from tests.backends.driver import Driver, unary

X = np.linspace(-1, 1, 8, dtype=np.float32)
GELU = unary("aten.gelu.default", X)


def test_names_go_from_the_particular_to_the_general() -> None:
    names = names_of(GELU, "layers.0.mlp/aten.gelu.default#0")
    assert names[1:] == ["layers_0_mlp_aten_gelu_default_0", "aten_gelu_default", "gelu"]
    assert names[0] == f"unit_{GELU.signature}"


@pytest.mark.tvm
def test_functions_and_kernels_of_a_library(tmp_path: Path) -> None:
    """A Relax function by the node's name, a PrimFunc by the operator's; what is in neither is unsupported."""
    import tvm
    from tvm import relax
    from tvm.script import tirx as T

    @T.prim_func(s_tir=True)
    def neg(x: T.Buffer((8,), "float32"), y: T.Buffer((8,), "float32")):  # type: ignore[no-untyped-def]
        T.func_attr({"global_symbol": "neg"})
        for i in range(8):
            with T.sblock("neg"):
                v = T.axis.spatial(8, i)
                y[v] = T.float32(100) - x[v]  # deliberately not what torch gives

    block = relax.BlockBuilder()
    x = relax.Var("x", relax.TensorType((8,), "float32"))
    with block.function("layers_0_aten_gelu_default_0", [x]):
        with block.dataflow():
            out = block.emit_output(block.emit(relax.op.add(x, relax.const(np.float32(7)))))
        block.emit_func_output(out)
    module = block.get()
    module["neg"] = neg
    library = tmp_path / "model.so"
    tvm.compile(module, target=tvm.target.Target("llvm")).export_library(str(library))

    driver = Driver(make_backends(TargetOptions(lib=str(library)), state_dir=tmp_path)[1], tmp_path)
    try:
        (gelu,) = driver.outputs(GELU, X, label="layers.0/aten.gelu.default#0")
        np.testing.assert_allclose(gelu, X + 7)
        (negated,) = driver.outputs(unary("aten.neg.default", X), X, label="layers.1/aten.neg.default#0")
        np.testing.assert_allclose(negated, 100 - X)
        reply = driver.run(unary("aten.cos.default", X), X)
        assert isinstance(reply, Failed)
        assert reply.unsupported
        assert "aten_cos_default" in reply.reason
    finally:
        driver.backend.close()


def test_a_library_that_is_not_there(tmp_path: Path) -> None:
    driver = Driver(make_backends(TargetOptions(lib=str(tmp_path / "none.so")), state_dir=tmp_path)[1], tmp_path)
    try:
        reply = driver.run(GELU, X)
        assert isinstance(reply, Failed)
        assert "--lib" in reply.reason
    finally:
        driver.backend.close()
