from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tapml_tui.backends.protocol import KernelText, State
from tapml_tui.engine import Engine
from tapml_tui.engine.commands import (
    Breakpoint,
    BreakpointKind,
    Describe,
    Mode,
    Retry,
    Rewind,
    RunNodes,
    SelectCase,
    SetBackend,
    SetMode,
    Step,
    ToggleBreakpoint,
    Undo,
    Verb,
)
from tapml_tui.engine.events import Snapshot, StopReason
from tapml_tui.engine.table import BREAKPOINT, STALE
from tests.engine.numpy_backend import Arrays, NumpyBackend, Unsupported
from tests.engine.toys import Driver, Toy, mlp
from trace_format import TraceError, open_trace
from trace_format.model import InputRef, NodeRef


def test_a_healthy_model_passes_step_by_step_and_to_the_end(tmp_path: Path) -> None:
    with Driver(mlp().write(tmp_path / "t.trace")) as driver:
        first = driver.step(Verb.OVER)
        assert first.cursor == 1 and first.counts.passed == 1 and first.stopped is StopReason.STEP
        end = driver.step(Verb.CONTINUE)
        assert end.stopped is StopReason.END and end.cursor == 9
        assert driver.statuses() == ["passed"] * 9 and driver.verdicts() == ["CLEAN"] * 9
        assert driver.target.executed == [driver.engine.graph.node_id(i) for i in range(9)]
        assert driver.source.executed == []
        again = driver.step(Verb.CONTINUE)
        assert again.message == "already at the end" and len(driver.target.executed) == 9
        assert {status.state for status in again.backends} == {State.READY}


def test_a_switch_makes_downstream_stale_and_back_costs_nothing(tmp_path: Path) -> None:
    with Driver(mlp().write(tmp_path / "t.trace")) as driver:
        driver.step(Verb.CONTINUE)
        driver.do(SetBackend(3, 4, "source"))
        assert list(driver.engine.table.flags & STALE) == [0] * 3 + [1] * 6
        assert driver.engine.table.worst(0, 9).side == "*"
        driver.do(Undo())
        assert not (driver.engine.table.flags & STALE).any()
        driver.do(SetBackend(3, 4, "source"))
        count = len(driver.target.executed)
        end = driver.step(Verb.CONTINUE)
        assert "stale nodes computed again: 6" in end.message and driver.source.executed == [
            driver.engine.graph.node_id(3)
        ]
        assert driver.engine.result(3).backend == "source"
        driver.do(SetBackend(3, 4, "target"))
        executed = len(driver.target.executed)
        assert executed > count
        driver.step(Verb.CONTINUE)
        assert len(driver.target.executed) == executed


def test_all_on_the_source_is_answered_from_the_trace(tmp_path: Path) -> None:
    with Driver(mlp().write(tmp_path / "t.trace")) as driver:
        driver.do(SetBackend(0, 9, "source"))
        driver.step(Verb.CONTINUE)
        assert driver.statuses() == ["passed"] * 9
        assert driver.source.executed == driver.target.executed == []


def test_all_on_the_source_can_be_executed_instead(tmp_path: Path) -> None:
    with Driver(mlp().write(tmp_path / "t.trace"), source_from_trace=False) as driver:
        driver.do(SetBackend(0, 9, "source"))
        driver.step(Verb.CONTINUE)
        assert len(driver.source.executed) == 9
        for node in range(9):
            np.testing.assert_array_equal(driver.engine.actual(node, 0), driver.engine.reference(node, 0))


def test_the_guilty_kernel_is_local_and_the_rest_inherits(tmp_path: Path) -> None:
    guilty = "layers.1/aten.add.Tensor#0"
    target = NumpyBackend("target", faults={guilty: lambda right: (right[0] * np.float32(1.5),)})
    with Driver(mlp().write(tmp_path / "t.trace"), (NumpyBackend("source"), target)) as driver:
        stop = driver.step(Verb.CONTINUE)
        assert stop.stopped is StopReason.MISMATCH and stop.cursor == 5
        assert stop.message == f"{guilty}: cosine 1.0000, but every value is 1.5 times the reference"
        end = driver.step(Verb.CONTINUE)
        assert end.stopped is StopReason.END
        assert driver.verdicts()[:5] == ["CLEAN"] * 4 + ["LOCAL"]
        assert set(driver.verdicts()[5:]) <= {"INHERITED", "AMPLIFIED", "HEALED"}
        inherited = driver.engine.result(5)
        assert inherited.live and inherited.isolated and inherited.live[0].passed and inherited.isolated[0].passed
        # The row of the guilty one is found again going back.
        assert driver.step(Verb.BACK_CONTINUE).cursor == 5
        assert driver.step(Verb.BACK_CONTINUE).stopped is StopReason.START


def test_isolated_every_node_stands_alone(tmp_path: Path) -> None:
    guilty = "layers.1/aten.add.Tensor#0"
    target = NumpyBackend("target", faults={guilty: lambda right: (right[0] * np.float32(1.5),)})
    with Driver(mlp().write(tmp_path / "t.trace"), (NumpyBackend("source"), target), mode=Mode.ISOLATED) as driver:
        assert driver.step(Verb.CONTINUE).stopped is StopReason.MISMATCH
        driver.step(Verb.CONTINUE)
        assert driver.statuses() == ["passed"] * 4 + ["failed"] + ["passed"] * 4
        chained = driver.do(SetMode(Mode.CHAINED))
        assert chained.counts.not_run == 9 and chained.cursor == 9
        assert driver.do(SetMode(Mode.ISOLATED)).counts.failed == 1


FOLD_1 = 3, 6  # the nodes of layers.1


def fold_of(driver: Driver, nodes: tuple[int, int]) -> int:
    """The entry of the outermost fold of some nodes."""
    rows = driver.engine.graph.outline
    return next(i for i, row in enumerate(rows) if row["fold"] and (row["start"], row["stop"]) == nodes)


@pytest.mark.parametrize("verb", [Verb.OVER, Verb.OUT, Verb.TO])
def test_a_run_over_many_nodes_stops_at_breakpoints_and_not_at_what_is_wrong(tmp_path: Path, verb: Verb) -> None:
    wrong = "layers.1/aten.add.Tensor#0"  # node 4
    target = NumpyBackend("target", faults={wrong: lambda right: (right[0] * np.float32(1.5),)})
    with Driver(mlp().write(tmp_path / "t.trace"), (NumpyBackend("source"), target)) as driver:
        fold, behind = fold_of(driver, FOLD_1), fold_of(driver, (6, 9))

        def run() -> Snapshot:
            driver.do(Rewind())
            for _ in range(4 if verb is Verb.OUT else 3):
                driver.step(Verb.INTO)
            return driver.do(Step(verb, {Verb.OVER: fold, Verb.TO: behind}.get(verb), folded=True))

        straight = run()
        assert straight.cursor == 6 and straight.stopped is StopReason.STEP
        assert driver.verdicts()[4] == "LOCAL"
        node = Breakpoint(BreakpointKind.NODE, driver.engine.graph.node_id(5))
        driver.do(ToggleBreakpoint(node))
        before = run()
        assert before.cursor == 5 and before.stopped is StopReason.BREAKPOINT
        assert driver.do(Step(Verb.OUT)).cursor == 6
        driver.do(ToggleBreakpoint(node))
        for kind, pattern in ((BreakpointKind.MISMATCH, ""), (BreakpointKind.CONDITION, 'verdict == "LOCAL"')):
            driver.do(ToggleBreakpoint(Breakpoint(kind, pattern)))
            after = run()
            assert after.cursor == 5 and after.stopped is StopReason.BREAKPOINT and wrong in after.message
            driver.do(ToggleBreakpoint(Breakpoint(kind, pattern)))


def test_a_race_is_an_error_not_a_verdict(tmp_path: Path) -> None:
    runs = iter(range(100))
    racy = "layers.0/aten.add.Tensor#0"
    target = NumpyBackend("target", faults={racy: lambda right: (right[0] + next(runs) + 1,)})
    with Driver(mlp().write(tmp_path / "t.trace"), (NumpyBackend("source"), target)) as driver:
        stop = driver.step(Verb.CONTINUE)
        assert stop.stopped is StopReason.ERROR and "differs between two runs" in stop.message
        assert driver.statuses()[1] == "error"


def test_the_run_goes_on_past_what_is_not_supported(tmp_path: Path) -> None:
    def refuse(right: object) -> tuple[np.ndarray, ...]:
        raise Unsupported("no conversion")

    node = "layers.1/aten.add.Tensor#0"
    target = NumpyBackend("target", faults={node: refuse})
    with Driver(mlp().write(tmp_path / "t.trace"), (NumpyBackend("source"), target)) as driver:
        end = driver.step(Verb.CONTINUE)
        assert end.stopped is StopReason.END and end.counts.unsupported == 1 and end.counts.passed == 8
        result = driver.engine.result(4)
        assert result.reason == "no conversion; the source's result is used in its place"
        assert driver.source.executed == [node]
        target.faults.clear()
        assert driver.do(Retry()).counts.passed == 9


def test_breakpoints_stop_before_the_node(tmp_path: Path) -> None:
    with Driver(mlp().write(tmp_path / "t.trace")) as driver:
        driver.do(ToggleBreakpoint(Breakpoint(BreakpointKind.OPERATOR, "aten.tanh*")))
        assert list(driver.engine.table.flags & BREAKPOINT) == [0, 0, BREAKPOINT] * 3
        for cursor in (2, 5, 8):
            stop = driver.step(Verb.CONTINUE)
            assert (stop.cursor, stop.stopped) == (cursor, StopReason.BREAKPOINT)
            assert len(driver.target.executed) == cursor  # nothing is executed past a place where it must stop
        assert driver.step(Verb.BACK_CONTINUE).cursor == 5
        driver.do(ToggleBreakpoint(Breakpoint(BreakpointKind.OPERATOR, "aten.tanh*")))
        assert driver.step(Verb.CONTINUE).stopped is StopReason.END


def test_a_node_may_have_a_kernel_of_its_own(tmp_path: Path) -> None:
    node = "layers.1.attn/aten.matmul.default#0"
    target = NumpyBackend("target", faults={node: lambda right: (right[0] + 1,)})
    target.kernels = {"mended": lambda right: right, "worse": lambda right: (right[0] * 9,)}
    with Driver(mlp().write(tmp_path / "t.trace"), (NumpyBackend("source"), target)) as driver:
        driver.do(RunNodes())
        assert driver.engine.result(3).verdict == "LOCAL"
        driver.do(SetBackend(3, 4, "target", "mended"))
        assert list(np.flatnonzero(driver.engine.table.flags & STALE)) == [3, 4, 5, 6, 7, 8]
        driver.do(RunNodes())
        assert driver.statuses() == ["passed"] * 9
        driver.do(SetBackend(3, 4, "target", "worse"))
        driver.do(RunNodes((3,)))
        assert driver.engine.result(3).verdict == "LOCAL"
        executed = len(target.executed)
        driver.do(Undo())
        driver.do(RunNodes())
        assert driver.statuses() == ["passed"] * 9
        driver.do(SetBackend(0, 9, "target"))  # all of them with the kernels that they share
        driver.do(RunNodes((3,)))
        assert driver.engine.result(3).verdict == "LOCAL"
        assert target.executed[executed:].count(node) <= 1  # what each kernel gave was kept


@pytest.mark.parametrize(
    ("pattern", "cursors"),
    [
        ("layers.1", [3]),
        ("layers.1.mlp", [5]),
        ("layers.?", [0]),
        ("layers.*.attn", [0, 3, 6]),
        ("layers", [0]),
        ("ayers", []),
    ],
)
def test_a_breakpoint_on_a_path_waits_for_its_first_node(tmp_path: Path, pattern: str, cursors: list[int]) -> None:
    with Driver(mlp(layers=11).write(tmp_path / "t.trace")) as driver:
        driver.do(ToggleBreakpoint(Breakpoint(BreakpointKind.PATH, pattern)))
        marked = [int(node) for node in np.flatnonzero(driver.engine.table.flags & BREAKPOINT)]
        assert marked[:3] == cursors
        assert len(marked) == (11 if len(cursors) == 3 else len(cursors))


def test_a_breakpoint_on_the_first_mismatch_stops_where_no_kernel_is_guilty_too(tmp_path: Path) -> None:
    target = NumpyBackend("target", faults={"layers.0.attn/aten.matmul.default#0": lambda right: (right[0] + 1,)})
    with Driver(mlp().write(tmp_path / "t.trace"), (NumpyBackend("source"), target)) as driver:
        assert driver.step(Verb.CONTINUE).stopped is StopReason.MISMATCH
        without = driver.step(Verb.CONTINUE)
        assert "LOCAL" not in driver.verdicts()[1:]
        driver.do(Rewind())
        driver.do(ToggleBreakpoint(Breakpoint(BreakpointKind.MISMATCH)))
        driver.step(Verb.CONTINUE)
        stop = driver.step(Verb.CONTINUE)
        assert (stop.cursor, stop.stopped) == (2, StopReason.BREAKPOINT)
        assert without.cursor > 2


def test_a_breakpoint_on_the_first_nan_stops_after_it(tmp_path: Path) -> None:
    def unfit(right: Arrays) -> Arrays:
        return (np.full_like(right[0], np.nan),)

    target = NumpyBackend("target", faults={"layers.1/aten.add.Tensor#0": unfit})
    with Driver(mlp().write(tmp_path / "t.trace"), (NumpyBackend("source"), target)) as driver:
        driver.do(ToggleBreakpoint(Breakpoint(BreakpointKind.NAN)))
        stop = driver.step(Verb.CONTINUE)
        assert (stop.cursor, stop.stopped) == (5, StopReason.BREAKPOINT)


def test_folds_are_stepped_over_into_and_out_of(tmp_path: Path) -> None:
    with Driver(mlp().write(tmp_path / "t.trace")) as driver:
        outline = driver.engine.graph.outline
        folds = [
            e for e in range(len(outline)) if outline[e]["fold"] and tuple(outline[e][["start", "stop"]]) == (0, 3)
        ]
        layer = folds[-1]
        assert driver.step(Verb.OVER, layer, folded=False).cursor == 1
        assert driver.do(Rewind()).cursor == 0
        assert driver.step(Verb.OVER, layer, folded=True).cursor == 3
        assert driver.step(Verb.BACK, layer, folded=True).cursor == 0
        assert driver.step(Verb.INTO, layer, folded=True).cursor == 1
        assert driver.step(Verb.OUT).cursor == 3
        target = driver.engine.graph.entry_of(7)
        assert driver.step(Verb.TO, target).cursor == 7
        assert "already" in driver.step(Verb.TO, target).message
        refused = driver.step(Verb.TO, layer)
        assert refused.stopped is StopReason.REFUSED and "behind" in refused.message
        assert driver.step(Verb.OVER).cursor == 8
        assert driver.step(Verb.BACK).cursor == 7


def test_edges_are_answered(tmp_path: Path) -> None:
    with Driver(mlp().write(tmp_path / "t.trace")) as driver:
        assert driver.step(Verb.BACK).message == "already at the start"
        assert "no case 2" in driver.do(SelectCase(1)).message
        assert driver.do(Undo()).message == "nothing to undo"
        assert driver.do(Retry()).message == "nothing to retry"
        assert "no backend" in driver.do(SetBackend(0, 1, "nowhere")).message
        assert driver.do(SetBackend(5, 99, "source")).stopped is StopReason.REFUSED
        driver.step(Verb.CONTINUE)
        assert "already at the end" in driver.step(Verb.OVER).message
        driver.do(Describe(0))
        assert any(isinstance(event, KernelText) for event in driver.events)


def test_cases_keep_their_own_results(tmp_path: Path) -> None:
    with Driver(mlp(cases=2).write(tmp_path / "t.trace")) as driver:
        driver.step(Verb.CONTINUE)
        other = driver.do(SelectCase(1))
        assert (other.case, other.cursor, other.counts.passed) == (1, 0, 0)
        driver.step(Verb.CONTINUE)
        assert driver.statuses() == ["passed"] * 9
        assert driver.do(SelectCase(0)).counts.passed == 9


def test_what_will_run_is_announced_once_per_signature(tmp_path: Path) -> None:
    with Driver(mlp(layers=4).write(tmp_path / "t.trace")) as driver:
        driver.step(Verb.OVER)
        assert len(driver.target.prepared) == 3 == len(set(driver.target.prepared))


def test_a_switch_in_the_middle_of_a_run_counts_from_there_on(tmp_path: Path) -> None:
    with Driver(mlp(layers=40).write(tmp_path / "t.trace")) as driver:
        driver.target.stopped.clear()
        running = driver.engine.submit(Step(Verb.CONTINUE))
        switched = driver.engine.submit(SetBackend(60, 120, "source"))
        driver.target.stopped.set()
        assert driver.wait(running).stopped is StopReason.END
        driver.wait(switched)
        assert driver.statuses() == ["passed"] * 120
        assert {driver.engine.result(node).backend for node in range(60, 120)} == {"source"}
        assert not (driver.engine.table.flags & STALE).any()


def test_what_was_sent_ahead_of_a_stop_is_not_executed_again(tmp_path: Path) -> None:
    guilty = "layers.0/aten.add.Tensor#0"
    target = NumpyBackend("target", faults={guilty: lambda right: (right[0] + 1,)})
    with Driver(mlp().write(tmp_path / "t.trace"), (NumpyBackend("source"), target), mode=Mode.ISOLATED) as driver:
        assert driver.step(Verb.CONTINUE).cursor == 2
        driver.step(Verb.CONTINUE)
        assert sorted(target.executed) == sorted([driver.engine.graph.node_id(i) for i in range(9)] + [guilty])


def test_a_session_that_never_started_leaves_nothing_locked(tmp_path: Path) -> None:
    trace = mlp().write(tmp_path / "t.trace")
    for _ in range(2):
        engine = Engine(trace, [NumpyBackend("target")], on_event=lambda event: None)
        assert engine.run_path.name == "session.run"
        engine.close()


def test_a_trace_without_cases_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="no case"):
        Engine(mlp(cases=0).write(tmp_path / "t.trace"), [], on_event=lambda event: None)


@pytest.mark.parametrize("mode", Mode)
def test_another_order_among_equals_is_no_mismatch(tmp_path: Path, mode: Mode) -> None:
    toy = Toy()
    order = toy.call("aten.sort.default", toy.call("aten.relu.default", InputRef(0)))
    toy.call("aten.add.Tensor", NodeRef(order.node, 1), 1)
    with Driver(toy.write(tmp_path / "t.trace"), mode=mode) as driver:
        assert driver.step(Verb.CONTINUE).counts.passed == 3
        assert driver.engine.result(1).outputs[1].comparison.max_abs > 0
        if mode is Mode.CHAINED:
            assert "source's is handed on" in driver.engine.result(1).reason
            np.testing.assert_array_equal(driver.engine.actual(1, 1), driver.engine.reference(1, 1))


def test_a_value_of_the_wrong_type_is_not_handed_on(tmp_path: Path) -> None:
    wrong = "layers.0/aten.add.Tensor#0"
    target = NumpyBackend("target", faults={wrong: lambda right: (right[0].astype(np.float64),)})
    with Driver(mlp().write(tmp_path / "t.trace"), (NumpyBackend("source"), target)) as driver:
        driver.do(RunNodes())
        assert driver.statuses() == ["passed", "failed"] + ["passed"] * 7
        assert driver.verdicts() == ["CLEAN", "LOCAL"] + ["CLEAN"] * 7
        result = driver.engine.result(1)
        assert "wrong dtype: float64" in result.reason and "source's result is used in its place" in result.reason


def test_a_node_placed_on_the_reference_hands_the_recorded_value_on(tmp_path: Path) -> None:
    with Driver(mlp().write(tmp_path / "t.trace")) as driver:
        driver.do(SetBackend(0, 3, "reference"))
        counts = driver.step(Verb.CONTINUE).counts
        assert (counts.not_run, counts.passed) == (3, 6)
        np.testing.assert_array_equal(driver.engine.actual(2, 0), driver.engine.reference(2, 0))


@pytest.mark.parametrize("mode", Mode)
def test_what_cannot_be_compared_is_not_run_with_a_reason(tmp_path: Path, mode: Mode) -> None:
    edits = {1: {"reproducible": False}, 4: {"tensor": None, "note": "left out"}}
    toy = mlp(edit=lambda ref, value: value._replace(**edits.get(ref.node, {})))
    with Driver(toy.write(tmp_path / "t.trace"), mode=mode) as driver:
        counts = driver.do(RunNodes()).counts
        assert "other bits each time" in driver.engine.result(1).reason
        assert "left out" in driver.engine.result(4).reason
        # Isolated, the node that reads what was left out has no input; chained, its producer computes it.
        assert (counts.passed, counts.not_run) == ((6, 3) if mode is Mode.ISOLATED else (7, 2))


@pytest.mark.parametrize("mode", Mode)
def test_a_damaged_trace_costs_only_the_nodes_that_are_damaged(tmp_path: Path, mode: Mode) -> None:
    path = tmp_path / "t.trace"
    trace = mlp().write(path)
    block = trace.block(trace.value(0, NodeRef(4)))
    assert block is not None
    trace.close()
    raw = bytearray(path.read_bytes())
    raw[block.offset] ^= 0xFF  # the recorded value of a node
    at = raw.find(b"layers.2/aten.add.Tensor#0")  # and the record of another
    raw[at] ^= 0x01
    path.write_bytes(raw)
    with Driver(open_trace(path), mode=mode) as driver:
        counts = driver.do(RunNodes()).counts
        assert counts.passed >= 4 and counts.failed == counts.error == 0 and counts.not_run >= 2
        assert "damaged" in driver.engine.result(4).reason
        assert driver.step(Verb.CONTINUE).stopped is StopReason.END


def test_a_long_run_announces_what_comes_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tapml_tui.engine.announcing.PREPARED_AHEAD", 8)
    toy = Toy()
    for number in range(40):
        toy.call("aten.add.Tensor", InputRef(0), number)
    with Driver(toy.write(tmp_path / "t.trace")) as driver:
        driver.step(Verb.OVER)
        assert len(driver.target.prepared) == 8
        driver.step(Verb.CONTINUE)
        assert len(driver.target.prepared) == 40 == len(set(driver.target.prepared))


@pytest.mark.parametrize("how", ["removed", "replaced"])
def test_a_trace_that_goes_away_stops_the_run_and_says_so(tmp_path: Path, how: str) -> None:
    with Driver(mlp().write(tmp_path / "t.trace")) as driver:
        driver.step(Verb.OVER)
        path = tmp_path / "t.trace"
        if how == "replaced":
            mlp(2).write(tmp_path / "other.trace").close()
            (tmp_path / "other.trace").replace(path)
        else:
            path.unlink()
        stopped = driver.step(Verb.CONTINUE)
        assert stopped.stopped is StopReason.ERROR and stopped.cursor == 1
        assert "removed or replaced while it was open" in stopped.message
        assert driver.statuses()[0] == "passed"
