"""Several devices behind one target: who gets what, and what becomes of the work of one that dies."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tapml_tui.backends.launch import TargetOptions, make_backends
from tapml_tui.backends.protocol import Deadlines, Executed, Failed, Operand, Stage, State, UnitInput
from tests.backends.driver import Driver, descendants, spec, unary, unit, wait_until

pytestmark = [pytest.mark.tvm]

X = np.linspace(-1, 1, 8, dtype=np.float32)
JOBS = 3
SLOW = unary("aten.relu.default", X)
SUM = unit("aten.add.Tensor", [UnitInput(0), UnitInput(1)], [spec(X)] * 2, [spec(X)])
LOWER = str(Path(__file__).with_name("sleeping_kernels.py"))
DEADLINES = Deadlines(start=120, connect=60, run=5, transfer=20)


@pytest.fixture
def driver(tmp_path: Path, kernel_folder: Path) -> Iterator[Driver]:
    """Three servers of our own, all of them there, and the kernels compiled."""
    options = TargetOptions(jobs=JOBS, lower=LOWER)
    backend = make_backends(options, deadlines=DEADLINES, cache_dir=kernel_folder, state_dir=tmp_path)[1]
    driver = Driver(backend, tmp_path)
    try:
        driver.wait(lambda reply: f"{JOBS} of {JOBS} devices" in getattr(reply, "detail", ""))
        for wanted in (SLOW, SUM):
            driver.outputs(wanted, *[X] * len(wanted.inputs))
        yield driver
    finally:
        driver.backend.close()
        assert driver.program_errors() == []
        assert not set(descendants("worker_")) - set(driver.others)


def _devices(driver: Driver, requests: list[int]) -> Counter[str]:
    replies = [driver.answer(request) for request in requests]
    for reply in replies:
        assert isinstance(reply, Executed), reply
        np.testing.assert_array_equal(reply.outputs[0], np.maximum(X, 0))
    return Counter(reply.device for reply in replies)


def test_work_goes_to_whoever_is_free(driver: Driver) -> None:
    devices = _devices(driver, [driver.execute(SLOW, X) for _ in range(4 * JOBS)])
    assert len(devices) == JOBS
    assert min(devices.values()) >= 2
    assert {one.device for one in driver.states[-1].devices} == set(devices)


def test_what_needs_each_other_stays_together(driver: Driver) -> None:
    """Two chains at a time, each on one device: handles are enough, nothing goes up but the first values."""
    replies: dict[str, list[Executed | Failed]] = {"a": [], "b": []}
    requests = []
    for step in range(4):
        for lane in replies:
            held = Operand(f"{lane}{step - 1}", spec(X), None) if step else driver.operand(X)
            requests.append((lane, driver.execute(SLOW, held, lane=lane, result_keys=(f"{lane}{step}",))))
    for lane, request in requests:
        replies[lane].append(driver.answer(request))
    assert all(isinstance(reply, Executed) for chain in replies.values() for reply in chain)
    homes = [{reply.device for reply in chain} for chain in replies.values()]
    assert [len(home) for home in homes] == [1, 1]
    assert homes[0] != homes[1]
    assert sum(reply.bytes_up for chain in replies.values() for reply in chain[1:]) == 0  # type: ignore[union-attr]


def test_a_result_is_confirmed_where_it_was_computed(driver: Driver) -> None:
    for number in range(JOBS):
        first = driver.run(SLOW, X, label=f"node{number}")
        driver.execute(SLOW, X, label="another")  # so that another device is next
        again = driver.run(SLOW, X, label=f"node{number}", fresh=True)
        assert again.device == first.device


def test_a_device_that_dies_gives_its_work_back(driver: Driver) -> None:
    requests = [driver.execute(SLOW, X) for _ in range(4 * JOBS)]
    waiting = driver.backend._waiting  # type: ignore[attr-defined]
    wait_until(lambda: any(p.stage is Stage.RUN for p in list(waiting.values())), "a kernel runs")
    servers = [pid for pid in descendants("worker_server") if pid not in driver.others]
    os.kill(min(servers), signal.SIGKILL)
    assert sum(_devices(driver, requests).values()) == 4 * JOBS  # each once
    assert len(driver.answers()) == len(set(driver.answers()))
    lost = [one for status in driver.states for one in status.devices if one.state is State.LOST]
    assert len({one.device for one in lost}) == 1


def test_a_kernel_that_kills_devices_is_launched_on_no_other_one(tmp_path: Path, kernel_folder: Path) -> None:
    lower = str(Path(__file__).with_name("faulty_kernels.py"))
    options = TargetOptions(jobs=2, lower=lower)
    backend = make_backends(options, deadlines=DEADLINES, cache_dir=kernel_folder, state_dir=tmp_path)[1]
    driver = Driver(backend, tmp_path)
    good, bad = unary("aten.neg.default", X), unary("aten.cosh.default", X)
    try:
        driver.wait(lambda reply: "2 of 2 devices" in getattr(reply, "detail", ""))
        requests = [driver.execute(bad if number % 3 == 1 else good, X, label=f"node{number}") for number in range(9)]
        replies = [driver.answer(request) for request in requests]
        assert [isinstance(reply, Executed) for reply in replies] == [number % 3 != 1 for number in range(9)]
        killed = [reply for reply in replies if isinstance(reply, Failed)]
        assert all("node" in reply.reason and "took the device with it" in reply.reason for reply in killed)
        assert 1 <= sum(reply.device_lost for reply in killed) <= 2  # two may have been at it at the same time
    finally:
        driver.backend.close()
        assert driver.program_errors() == []


def test_what_is_interrupted_is_interrupted_everywhere(driver: Driver) -> None:
    requests = [driver.execute(SLOW, X) for _ in range(4 * JOBS)]
    waiting = driver.backend._waiting  # type: ignore[attr-defined]
    wait_until(lambda: any(p.stage is Stage.RUN for p in list(waiting.values())), "a kernel runs")
    driver.backend.interrupt()
    replies = [driver.answer(request) for request in requests]
    assert {reply.reason for reply in replies if isinstance(reply, Failed)} == {"interrupted"}
    assert len(_devices(driver, [driver.execute(SLOW, X) for _ in range(4 * JOBS)])) == JOBS
