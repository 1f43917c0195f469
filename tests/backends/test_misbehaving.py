"""A line, and a device behind it, that misbehaves: the session says what happened, goes on, and computes the same.

Everything runs against a real TVM RPC server, through a proxy that cuts, stalls, delays, closes by halves or changes a
byte, at a random moment of a scripted session.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tapml_tui.backends.launch import TargetOptions, make_backends
from tapml_tui.backends.protocol import Deadlines, Executed, Failed, Operand, TensorSpec, Unit, UnitInput
from tests import sampling
from tests.backends.driver import Driver, spec, unary, unit
from tests.backends.misbehaving import Fault, MisbehavingProxy, Plan, Way
from tests.backends.servers import KEY, own_server

pytestmark = [pytest.mark.tvm]

RNG = np.random.default_rng(0)
X = RNG.standard_normal((64, 64)).astype(np.float32)
WEIGHT = RNG.standard_normal((64, 64)).astype(np.float32)
DEADLINES = Deadlines(start=120, connect=10, run=1.5, transfer=1.5, reconnect=30)
# What one request may take: everything may happen to it twice, and a new worker loads TVM on a busy machine.
LONGEST = 60.0
SESSIONS = sampling.count(6, 80)

LINEAR = unit("aten.linear.default", [UnitInput(0), UnitInput(1)], [spec(X)] * 2, [spec(X)])
SOFTMAX = unit("aten.softmax.int", [UnitInput(0), -1], [spec(X)], [spec(X)])
TANH = unary("aten.tanh.default", X)
VIEW = unit("aten.view.default", [UnitInput(0), (4096,)], [spec(X)], [TensorSpec("float32", (4096,))])


@pytest.fixture(scope="module")
def server() -> Iterator[int]:
    """One server for all sessions: it survives them."""
    with own_server() as port:
        yield port


def _driver(proxy: MisbehavingProxy, folder: Path, kernels: Path, deadlines: Deadlines = DEADLINES) -> Driver:
    options = TargetOptions(rpc=f"127.0.0.1:{proxy.port}", key=KEY)
    return Driver(make_backends(options, deadlines=deadlines, cache_dir=kernels, state_dir=folder)[1], folder)


class Script:
    """A chain of kernels, whose results stay on the device; what is lost with it is computed again."""

    def __init__(self, driver: Driver) -> None:
        self.driver = driver
        self.x = driver.operand(X, "x")
        self.weight = driver.operand(WEIGHT, "weight", persistent=True)

    def run(self) -> list[np.ndarray]:
        """The result of each step; each within its deadline."""
        results: list[np.ndarray] = []
        held = self.x
        for number, (wanted, weighted) in enumerate(
            [(LINEAR, True), (SOFTMAX, False), (TANH, False), (LINEAR, True), (TANH, False), (VIEW, False)]
        ):
            key = f"step-{time.monotonic_ns()}"
            operands = [held, self.weight] if weighted else [held]
            begun = time.monotonic()
            reply = self._step(wanted, operands, f"step{number}", key)
            if isinstance(reply, Failed) and reply.missing:
                # As the engine does: what the device held is gone, so it is sent.
                previous = results[-1]
                operands[0] = self.driver.operand(previous, f"again-{key}")
                reply = self._step(wanted, operands, f"step{number}", key)
            assert time.monotonic() - begun < LONGEST
            assert isinstance(reply, Executed), reply
            assert reply.outputs[0] is not None
            results.append(reply.outputs[0])
            held = Operand(key, wanted.outputs[0], None)
        return results

    def _step(self, wanted: Unit, operands: list[Operand], label: str, key: str) -> Executed | Failed:
        return self.driver.run(wanted, *operands, label=label, result_keys=(key,))


def _same(actual: list[np.ndarray], expected: list[np.ndarray]) -> bool:
    return all(np.array_equal(a, e) for a, e in zip(actual, expected, strict=True))


@pytest.mark.parametrize("fault", [Fault.CUT, Fault.STALL, Fault.HALF_CLOSE, Fault.DELAY])
def test_random_faults_change_no_result(server: int, tmp_path: Path, kernel_folder: Path, fault: Fault) -> None:
    """Whatever happens to the line, at whatever byte: the results are those of an undisturbed run."""
    chance = sampling.rng(f"misbehaving {fault}")
    with MisbehavingProxy(server) as proxy:
        driver = _driver(proxy, tmp_path, kernel_folder)
        try:
            script = Script(driver)
            expected = script.run()
            done = happened = 0
            while done < SESSIONS or happened < SESSIONS // 4:  # a fault may wait for bytes that do not come
                assert done < 4 * SESSIONS
                done += 1
                # Half of them in the midst of tensors, half among the small messages between them.
                after = chance.randrange(80_000) if chance.random() < 0.5 else chance.randrange(2000)
                plan = Plan(fault, chance.choice(list(Way)), after)
                proxy.plan(plan)
                assert _same(script.run(), expected), plan
                happened += plan.happened.is_set()
                proxy.plan(None)
            assert driver.program_errors() == []
        finally:
            driver.backend.close()


def test_a_changed_byte_is_never_taken_for_the_result_of_a_kernel_unnoticed(
    server: int, tmp_path: Path, kernel_folder: Path
) -> None:
    """A byte may be changed in what comes back: what is asked again, with its inputs sent again, is right."""
    chance = sampling.rng("misbehaving corrupt")
    with MisbehavingProxy(server) as proxy:
        driver = _driver(proxy, tmp_path, kernel_folder)
        try:
            (expected,) = driver.outputs(LINEAR, driver.operand(X), driver.operand(WEIGHT, persistent=True))
            for _ in range(SESSIONS):
                plan = Plan(Fault.CORRUPT, chance.choice(list(Way)), chance.randrange(20_000))
                proxy.plan(plan)
                weight = driver.operand(WEIGHT, persistent=True)
                x = driver.operand(X)
                first = driver.run(LINEAR, x, weight)
                proxy.plan(None)
                if isinstance(first, Executed) and np.array_equal(first.outputs[0], expected):
                    continue
                # As the engine confirms a mismatch: everything goes up again, under new names. After that what was
                # held under the old one is right, too.
                operands = [Operand(f"again-{i}-{weight.key}", o.spec, o.bytes) for i, o in enumerate((x, weight))]
                again = driver.run(LINEAR, *operands, fresh=True)
                assert isinstance(again, Executed), (plan, first, again)
                np.testing.assert_array_equal(again.outputs[0], expected)
                (healed,) = driver.outputs(LINEAR, driver.operand(X), weight)
                np.testing.assert_array_equal(healed, expected)
            assert driver.program_errors() == []
        finally:
            driver.backend.close()


def test_a_step_takes_few_round_trips_and_weights_go_up_once(server: int, tmp_path: Path, kernel_folder: Path) -> None:
    with MisbehavingProxy(server, latency=0.025, rate=1e6) as proxy:
        driver = _driver(proxy, tmp_path, kernel_folder, Deadlines(run=20))
        try:
            script = Script(driver)
            script.run()  # kernels and weights are there now
            turns, up = proxy.turns, proxy.bytes[Way.UP]
            held = Operand("held", spec(X), None)
            driver.run(TANH, script.x, result_keys=("held",))
            began = proxy.turns
            driver.run(TANH, held, result_keys=("held2",))
            assert proxy.turns - began <= 2
            began, up = proxy.turns, proxy.bytes[Way.UP]
            driver.run(LINEAR, Operand("held2", spec(X), None), script.weight, result_keys=("held3",))
            assert proxy.turns - began <= 2
            assert proxy.bytes[Way.UP] - up < 1000
            assert turns > 0
        finally:
            driver.backend.close()
