import numpy as np

from tapml_tui.compare.result import Status, Verdict
from tapml_tui.engine.table import BREAKPOINT, STALE, STATUSES, VERDICTS, NodeTable


def test_every_status_and_verdict_has_an_index() -> None:
    assert set(STATUSES) == set(Status)
    assert set(VERDICTS) == set(Verdict)


def test_a_fold_shows_the_worst_of_its_nodes() -> None:
    table = NodeTable(4, ("source", "target"), np.array([1, 1, 0, 1], np.uint8))
    table.record(0, Status.PASSED, Verdict.CLEAN, 0.5)
    table.record(1, Status.FAILED, Verdict.LOCAL, 812.0)
    assert table.worst(0, 2) == (Status.FAILED, 812.0, "T")
    assert table.worst(0, 3) == (Status.FAILED, 812.0, "*")
    assert table.worst(2, 3) == (Status.NOT_RUN, 0.0, "S")


def test_recording_a_result_ends_staleness_and_keeps_the_breakpoint() -> None:
    table = NodeTable(1, ("target",))
    table.flags[0] = STALE | BREAKPOINT
    table.record(0, Status.ERROR, Verdict.NONE, 0.0)
    assert table.flags[0] == BREAKPOINT
    assert table.count()[Status.ERROR] == 1
