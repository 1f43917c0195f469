"""Cases side by side: the results are those of one case after the other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tapml_tui.engine.commands import Interrupt, Mode, RunCases, RunNodes, SelectCase
from tapml_tui.engine.events import NodeResult, StopReason
from tests import sampling
from tests.engine.numpy_backend import NumpyBackend
from tests.engine.toys import Driver, mlp

CASES = 3


def _results(debugger: Driver) -> list[tuple[object, ...]]:
    found: list[tuple[object, ...]] = []
    for case in range(CASES):
        debugger.do(SelectCase(case))
        nodes = range(len(debugger.engine.graph))
        results = [result for node in nodes if isinstance(result := debugger.engine.result(node), NodeResult)]
        assert len(results) == len(nodes)
        found += [(case, one.node, one.status, one.verdict, one.factor, one.reason) for one in results]
    return found


@pytest.mark.parametrize("mode", list(Mode))
@pytest.mark.parametrize("hands_on", [False, True])
def test_several_cases_give_what_each_gives(tmp_path: Path, mode: Mode, hands_on: bool) -> None:
    """Also where one hands its state to the next, which `check` does not ask for."""
    trace = mlp(cases=CASES, hands_on=hands_on).write(tmp_path / "toy.trace")
    guilty = {trace.graphs[0].node_id(2): lambda outputs: tuple(output * np.float32(1.5) for output in outputs)}

    def backends() -> list[NumpyBackend]:
        target = NumpyBackend("target", faults=guilty, delays=sampling.rng(f"together {mode} {hands_on}"))
        return [NumpyBackend("source"), target]

    with Driver(trace, backends(), mode=mode, reuse=False, run_path=tmp_path / "one.run") as debugger:
        for case in range(CASES):
            debugger.do(SelectCase(case))
            debugger.do(RunNodes())
        expected = _results(debugger)
    from trace_format import open_trace

    again = open_trace(tmp_path / "toy.trace")
    with Driver(again, backends(), mode=mode, reuse=False, run_path=tmp_path / "two.run") as debugger:
        done = debugger.do(RunCases(tuple(range(CASES))))
        assert done.message == f"{CASES} cases executed"
        executed = len(debugger.target.executed)
        assert _results(debugger) == expected
        for case in range(CASES):
            debugger.do(SelectCase(case))
            debugger.do(RunNodes())
        assert len(debugger.target.executed) == executed  # nothing was left to do


def test_they_can_be_stopped_and_a_case_that_there_is_not_is_refused(tmp_path: Path) -> None:
    with Driver(mlp(cases=CASES).write(tmp_path / "toy.trace")) as debugger:
        assert debugger.do(RunCases((0, CASES))).stopped is StopReason.REFUSED
        debugger.target.stopped.clear()
        ticket = debugger.engine.submit(RunCases((0, 1)))
        debugger.do(Interrupt())
        assert debugger.wait(ticket).stopped is StopReason.INTERRUPTED
