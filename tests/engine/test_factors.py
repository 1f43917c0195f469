"""Which products a small output sums, by what was recorded."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tapml_tui.compare.noise import FLOAT32
from tapml_tui.compare.sums import straying
from tapml_tui.engine.factors import straying_of
from tapml_tui.engine.units import Binding, bind
from tapml_tui.engine.values import References
from tests.engine.toys import Toy
from trace_format.model import InputRef, NodeRef


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
            found.append(straying_of(references, 0, binding, value))
        first, second, third = found
        x, y = (references.array(trace.value(0, InputRef(i))) for i in range(2))
        assert x is not None and y is not None
        np.testing.assert_array_equal(first, straying(x, y.T, FLOAT32))
        assert second is None
        h = references.array(trace.value(0, NodeRef(0, 0)))
        assert h is not None
        np.testing.assert_array_equal(third, straying(h, h.T, FLOAT32))
