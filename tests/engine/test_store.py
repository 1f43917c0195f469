from __future__ import annotations

import os
from pathlib import Path

import pytest

from tapml_tui.engine.commands import Mode, RunNodes, SetMode, Verb
from tapml_tui.engine.events import StopReason
from tests.engine.numpy_backend import NumpyBackend
from tests.engine.toys import Driver, mlp
from trace_format import TraceError, WrongBase, open_trace


class Versioned(NumpyBackend):
    """A backend that says what decides its results."""

    fingerprint = "numpy 1"


def both() -> tuple[NumpyBackend, NumpyBackend]:
    return Versioned("source"), Versioned("target")


def test_a_session_resumes_without_executing(tmp_path: Path) -> None:
    path = tmp_path / "t.trace"
    with Driver(mlp().write(path), both()) as first:
        first.step(Verb.CONTINUE)
        assert first.engine.run_path == tmp_path / "t.trace.runs" / "session.run"
        values = [first.engine.actual(node, 0).copy() for node in range(9)]
    with Driver(open_trace(path), both()) as second:
        assert second.step(Verb.CONTINUE).counts.passed == 9
        assert second.target.executed == []
        assert all((second.engine.actual(node, 0) == values[node]).all() for node in range(9))


def test_results_of_a_backend_that_changed_are_not_reused(tmp_path: Path) -> None:
    path = tmp_path / "t.trace"
    for backends in (
        both(),
        (Versioned("source"), NumpyBackend("target")),
        (Versioned("source"), NumpyBackend("target")),
    ):
        with Driver(mlp().write(path) if not path.exists() else open_trace(path), backends) as driver:
            driver.step(Verb.CONTINUE)
            assert len(driver.target.executed) == 9


def test_without_reuse_everything_is_executed_and_nothing_is_left(tmp_path: Path) -> None:
    path = tmp_path / "t.trace"
    with Driver(mlp().write(path), both()) as driver:
        driver.step(Verb.CONTINUE)
    with Driver(open_trace(path), both(), reuse=False) as driver:
        driver.step(Verb.CONTINUE)
        assert len(driver.target.executed) == 9
        run = driver.engine.run_path
        assert run.exists() and tmp_path not in run.parents
    assert not run.exists()
    named = tmp_path / "mine.run"
    for _ in range(2):
        with Driver(open_trace(path), both(), run_path=named, reuse=False) as driver:
            driver.step(Verb.CONTINUE)
            assert len(driver.target.executed) == 9 and driver.engine.run_path == named


def test_a_locked_run_makes_way_for_the_next_name(tmp_path: Path) -> None:
    path = tmp_path / "t.trace"
    with Driver(mlp().write(path)) as one, Driver(open_trace(path)) as two:
        assert one.engine.run_path.name == "session.run"
        assert two.engine.run_path.name == "session-2.run"
        assert one.engine.snapshot.message == ""
        said = "session.run is open in another session: this one is kept in session-2.run"
        assert two.engine.snapshot.message == said
        assert two.step(Verb.CONTINUE).stopped is StopReason.END


def test_a_run_of_another_carving(tmp_path: Path) -> None:
    path = tmp_path / "t.trace"
    with Driver(mlp().write(path)):
        pass
    with Driver(mlp(seed=7).write(path)) as driver:
        assert driver.engine.run_path.name == "session-2.run"
        assert driver.engine.snapshot.message == "", "it is what is opened next time, too"
    with open_trace(path) as trace, pytest.raises(WrongBase):
        Driver(trace, run_path=path.with_name("t.trace.runs") / "session.run")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_beside_a_trace_in_a_read_only_folder_as_a_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    folder = tmp_path / "shared"
    folder.mkdir()
    mlp().write(folder / "t.trace").close()
    folder.chmod(0o500)
    with Driver(open_trace(folder / "t.trace")) as driver:
        assert tmp_path / "state" in driver.engine.run_path.parents


def test_where_there_can_be_no_folder_the_state_folder_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (tmp_path / "t.trace.runs").write_text("in the way")
    with Driver(mlp().write(tmp_path / "t.trace")) as driver:
        assert tmp_path / "state" in driver.engine.run_path.parents
        assert driver.engine.snapshot.message.startswith("t.trace.runs cannot be used: this session is kept in /")
        assert driver.step(Verb.CONTINUE).counts.passed == 9


def test_a_torn_tail_costs_only_what_was_torn(tmp_path: Path) -> None:
    path = tmp_path / "t.trace"
    with Driver(mlp().write(path), both()) as driver:
        driver.step(Verb.CONTINUE)
        run = driver.engine.run_path
    with run.open("r+b") as file:
        file.truncate(run.stat().st_size - 10)
    with Driver(open_trace(path), both()) as driver:
        assert driver.step(Verb.CONTINUE).counts.passed == 9
        assert len(driver.target.executed) == 1


def test_inputs_that_the_device_lost_are_uploaded_again(tmp_path: Path) -> None:
    target = NumpyBackend("target", holds=0)
    with Driver(mlp(layers=6).write(tmp_path / "t.trace"), (NumpyBackend("source"), target)) as driver:
        assert driver.step(Verb.CONTINUE).counts.passed == 18
        assert len(target.executed) > 18  # those that were answered "missing" were sent again


def test_inputs_stay_on_the_device(tmp_path: Path) -> None:
    with Driver(mlp(layers=4).write(tmp_path / "t.trace")) as driver:
        driver.do(RunNodes())
        assert len(driver.target.executed) == 12
        assert all(not key.startswith("job") for key in driver.target.uploads)


def test_isolated_results_serve_the_chained_run_where_inputs_are_equal(tmp_path: Path) -> None:
    with Driver(mlp().write(tmp_path / "t.trace"), mode=Mode.ISOLATED) as driver:
        driver.step(Verb.CONTINUE)
        driver.do(SetMode(Mode.CHAINED))
        driver.do(RunNodes((0,)))
        assert len(driver.target.executed) == 9


def test_a_full_disk_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Driver(mlp().write(tmp_path / "t.trace")) as driver:

        def full(*_: object) -> None:
            raise TraceError("the disk is full: a result could not be kept in session.run")

        with monkeypatch.context() as patch:
            patch.setattr(driver.engine._store._run, "append", full)
            stop = driver.step(Verb.OVER)
            assert stop.stopped is StopReason.ERROR and "the disk is full" in stop.message
        assert driver.step(Verb.CONTINUE).stopped is StopReason.END
