"""Chained, the noise of a whole model may hide a kernel's error: then the source on the same inputs decides."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tapml_tui.engine.commands import RunNodes, SetBackend, Verb
from tapml_tui.engine.events import StopReason
from tests.engine.numpy_backend import Arrays, NumpyBackend
from tests.engine.toys import Driver, Toy, mlp
from trace_format.model import Floor, InputRef, NodeRef, Value

GUILTY = "layers.1/aten.add.Tensor#0"
PLACE = 4
NODES = 9


def noisy(ref: NodeRef, value: Value) -> Value:
    """A model whose noise is a thousand times that of a kernel."""
    return value._replace(chained=Floor(1e-3, 1e-4))


def a_little_off(right: Arrays) -> Arrays:
    return (right[0] + np.float32(1e-4),)


def otherwise_rounded(right: Arrays) -> Arrays:
    return (np.nextafter(right[0], np.float32(0)),)


def test_a_kernel_that_is_wrong_by_less_than_the_noise_of_the_model_is_local(tmp_path: Path) -> None:
    # The first node rounds otherwise, so that nothing behind it gets the recorded inputs.
    target = NumpyBackend(
        "target", faults={"layers.0.attn/aten.matmul.default#0": otherwise_rounded, GUILTY: a_little_off}
    )
    with Driver(mlp(edit=noisy).write(tmp_path / "t.trace"), (NumpyBackend("source"), target)) as driver:
        assert driver.step(Verb.CONTINUE).stopped is StopReason.MISMATCH
        driver.do(RunNodes())
        result = driver.engine.result(PLACE)
        assert (result.status, result.verdict) == ("failed", "LOCAL")
        assert "against the source on its real inputs" in result.reason
        assert [one.passed for one in result.live] == [False]
        assert result.factor == result.live[0].factor > result.outputs[0].comparison.factor
        # What it hands on is within the noise: nobody inherits anything, nobody heals.
        assert driver.statuses() == ["passed"] * PLACE + ["failed"] + ["passed"] * (NODES - PLACE - 1)
        assert driver.verdicts() == ["CLEAN"] * PLACE + ["LOCAL"] + ["CLEAN"] * (NODES - PLACE - 1)


@pytest.mark.parametrize("seed", range(3))
def test_healthy_kernels_stay_clean_in_the_grey_zone(seed: int, tmp_path: Path) -> None:
    with Driver(mlp(edit=noisy, seed=seed).write(tmp_path / "t.trace")) as driver:
        driver.target.faults["layers.0.attn/aten.matmul.default#0"] = otherwise_rounded
        driver.target.faults["layers.0/aten.add.Tensor#0"] = a_little_off
        driver.do(RunNodes())
        assert driver.verdicts() == ["CLEAN", "LOCAL"] + ["CLEAN"] * (NODES - 2)
        assert any(driver.engine.result(node).live for node in range(2, NODES))
        assert all(one.passed for node in range(2, NODES) for one in driver.engine.result(node).live)


def test_the_source_is_asked_only_where_the_answer_matters(tmp_path: Path) -> None:
    with Driver(mlp(edit=noisy).write(tmp_path / "t.trace")) as driver:
        driver.do(RunNodes())
        assert driver.source.executed == []  # every value is the recorded one
        assert driver.statuses() == ["passed"] * NODES


@pytest.mark.parametrize("guilty", [True, False])
def test_where_the_source_cannot_be_asked_the_recorded_inputs_tell(guilty: bool, tmp_path: Path) -> None:
    toy = Toy(edit=noisy)
    first = toy.call("aten.matmul.default", InputRef(0), InputRef(1))
    toy.call("aten.tanh.default", first)
    source, target = NumpyBackend("source"), NumpyBackend("target")
    source.operators = {op: how for op, how in source.operators.items() if op != "aten.tanh.default"}
    target.faults["/aten.matmul.default#0"] = a_little_off
    if guilty:
        target.faults["/aten.tanh.default#0"] = a_little_off
    with Driver(toy.write(tmp_path / "t.trace"), (source, target)) as driver:
        driver.do(RunNodes())
        result = driver.engine.result(1)
        if guilty:
            assert (result.status, result.verdict) == ("failed", "LOCAL")
            assert result.reason.startswith(f"on the recorded inputs: {result.factor:.3g} x the floor")
        else:
            assert (result.status, result.verdict) == ("passed", "HEALED")  # what it was given is wrong
            assert "the source could not be asked" in result.reason and result.isolated


def test_a_node_on_the_source_is_never_local(tmp_path: Path) -> None:
    with Driver(mlp(edit=noisy).write(tmp_path / "t.trace")) as driver:
        driver.target.faults["layers.0.attn/aten.matmul.default#0"] = otherwise_rounded
        driver.source.faults[GUILTY] = a_little_off
        driver.do(SetBackend(PLACE, PLACE + 1, "source"))
        driver.do(RunNodes())
        assert driver.engine.result(PLACE).verdict == "CLEAN"


def blown_up(right: Arrays) -> Arrays:
    """So large that some squares overflow, here and there in another order."""
    wrong = right[0].copy()
    wrong[0] = np.float32(3e38)
    return (wrong,)


def test_where_the_source_gives_nan_or_inf_on_what_was_blown_up_nobody_is_to_blame(tmp_path: Path) -> None:
    def other_way(right: Arrays) -> Arrays:
        return (np.where(np.isfinite(right[0]), right[0], np.float32(0)),)

    with Driver(mlp(edit=noisy).write(tmp_path / "t.trace")) as driver:
        driver.target.faults.update(
            {"layers.0/aten.add.Tensor#0": blown_up, "layers.1.attn/aten.matmul.default#0": other_way}
        )
        driver.source.operators = driver.source.operators | {
            "aten.tanh.default": lambda a: (a,)  # so that it stays large
        }
        driver.target.operators = driver.target.operators | {"aten.tanh.default": lambda a: (a,)}
        driver.do(RunNodes())
        assert driver.engine.result(1).verdict == "LOCAL"
        matmul = driver.engine.result(3)
        assert (matmul.status, matmul.verdict) == ("failed", "INHERITED")


def test_an_infinity_of_its_own_is_local_all_the_same(tmp_path: Path) -> None:
    def infinite(right: Arrays) -> Arrays:
        wrong = right[0].copy()
        wrong[2, 3] = np.inf
        return (wrong,)

    with Driver(mlp(edit=noisy).write(tmp_path / "t.trace")) as driver:
        driver.target.faults.update({"layers.0/aten.add.Tensor#0": a_little_off, GUILTY: infinite})
        driver.do(RunNodes())
        assert driver.engine.result(PLACE).verdict == "LOCAL"
