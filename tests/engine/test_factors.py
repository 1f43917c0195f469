"""Which products a small output sums, by what was recorded."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from tapml_tui.compare.chunks import rms
from tapml_tui.compare.noise import FLOAT32, noise_of
from tapml_tui.compare.sums import straying
from tapml_tui.engine.commands import Mode, RunNodes
from tapml_tui.engine.factors import straying_of
from tapml_tui.engine.units import Binding, bind
from tapml_tui.engine.values import References
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
            found.append(straying_of(binding, [references.get(0, ref) for ref in binding.operands], value))
        first, second, third = found
        x, y = (references.array(trace.value(0, InputRef(i))) for i in range(2))
        assert x is not None and y is not None
        np.testing.assert_array_equal(first, straying(x, y.T, FLOAT32))
        assert second is None
        h = references.array(trace.value(0, NodeRef(0, 0)))
        assert h is not None
        np.testing.assert_array_equal(third, straying(h, h.T, FLOAT32))


def as_exact_as_can_be(ref: NodeRef, value: Value) -> Value:
    """The source errs by its last rounding alone."""
    return replace(value, isolated=Floor(1e-6, 1e-8, "float64", 0.5, 0.0))


def test_an_element_of_small_terms_is_held_to_them(tmp_path: Path) -> None:
    toy = Toy(edit=as_exact_as_can_be)
    toy.call("aten.matmul.default", InputRef(0), InputRef(1))
    with Driver(toy.write(tmp_path / "t.trace"), mode=Mode.ISOLATED) as driver:
        trace = driver.engine.trace
        binding, reference = bind(trace, 0, 0), driver.engine.reference(0, 0)
        assert isinstance(binding, Binding) and reference is not None
        recorded = [References(trace).get(0, ref) for ref in binding.operands]
        strays = straying_of(binding, recorded, reference)
        assert strays is not None
        ulp = np.spacing(np.abs(reference))
        rule = noise_of(reference.dtype, binding.values[0].isolated, rms(reference), terms=8.0, functions=False)
        usual = rule.allowance(np.abs(reference.astype(np.float64)))
        at = np.unravel_index((usual / (strays + ulp)).argmax(), reference.shape)
        assert usual[at] > 1.5 * (strays[at] + ulp[at])

        def off(right: Arrays) -> Arrays:
            wrong = right[0].copy()
            wrong[at] += 1.3 * (strays[at] + ulp[at])
            return (wrong,)

        driver.target.faults["/aten.matmul.default#0"] = off
        driver.do(RunNodes())
        result = driver.engine.result(0)
        assert result is not None and result.status == "failed" and 1.0 < result.factor < 2.0
        assert result.outputs[0].comparison.worst == at and result.outputs[0].comparison.outside == 1
