from __future__ import annotations

from pathlib import Path

from tapml_tui.engine.commands import Interrupt, Rewind, SetBackend, Step, Verb
from tapml_tui.engine.events import StopReason
from tests.engine.toys import Driver, mlp


def test_an_interrupt_ends_a_run_that_hangs(tmp_path: Path) -> None:
    with Driver(mlp().write(tmp_path / "t.trace")) as driver:
        driver.step(Verb.OVER)
        driver.target.stopped.clear()
        hanging = driver.engine.submit(Step(Verb.CONTINUE))
        queued = driver.engine.submit(SetBackend(0, 1, "source"))
        assert driver.do(Interrupt()).stopped is StopReason.INTERRUPTED
        assert driver.wait(hanging).stopped is StopReason.INTERRUPTED
        assert "dropped" in driver.wait(queued).message
        assert driver.target.restarts == 1
        assert driver.engine.snapshot.cursor == 1 and not driver.engine.snapshot.running
        assert driver.step(Verb.CONTINUE).counts.passed == 9


def test_nothing_to_interrupt(tmp_path: Path) -> None:
    with Driver(mlp().write(tmp_path / "t.trace")) as driver:
        assert driver.do(Interrupt()).message == "nothing is running"


def test_commands_wait_for_the_run_in_their_order(tmp_path: Path) -> None:
    with Driver(mlp().write(tmp_path / "t.trace")) as driver:
        tickets = [driver.engine.submit(Step(Verb.OVER)) for _ in range(12)]
        tickets.append(driver.engine.submit(Rewind()))
        assert [driver.wait(ticket).cursor for ticket in tickets] == [*range(1, 10), 9, 9, 9, 0]
        assert not driver.told_twice


def test_closing_answers_what_is_left(tmp_path: Path) -> None:
    with Driver(mlp().write(tmp_path / "t.trace")) as driver:
        driver.target.stopped.clear()
        tickets = [driver.engine.submit(Step(Verb.OVER)) for _ in range(3)]
        driver.engine.close()
        assert [driver.wait(ticket).message for ticket in tickets] == ["the session is closed"] * 3
