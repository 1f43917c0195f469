"""While a verdict takes more than one run, the screen says what is known so far, and what is asked."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from tapml_tui.engine.commands import RunNodes
from tapml_tui.engine.events import Changed
from tests.engine.numpy_backend import Arrays
from tests.engine.toys import Driver, mlp

SLOW = 0.3  # seconds, of one run


def slow(right: Arrays) -> Arrays:
    time.sleep(SLOW)
    return right


def slow_and_doubled(right: Arrays) -> Arrays:
    return (slow(right)[0] * np.float32(2),)


def test_a_mismatch_is_told_before_it_is_confirmed(tmp_path: Path) -> None:
    with Driver(mlp(size=16).write(tmp_path / "t.trace")) as driver:
        first, second = (driver.engine.graph.node_id(node) for node in (0, 1))
        driver.target.faults.update({first: slow_and_doubled, second: slow})
        driver.do(RunNodes())
        told = [event.snapshot.activity for event in driver.events if isinstance(event, Changed)]
        sure = f"{first.rpartition('/')[2]}: ", "x the floor; once more, to be sure"
        asked = f"{second.rpartition('/')[2]}: ", "x the floor; again on the recorded inputs"
        for start, end in (sure, asked):
            assert any(one.startswith(start) and one.endswith(end) for one in told), told
        assert driver.engine.snapshot.activity == ""
