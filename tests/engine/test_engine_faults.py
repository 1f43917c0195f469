"""What the engine does about its own faults, and about backends that are to be started again."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from tapml_tui.backends.protocol import SENT_AHEAD, LogLine
from tapml_tui.engine.commands import Retry, Step, Verb
from tapml_tui.engine.events import StopReason
from tests.engine.toys import Driver, mlp


def test_a_fault_of_the_engines_thread_is_answered_and_logged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with mlp().write(tmp_path / "toy.trace") as trace, Driver(trace) as driver:
        driver.step(Verb.INTO)

        def broken() -> None:
            raise RuntimeError("the engine's own fault")

        monkeypatch.setattr(driver.engine._announcer, "announce", broken)
        tickets = [driver.engine.submit(Step(Verb.INTO)) for _ in range(3)]
        for snapshot in map(driver.wait, tickets[1:]):
            assert snapshot.stopped is StopReason.ERROR and not snapshot.running
            assert "the engine's own fault" in snapshot.message
        driver.wait(tickets[0])  # it may have ended before the fault
        assert driver.engine.result(0) is not None  # what was computed can still be read
        assert any(isinstance(event, LogLine) and "Traceback" in event.text for event in driver.events)


def test_retry_restarts_every_backend(tmp_path: Path) -> None:
    with mlp().write(tmp_path / "toy.trace") as trace, Driver(trace) as driver:
        driver.do(Retry())
        assert (driver.source.restarts, driver.target.restarts) == (1, 1)


def test_everything_is_announced_once_in_order(tmp_path: Path) -> None:
    with mlp(layers=40).write(tmp_path / "toy.trace") as trace, Driver(trace) as driver:
        driver.step(Verb.CONTINUE)
        assert len(driver.target.prepared) == len(set(driver.target.prepared)) > 0
        first = [driver.engine.unit(node).signature for node in range(3)]
        assert driver.target.prepared[:3] == first


def test_weights_are_announced_once_under_the_names_that_they_have_in_requests(tmp_path: Path) -> None:
    with mlp(layers=4).write(tmp_path / "toy.trace") as trace, Driver(trace) as driver:
        driver.step(Verb.CONTINUE)
        keys = [weight.key for weight in driver.target.announced]
        assert len(keys) == len(set(keys))
        assert set(keys) == driver.target.weights
        assert all(weight.persistent and weight.bytes is not None for weight in driver.target.announced)


def test_a_weight_that_would_block_the_line_is_not_announced(tmp_path: Path) -> None:
    size = math.isqrt(SENT_AHEAD // 4) + 1
    with mlp(size=size).write(tmp_path / "toy.trace") as trace, Driver(trace) as driver:
        driver.step(Verb.CONTINUE)
        assert driver.target.weights and not driver.target.announced
