"""What is announced is brought to the device while nobody waits: libraries and small weights, nothing twice."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tapml_tui.backends.launch import TargetOptions, make_backends
from tapml_tui.backends.protocol import BackendStatus, Deadlines, Executed, Failed, State, Traffic, Unit, UnitInput
from tests.backends.driver import Driver, descendants, spec, unary, unit
from tests.backends.misbehaving import MisbehavingProxy
from tests.backends.servers import KEY, own_server

pytestmark = [pytest.mark.tvm]

X = np.linspace(-1, 1, 8, dtype=np.float32)
ADD = unit("aten.add.Tensor", [UnitInput(0), UnitInput(1)], [spec(X)] * 2, [spec(X)])
UNITS = [ADD, *(unary(f"aten.{op}.default", X) for op in ("relu", "neg", "abs", "tanh", "sigmoid", "floor", "ceil"))]
DEADLINES = Deadlines(start=120, run=2, transfer=2)


@pytest.fixture
def driver(tmp_path: Path, kernel_folder: Path) -> Iterator[Driver]:
    options = TargetOptions(lower=str(Path(__file__).with_name("faulty_kernels.py")))
    backend = make_backends(options, deadlines=DEADLINES, cache_dir=kernel_folder, state_dir=tmp_path)[1]
    driver = Driver(backend, tmp_path)
    driver.ready()
    yield driver
    driver.backend.close()
    assert driver.program_errors() == []


def _settled(driver: Driver, at_least: int) -> Traffic:
    """What has crossed the line, once so much went up and nothing waits any more."""

    def settled(reply: object) -> bool:
        traffic = getattr(reply, "traffic", None)
        return traffic is not None and traffic.queued == 0 and traffic.up >= at_least

    status = driver.wait(settled)
    assert isinstance(status, BackendStatus) and status.traffic is not None
    return status.traffic


def _compile(driver: Driver, units: list[Unit]) -> None:
    """So that what is announced next is known at once; nothing of it is on the device after that."""
    for wanted in units:
        assert isinstance(driver.run(wanted, *[X] * len(wanted.inputs)), Executed)
    os.kill(min(set(descendants("worker_device")) - driver.others), signal.SIGKILL)
    driver.state(State.LOST)
    driver.ready()


def test_a_step_takes_nothing_up_but_what_is_new(driver: Driver) -> None:
    _compile(driver, [ADD])
    before = _settled(driver, 1).up
    weight = driver.operand(X, "weight", persistent=True)
    driver.backend.prepare([ADD], [weight])
    ahead = _settled(driver, before + X.nbytes + 1000).up
    reply = driver.run(ADD, X, weight)
    assert isinstance(reply, Executed)
    assert reply.bytes_up == X.nbytes
    assert _settled(driver, ahead + 1).up == ahead + X.nbytes


def test_a_request_goes_before_everything_that_is_ahead(tmp_path: Path, kernel_folder: Path) -> None:
    with own_server() as port, MisbehavingProxy(port, latency=0.025) as proxy:
        options = TargetOptions(rpc=f"127.0.0.1:{proxy.port}", key=KEY)
        driver = Driver(make_backends(options, cache_dir=kernel_folder, state_dir=tmp_path)[1], tmp_path)
        try:
            _compile(driver, UNITS)
            driver.backend.prepare(UNITS, [driver.operand(X, f"weight {i}") for i in range(40)])
            driver.wait(lambda reply: bool(getattr(reply, "traffic", None)) and reply.traffic.queued >= 40)  # type: ignore[union-attr]
            reply = driver.run(UNITS[1], X)
            assert isinstance(reply, Executed)
            ahead = driver.backend._ahead  # type: ignore[attr-defined]
            assert len(ahead) > 20
            driver.backend.interrupt()
            assert isinstance(driver.run(ADD, X, X), Executed)
            assert len(ahead) == 0  # nobody wants it any more
        finally:
            driver.backend.close()
            assert driver.program_errors() == []


def test_the_library_of_a_killer_stays_here(driver: Driver) -> None:
    bad = unary("aten.cosh.default", X)
    killed = driver.run(bad, X)
    assert isinstance(killed, Failed) and killed.device_lost
    assert isinstance(driver.run(ADD, X, X), Executed)
    before = _settled(driver, 1).up
    driver.backend.prepare([bad], [driver.operand(X, "small")])
    assert _settled(driver, before + 1).up == before + X.nbytes


def test_a_line_that_stalls_is_made_anew_and_nothing_more_is_sent_ahead(driver: Driver) -> None:
    _compile(driver, UNITS)
    session = max(set(descendants("worker_server")) - driver.others)
    os.kill(session, signal.SIGSTOP)
    driver.backend.prepare(UNITS, [driver.operand(X, "weight")])
    assert "sent ahead did not arrive" in driver.state(State.LOST).detail
    assert isinstance(driver.run(ADD, X, X), Executed)
    assert not any(isinstance(reply, Failed) for reply in driver.replies)
    assert len(driver.backend._ahead) == 0  # type: ignore[attr-defined]
