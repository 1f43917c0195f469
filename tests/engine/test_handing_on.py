"""State that one case hands to the next: in a chained run it is what the earlier case computed."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tapml_tui.engine.commands import Mode, RunNodes, SelectCase, SetBackend, SetMode, Verb
from tapml_tui.engine.table import STALE
from tests.engine.numpy_backend import Arrays, NumpyBackend
from tests.engine.toys import Driver, mlp
from trace_format import Trace

LAST = "layers.2.mlp/aten.tanh.default#0"
NODES = 9


def state_trace(folder: Path, cases: int = 3) -> Trace:
    return mlp(cases=cases, hands_on=True).write(folder / "t.trace")


def halved(right: Arrays) -> Arrays:
    return (right[0] / 2,)


def test_a_healthy_target_stays_healthy_from_case_to_case(tmp_path: Path) -> None:
    with Driver(state_trace(tmp_path)) as driver:
        for case in range(3):
            driver.do(SelectCase(case))
            driver.do(RunNodes())
            assert driver.statuses() == ["passed"] * NODES
            assert driver.verdicts() == ["CLEAN"] * NODES


def test_a_case_gets_what_the_case_before_really_computed(tmp_path: Path) -> None:
    target = NumpyBackend("target", faults={LAST: halved})
    with Driver(state_trace(tmp_path), (NumpyBackend("source"), target)) as driver:
        driver.do(RunNodes())
        wrong = driver.engine.actual(NODES - 1, 0)
        target.faults.clear()  # what follows is computed right, from a state that is wrong
        driver.do(SelectCase(1))
        assert driver.step(Verb.OVER).cursor == 1
        (given, _) = driver.engine.inputs(0)
        np.testing.assert_array_equal(given.actual, wrong)
        assert not np.array_equal(given.reference, wrong)
        assert driver.engine.result(0).verdict == "INHERITED"
        driver.do(SetMode(Mode.ISOLATED))
        driver.do(RunNodes())
        assert driver.statuses() == ["passed"] * NODES


def test_what_an_earlier_case_must_compute_is_computed_first(tmp_path: Path) -> None:
    with Driver(state_trace(tmp_path)) as driver:
        driver.do(SelectCase(2))
        driver.step(Verb.OVER)
        assert len(driver.target.executed) == 2 * NODES + 1
        assert driver.do(SelectCase(1)).counts.passed == NODES


def test_a_switch_makes_the_later_cases_stale(tmp_path: Path) -> None:
    with Driver(state_trace(tmp_path)) as driver:
        for case in range(3):
            driver.do(SelectCase(case))
            driver.do(RunNodes())
        driver.do(SetBackend(NODES - 1, NODES, "source"))
        assert driver.engine.table.flags[0] & STALE
        driver.do(RunNodes())
        assert not (driver.engine.table.flags & STALE).any()
        driver.do(SelectCase(0))
        assert not (driver.engine.table.flags & STALE).any()
