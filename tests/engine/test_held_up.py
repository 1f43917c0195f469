"""What was sent ahead and hangs is named: the node that waits for it is not the one to wait for."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from tapml_tui.engine.commands import Step, Verb
from tapml_tui.engine.events import Changed, StopReason
from tests.engine.numpy_backend import Arrays, NumpyBackend
from tests.engine.toys import Driver, mlp


@pytest.mark.slow
def test_a_confirmation_behind_a_kernel_that_hangs_says_so(tmp_path: Path) -> None:
    trace = mlp(4).write(tmp_path / "t.trace")
    wrong, hanging = (trace.graphs[0].node_id(node) for node in (2, 5))
    goes_on = threading.Event()

    def hang(right: Arrays) -> Arrays:
        assert goes_on.wait(60)
        return right

    faults = {wrong: lambda right: tuple(3 * one for one in right), hanging: hang}
    with Driver(trace, (NumpyBackend("source"), NumpyBackend("target", faults=faults))) as driver:
        ticket = driver.engine.submit(Step(Verb.CONTINUE))
        said = f"waiting for {hanging}, which was sent ahead"
        with driver._news:
            heard = driver._news.wait_for(
                lambda: any(isinstance(one, Changed) and said in one.snapshot.activity for one in driver.events), 30
            )
        goes_on.set()
        assert heard, {one.snapshot.activity for one in driver.events if isinstance(one, Changed)}
        snapshot = driver.wait(ticket)
        assert snapshot.stopped is StopReason.MISMATCH
        assert wrong in snapshot.message
