"""A target that hands an input on computes nothing: which is right where the source hands it on as well."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tapml_tui.engine.commands import Mode, RunNodes
from tests.engine.numpy_backend import OPERATORS, Arrays, NumpyBackend
from tests.engine.toys import Driver, Toy
from trace_format.model import InputRef


def run(folder: Path, mode: Mode, *, fault: bool = False, **operators: object) -> Driver:
    toy = Toy()
    doubled = toy.call("aten.add.Tensor", InputRef(0), InputRef(0))
    copied = toy.call("aten.clone.default", doubled)
    toy.call("aten.tanh.default", copied)
    trace = toy.write(folder / "t.trace")
    wrong = {trace.graphs[0].node_id(0): lambda right: tuple(2 * one for one in right)} if fault else {}
    chosen = OPERATORS | {f"aten.{name}.default": do for name, do in operators.items()}
    target = NumpyBackend("target", chosen, faults=wrong, identities=True)  # type: ignore[arg-type]
    driver = Driver(trace, (NumpyBackend("source"), target), mode=mode)
    driver.do(RunNodes())
    return driver


def handed_on(a: np.ndarray) -> Arrays:
    return (a,)


@pytest.mark.parametrize("mode", Mode)
def test_a_copy_that_is_none_is_not_judged(tmp_path: Path, mode: Mode) -> None:
    with run(tmp_path, mode, clone=handed_on) as driver:
        assert driver.statuses() == ["passed", "not_run", "passed"]
        assert driver.engine.result(1).reason == "hands its input on: no kernel, nothing to judge"


def test_nor_is_it_behind_a_fault(tmp_path: Path) -> None:
    with run(tmp_path, Mode.CHAINED, fault=True, clone=handed_on) as driver:
        assert driver.verdicts() == ["LOCAL", "", "INHERITED"]
        assert driver.statuses()[1] == "not_run"


def test_a_function_that_hands_its_input_on_is_wrong(tmp_path: Path) -> None:
    for mode, verdicts in ((Mode.ISOLATED, ["", "", ""]), (Mode.CHAINED, ["CLEAN", "", "LOCAL"])):
        (folder := tmp_path / mode).mkdir()
        with run(folder, mode, clone=handed_on, tanh=handed_on) as driver:
            assert driver.statuses() == ["passed", "not_run", "failed"]
            assert driver.verdicts() == verdicts


def test_behind_a_fault_it_is_guilty_too(tmp_path: Path) -> None:
    with run(tmp_path, Mode.CHAINED, fault=True, tanh=handed_on) as driver:
        assert driver.verdicts()[2] == "LOCAL"
