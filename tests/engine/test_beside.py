"""Several targets beside each other: each node is judged on all of them, wherever it is placed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tapml_tui.compare.result import Status, Verdict
from tapml_tui.engine.beside import conclusion, is_wrong
from tapml_tui.engine.commands import Mode, RunNodes, SetBackend, SetBeside, Verb
from tapml_tui.engine.events import NodeResult
from tapml_tui.engine.table import STATUSES, side_letters
from tests.engine.numpy_backend import Arrays, NumpyBackend
from tests.engine.toys import Driver, mlp

BOARD, PHONE = "target:board", "target:phone"


def _wrong(outputs: Arrays) -> Arrays:
    return tuple(output * np.float32(1.5) for output in outputs)


def _debugger(folder: Path, *, on_phone: int, everywhere: int, **options: object) -> Driver:
    trace = mlp().write(folder / "toy.trace")
    graph = trace.graphs[0]
    here = {graph.node_id(everywhere): _wrong}
    backends = [
        NumpyBackend("source"),
        NumpyBackend(BOARD, faults=here),
        NumpyBackend(PHONE, faults={**here, graph.node_id(on_phone): _wrong}),
    ]
    return Driver(trace, backends, **options)


@pytest.mark.parametrize("mode", list(Mode))
def test_a_kernel_is_judged_on_each(tmp_path: Path, mode: Mode) -> None:
    with _debugger(tmp_path, on_phone=4, everywhere=2, mode=mode) as debugger:
        engine = debugger.engine
        assert engine.targets == (BOARD, PHONE)
        debugger.do(RunNodes())
        said = {}
        for node in range(len(engine.graph)):
            results = engine.beside(node)
            assert [one.backend for one in results] == [BOARD, PHONE]
            said[node] = conclusion({one.backend: is_wrong(one) for one in results})
            for row, one in enumerate(results):
                assert STATUSES[engine.table.beside_status[row, node]] is one.status
                assert engine.table.beside_factor[row, node] == pytest.approx(one.factor)
        assert said.pop(2).startswith(f"wrong on all: {BOARD}, {PHONE}.")
        assert said.pop(4).startswith(f"wrong on {PHONE}, right on {BOARD}: its driver")
        assert set(said.values()) == {""}
        assert engine.table.beside_worst(1, 3, 6)[0] is Status.FAILED
        if mode is Mode.ISOLATED:
            assert engine.table.beside_worst(0, 3, 6)[0] is Status.PASSED


def test_where_it_is_placed_changes_nothing_beside_it(tmp_path: Path) -> None:
    with _debugger(tmp_path, on_phone=4, everywhere=2, mode=Mode.ISOLATED) as debugger:
        debugger.do(RunNodes())
        before = [engine_results.status for node in range(6) for engine_results in debugger.engine.beside(node)]
        for backend in ("source", PHONE):
            debugger.do(SetBackend(0, 6, backend))
            debugger.do(RunNodes())
            assert [one.status for node in range(6) for one in debugger.engine.beside(node)] == before


def test_it_can_be_turned_off_and_one_target_has_nothing_beside_it(tmp_path: Path) -> None:
    with _debugger(tmp_path, on_phone=4, everywhere=2) as debugger:
        debugger.do(SetBeside(on=False))
        debugger.step(Verb.INTO)
        assert [one.backend for one in debugger.engine.beside(0)] == [BOARD]
        assert np.isnan(debugger.engine.table.beside_worst(1, 0, 3)[1])
    with Driver(mlp().write(tmp_path / "other.trace")) as debugger:
        debugger.step(Verb.INTO)
        assert debugger.engine.targets == debugger.engine.beside(0) == ()
        assert debugger.engine.table.beside_status.shape[0] == 0


def test_letters_tell_targets_apart() -> None:
    assert side_letters(("source", "target", "reference")) == ("S", "T", "R")
    assert side_letters(("source", "target:pixel8", "target:llvm", "reference")) == ("S", "P", "L", "R")
    assert side_letters(("source", "target:llvm", "target:llvm#2", "reference")) == ("S", "1", "2", "R")
    assert side_letters(("source", "target:samsung", "target:rocm", "reference")) == ("S", "1", "2", "R")


def test_who_inherits_an_error_is_not_wrong() -> None:
    def result(status: Status, verdict: Verdict = Verdict.NONE) -> NodeResult:
        return NodeResult(0, BOARD, status, verdict)

    assert is_wrong(result(Status.FAILED))
    assert is_wrong(result(Status.FAILED, Verdict.LOCAL))
    assert is_wrong(result(Status.FAILED, Verdict.INHERITED)) is False
    assert is_wrong(result(Status.PASSED)) is False
    assert is_wrong(result(Status.UNSUPPORTED)) is None
    assert conclusion({"a": True, "b": None}) == ""
    assert conclusion({"a": False, "b": False}) == ""
    assert conclusion({"a": True, "b": True, "c": False}).startswith("wrong on a, b, right on c: their drivers")
