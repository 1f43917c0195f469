"""The answer, blame, migration and forced values, through the engine, with two sides in numpy."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tapml_tui.engine.blame import most_runs
from tapml_tui.engine.commands import (
    Breakpoint,
    BreakpointKind,
    FindBlame,
    Force,
    Interrupt,
    Migrate,
    RunNodes,
    SelectCase,
    SetBackend,
    SetNote,
    SetOutputKind,
    Step,
    ToggleBreakpoint,
    Undo,
    Verb,
)
from tapml_tui.engine.end_to_end import Kind
from tapml_tui.engine.events import StopReason
from tapml_tui.engine.ledger import Ledger, Migration
from tests.engine.numpy_backend import OPERATORS, Arrays, NumpyBackend
from tests.engine.toys import Driver, mlp
from trace_format.model import NodeRef


def wrong(results: Arrays) -> Arrays:
    return tuple(result * np.float32(1.5) for result in results)


def driver_with(path: Path, *faulty: int, layers: int = 20, **options: object) -> tuple[Driver, list[str]]:
    trace = mlp(layers).write(path / "t.trace")
    names = [trace.graphs[0].node_id(node) for node in faulty]
    backends = (NumpyBackend("source"), NumpyBackend("target", faults=dict.fromkeys(names, wrong)))
    return Driver(trace, backends, **options), names


def test_the_answer_is_there_when_its_outputs_are(tmp_path: Path) -> None:
    with driver_with(tmp_path)[0] as driver:
        assert driver.engine.snapshot.answer is None
        answer = driver.do(RunNodes()).answer
        assert answer is not None
        assert answer.passed
        assert not answer.stale
        assert [output.kind for output in answer.outputs] == [Kind.TENSOR]


def test_the_answer_follows_a_switch(tmp_path: Path) -> None:
    driver, _ = driver_with(tmp_path, 7)
    with driver:
        answer = driver.do(RunNodes()).answer
        assert answer is not None
        assert answer.passed is False
        assert "x floor" in answer.reason
        answer = driver.do(SetBackend(7, 8, "source")).answer
        assert answer is not None
        assert answer.stale
        answer = driver.do(RunNodes()).answer
        assert answer is not None
        assert answer.passed
        assert not answer.stale


def test_an_output_is_judged_as_what_the_user_says(tmp_path: Path) -> None:
    with driver_with(tmp_path)[0] as driver:
        driver.do(RunNodes())
        answer = driver.do(SetOutputKind(0, "logits")).answer
        assert answer is not None
        assert [measure.name for measure in answer.outputs[0].measures] == ["top-1", "top-5", "KL"]
        assert driver.do(SetOutputKind(0, "poem")).stopped is StopReason.REFUSED
        assert driver.do(SetOutputKind(1, "logits")).stopped is StopReason.REFUSED


@pytest.mark.parametrize("run_first", [True, False])
@pytest.mark.parametrize("faulty", [(31,), (4, 5), (0, 59)])
def test_blame_finds_who_is_guilty(tmp_path: Path, run_first: bool, faulty: tuple[int, ...]) -> None:
    driver, names = driver_with(tmp_path, *faulty)
    with driver:
        if run_first:
            driver.do(RunNodes())
        report = driver.do(FindBlame()).blame
        assert report is not None
        assert {name for cause in report.causes for name in cause} <= set(names)
        assert report.before.passed is False
        assert all(answer.passed is False for answer in report.alone)
        assert report.without is not None
        assert report.without.passed
        assert report.blame.runs <= most_runs(len(report.blame.guilty), 60)
        words = "each of these" if len(report.causes) > 1 else "this" if len(report.causes[0]) == 1 else "these"
        assert f": {words} alone on the target" in report.sentence


def test_nothing_to_blame_is_said(tmp_path: Path) -> None:
    with driver_with(tmp_path)[0] as driver:
        report = driver.do(FindBlame()).blame
        assert report is not None
        assert report.sentence.startswith("nothing to blame")


def test_blame_executes_only_what_a_switch_changes(tmp_path: Path) -> None:
    driver, _ = driver_with(tmp_path, 58, layers=40)
    with driver:
        driver.do(RunNodes())
        before = len(driver.source.executed) + len(driver.target.executed)
        driver.do(FindBlame())
        executed = len(driver.source.executed) + len(driver.target.executed) - before
        assert executed < 4 * 120, "with a LOCAL verdict as a hint: a few runs downstream of it"


def test_blame_changes_nothing_of_the_session(tmp_path: Path) -> None:
    driver, _ = driver_with(tmp_path, 31)
    with driver:
        driver.do(RunNodes())
        statuses, verdicts = driver.statuses(), driver.verdicts()
        driver.do(FindBlame())
        assert (driver.statuses(), driver.verdicts()) == (statuses, verdicts)
        assert not driver.engine.table.flags.any()


def test_migration_blocks_the_signature_that_is_wrong(tmp_path: Path) -> None:
    driver, names = driver_with(tmp_path, 5, layers=3, run_path=tmp_path / "a.run")
    with driver:
        done = driver.do(Migrate())
        assert "2 of 3 signatures migrated, 1 stay on the source; the answer holds" in done.message
        blocked = [entry for entry in done.migrated if entry.status is Migration.BLOCKED]
        assert [entry.op for entry in blocked] == [driver.engine.graph.op(5)]
        assert names[0] in blocked[0].reason
        placed = {driver.engine.graph.op(node): int(driver.engine.table.backend[node]) for node in range(9)}
        assert list(placed.values()) == [1, 1, 0]
        assert driver.do(Undo()).stopped is StopReason.STEP


def test_a_second_migration_redoes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.run"
    driver, _ = driver_with(tmp_path, 5, layers=3, run_path=path)
    with driver:
        for backend in (driver.source, driver.target):
            backend.fingerprint = "v1"
        first = driver.do(Migrate()).migrated
        executed = len(driver.target.executed)
        assert driver.do(Migrate()).migrated == first
        assert driver.target.executed[executed:] == []
        driver.do(Migrate(again=True))
        assert len(driver.target.executed) > executed


def test_a_pair_that_is_harmless_apart_is_found(tmp_path: Path) -> None:
    """One kernel is off by the last bit, another right on the recorded inputs alone."""
    trace = mlp(4).write(tmp_path / "t.trace")
    recorded = trace.array(trace.value(0, NodeRef(6)))

    def marks(results: Arrays) -> Arrays:
        return (np.nextafter(results[0], np.float32(9)),)

    def trips(results: Arrays) -> Arrays:
        return results if np.array_equal(results[0], recorded) else wrong(results)

    names = [trace.graphs[0].node_id(node) for node in (2, 6)]
    target = NumpyBackend("target", OPERATORS, faults={names[0]: marks, names[1]: trips})
    with Driver(trace, (NumpyBackend("source"), target)) as driver:
        report = driver.do(FindBlame()).blame
        assert report is not None
        assert report.causes == (tuple(names),)


def test_state_that_a_case_hands_on_is_computed_under_the_same_placement(tmp_path: Path) -> None:
    trace = mlp(3, cases=3, hands_on=True).write(tmp_path / "t.trace")
    guilty = trace.graphs[0].node_id(4)
    with Driver(trace, (NumpyBackend("source"), NumpyBackend("target", faults={guilty: wrong}))) as driver:
        driver.do(SelectCase(2))
        report = driver.do(FindBlame()).blame
        assert report is not None
        assert report.case == 2
        assert report.causes == ((guilty,),)
        done = driver.do(Migrate())
        assert [entry.status for entry in done.migrated].count(Migration.BLOCKED) == 1
        assert driver.do(RunNodes()).answer.passed  # type: ignore[union-attr]


def test_blame_and_migration_can_be_stopped(tmp_path: Path) -> None:
    for command in (FindBlame(), Migrate()):
        driver, _ = driver_with(tmp_path, 31)
        with driver:
            driver.target.stopped.clear()
            ticket = driver.engine.submit(command)
            assert driver.do(Interrupt()).stopped is StopReason.INTERRUPTED
            assert driver.wait(ticket).stopped is StopReason.INTERRUPTED
            driver.target.stopped.set()
            assert driver.do(command).stopped is StopReason.DONE


def test_a_forced_value_is_handed_on(tmp_path: Path) -> None:
    driver, _ = driver_with(tmp_path, 7)
    with driver:
        assert driver.do(Force(7)).stopped is StopReason.STEP
        answer = driver.do(RunNodes()).answer
        assert answer is not None
        assert answer.passed
        assert driver.statuses()[7] == "not_run"
        assert driver.do(Undo()).stopped is StopReason.STEP
        answer = driver.do(RunNodes()).answer
        assert answer is not None
        assert answer.passed is False


def test_a_value_is_forced_out_of_a_file(tmp_path: Path) -> None:
    value = np.full((8, 8), 0.25, np.float32)
    np.save(tmp_path / "v.npy", value)
    with driver_with(tmp_path)[0] as driver:
        assert driver.do(Force(4, str(tmp_path / "v.npy"))).stopped is StopReason.STEP
        (tmp_path / "v.npy").rename(tmp_path / "w.npy")
        (tmp_path / "w.npy").rename(tmp_path / "v.npy")
        driver.do(RunNodes())
        actual = driver.engine.actual(4, 0)
        assert actual is not None
        np.testing.assert_array_equal(actual, value)
        assert driver.verdicts()[5] in ("INHERITED", "AMPLIFIED")


def test_a_file_that_says_something_else_is_read_again_when_it_is_forced_again(tmp_path: Path) -> None:
    file = tmp_path / "v.npy"
    with driver_with(tmp_path)[0] as driver:
        for number in (0.25, 0.5, 0.5):
            np.save(file, np.full((8, 8), number, np.float32))
            driver.do(Force(4, str(file)))
            driver.do(RunNodes())
            forced, fed = driver.engine.actual(4, 0), driver.engine.actual(5, 0)
            assert forced is not None
            assert fed is not None
            assert (forced == np.float32(number)).all()
            assert driver.statuses()[5] != "not_run"
        same = fed
        np.save(file, np.full((8, 8), 0.75, np.float32))
        driver.do(RunNodes())  # only who says so forces something else
        again = driver.engine.actual(5, 0)
        assert again is not None
        np.testing.assert_array_equal(again, same)


@pytest.mark.parametrize("what", ["shape", "dtype", "text", "pickle", "missing", "archive"])
def test_a_file_that_does_not_fit_is_refused(tmp_path: Path, what: str) -> None:
    file = tmp_path / "v.npy"
    match what:
        case "shape":
            np.save(file, np.zeros((8, 7), np.float32))
        case "dtype":
            np.save(file, np.zeros((8, 8), np.float64))
        case "text":
            file.write_text("0.25")
        case "pickle":
            np.save(file, np.array([object()]), allow_pickle=True)
        case "archive":
            np.savez(tmp_path / "v.npz", a=np.zeros((8, 8), np.float32))
            file = tmp_path / "v.npz"
    with driver_with(tmp_path)[0] as driver:
        done = driver.do(Force(4, str(file)))
        assert done.stopped is StopReason.REFUSED
        assert str(file) in done.message


def test_a_run_stops_where_a_condition_holds(tmp_path: Path) -> None:
    driver, _ = driver_with(tmp_path, 7)
    with driver:
        wanted = Breakpoint(BreakpointKind.CONDITION, "floor > 8 and dtype == 'float32'")
        driver.do(ToggleBreakpoint(wanted))
        assert driver.do(Step(Verb.CONTINUE)).stopped is StopReason.BREAKPOINT
        assert driver.engine.snapshot.cursor == 8
        refused = driver.do(ToggleBreakpoint(Breakpoint(BreakpointKind.CONDITION, "floor.x")))
        assert refused.stopped is StopReason.REFUSED
        assert refused.breakpoints == (wanted,)


def test_notes_are_kept_by_node(tmp_path: Path) -> None:
    with driver_with(tmp_path)[0] as driver:
        driver.do(SetNote(3, "look here"))
        assert driver.engine.note(3) == "look here"
        driver.do(SetNote(3, ""))
        assert driver.engine.note(3) == ""
        assert driver.do(SetNote(999, "x")).stopped is StopReason.REFUSED


def test_a_damaged_ledger_is_an_empty_one(tmp_path: Path) -> None:
    path = tmp_path / "ledger.json"
    entry = {"signature": "s", "op": "o", "nodes": [], "status": "source", "reason": "", "factor": 1, "evidence": ""}
    huge = json.dumps({"targets": {"t": [entry | {"factor": 10**400}]}})
    for text in ("", "[]", '{"targets": 3}', '{"targets": {"t": [{}]}}', "[" * 100000, huge):
        path.write_text(text)
        assert Ledger(path).document()["targets"] == {}
