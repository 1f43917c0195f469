"""What an RPC session holds stays what it is, whatever else is let go of."""

from __future__ import annotations

import gc
from pathlib import Path

import numpy as np
import pytest

from tests.backends.servers import KEY, own_server

pytestmark = [pytest.mark.torch, pytest.mark.tvm]


@pytest.fixture(scope="module")
def reshaping(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library whose functions give their input in another shape: TVM computes nothing for it."""
    import tvm
    from tvm import relax

    block = relax.BlockBuilder()
    for name, give in (
        ("reshape", lambda x: relax.op.reshape(x, (32, 32))),
        ("unsqueeze", lambda x: relax.op.expand_dims(x, 0)),
        ("expand", lambda x: relax.op.broadcast_to(x, (1, 1, 1024))),
    ):
        x = relax.Var("x", relax.TensorType((1024,), "float32"))
        with block.function(name, [x]):
            with block.dataflow():
                result = block.emit_output(block.emit(give(x)))
            block.emit_func_output(result)
    library = tmp_path_factory.mktemp("reshaping") / "reshaping.so"
    tvm.compile(block.get(), target="llvm").export_library(str(library))
    return library


@pytest.mark.parametrize("careful", [False, True])
@pytest.mark.parametrize("function", ["reshape", "unsqueeze", "expand"])
def test_what_lies_in_the_memory_of_an_input_outlives_it(reshaping: Path, function: str, careful: bool) -> None:
    from tapml_tui.backends.remote import Session, fetch

    values = np.arange(1024, dtype=np.float32)
    with own_server() as port:
        session = Session({"device": "cpu", "tracker": None, "address": ("127.0.0.1", port), "key": KEY})
        given = session.put(values, "float32")
        (result,) = session.call(str(reshaping), function, [given], 1, careful=careful)
        (again,) = session.call(str(reshaping), "reshape", [session.put(values, "float32")], 1, careful=careful)
        del given
        gc.collect()
        others = [session.put(np.full(1024, -1, np.float32), "float32") for _ in range(50)]
        assert np.array_equal(fetch(result, values.nbytes).reshape(-1), values)
        assert np.array_equal(fetch(again, values.nbytes).reshape(-1), values)
        assert len(others) == 50
