"""The engine over the real source and the real target, on the demo trace."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tapml_tui.backends.protocol import Backend, Execute
from tapml_tui.compare.result import Status
from tapml_tui.engine.commands import Mode, RunNodes, SelectCase, SetBackend, SetMode, Verb
from tapml_tui.engine.events import StopReason
from tests.engine.toys import Driver
from trace_format import Trace, open_trace
from trace_format.model import NodeRef

DEMO = Path(__file__).parents[2] / "assets" / "demo.trace"


def backends() -> tuple[Backend, ...]:
    from tapml_tui.backends.launch import TargetOptions, make_backends

    return make_backends(TargetOptions())


class Counting:
    """A backend whose executions are counted."""

    def __init__(self, inner: Backend) -> None:
        self._inner = inner
        self.executed = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def execute(self, request: Execute) -> None:
        self.executed += 1
        self._inner.execute(request)


@pytest.fixture
def trace() -> Iterator[Trace]:
    with open_trace(DEMO) as trace:
        yield trace


@pytest.mark.torch
def test_the_source_executed_equals_the_reference_bit_by_bit(trace: Trace) -> None:
    source = backends()[:1]
    with Driver(trace, source, source_from_trace=False, reuse=False) as driver:
        for case in range(len(trace.cases)):
            driver.do(SelectCase(case))
            driver.do(RunNodes())
            compared = 0
            for node in range(len(driver.engine.graph)):
                for output in range(driver.engine.graph.node(node).outputs):
                    value = trace.value(case, NodeRef(node, output))
                    if value.reproducible and value.tensor is not None:
                        actual, reference = driver.engine.actual(node, output), driver.engine.reference(node, output)
                        assert actual is not None and actual.dtype == reference.dtype
                        assert actual.tobytes() == reference.tobytes(), driver.engine.graph.node_id(node)
                        compared += 1
            assert compared > 50
            assert driver.engine.snapshot.counts.failed == driver.engine.snapshot.counts.error == 0


@pytest.mark.tvm
def test_the_demo_on_the_target(trace: Trace) -> None:
    with Driver(trace, backends(), reuse=False) as driver:
        stop = driver.step(Verb.CONTINUE)
        assert stop.stopped is StopReason.ERROR and "cumsum" in stop.message
        stop = driver.step(Verb.CONTINUE)
        assert stop.stopped is StopReason.MISMATCH
        guilty = stop.cursor - 1
        result = driver.engine.result(guilty)
        assert result is not None and result.verdict == "LOCAL" and driver.engine.graph.op(guilty) == "aten.add.Tensor"
        # With the guilty kernels on the source, the rest is healthy to the end.
        while stop.stopped is not StopReason.END:
            driver.do(SetBackend(stop.cursor - 1, stop.cursor, "source"))
            stop = driver.step(Verb.CONTINUE)
        counts = stop.counts
        assert (counts.failed, counts.unsupported) == (0, 0) and counts.passed > 50
        end = len(driver.engine.graph) - 1
        actual, reference = driver.engine.actual(end, 0), driver.engine.reference(end, 0)
        assert actual is not None and reference is not None
        np.testing.assert_allclose(actual, reference, rtol=1e-3, atol=1e-3)


@pytest.mark.tvm
def test_isolated_every_case_is_judged(trace: Trace) -> None:
    with Driver(trace, backends(), reuse=False) as driver:
        driver.do(SetMode(Mode.ISOLATED))
        for case in range(len(trace.cases)):
            driver.do(SelectCase(case))
            counts = driver.do(RunNodes()).counts
            assert (counts.error, counts.failed) == (1, 2) and counts.passed > 50


@pytest.mark.tvm
def test_a_session_on_loopback_resumes_and_executes_nothing(tmp_path: Path) -> None:
    """All but what failed: that is tried again, and a mismatch is confirmed again."""
    path = tmp_path / "session.run"
    with open_trace(DEMO) as trace:
        watched = tuple(map(Counting, backends()))
        with Driver(trace, watched, run_path=path, mode=Mode.ISOLATED) as driver:
            passed = driver.do(RunNodes()).counts.passed
            nodes = [node for node in range(len(driver.engine.graph)) if _passed(driver, node)]
        assert watched[1].executed >= passed == len(nodes) > 50
    with open_trace(DEMO) as trace:
        watched = tuple(map(Counting, backends()))
        with Driver(trace, watched, run_path=path, mode=Mode.ISOLATED) as driver:
            assert driver.do(RunNodes(tuple(nodes))).counts.passed == passed
        assert [backend.executed for backend in watched] == [0, 0]


def _passed(driver: Driver, node: int) -> bool:
    result = driver.engine.result(node)
    return result is not None and result.status is Status.PASSED


@pytest.mark.tvm
def test_a_device_that_is_not_ours_is_not_believed_to_be_the_same_tomorrow() -> None:
    from tapml_tui.backends.launch import TargetOptions, make_backends

    options = (TargetOptions(), TargetOptions(target="c"), TargetOptions(rpc="127.0.0.1:9090"))
    loopback, other, remote = (make_backends(each)[1].fingerprint for each in options)  # type: ignore[attr-defined]
    assert loopback and other and loopback != other and remote == ""
