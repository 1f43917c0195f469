"""The user mends a kernel while the program is open: `R` takes it up, and what was computed before is not believed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tapml_tui.backends.launch import TargetOptions, make_backends
from tapml_tui.backends.protocol import Failed
from tapml_tui.engine.commands import Retry, RunNodes
from tests.backends.driver import Driver, unary
from tests.engine import toys

pytestmark = [pytest.mark.torch, pytest.mark.tvm]

X = np.linspace(-1, 1, 8, dtype=np.float32)
TANH = unary("aten.tanh.default", X)
LOWER = """
from tvm import relax
from factor import FACTOR

def lower(op):
    if op == "aten.tanh.default":
        return lambda bb, args, kwargs: bb.emit(relax.op.tanh(args[0]) * relax.const(FACTOR, "float32"))
"""


@pytest.fixture
def lower(tmp_path: Path) -> Path:
    """A wrong kernel, whose number lies in a file beside it."""
    (tmp_path / "lower.py").write_text(LOWER)
    say(tmp_path, 2.0)
    return tmp_path / "lower.py"


def say(folder: Path, factor: float) -> None:
    (folder / "factor.py").write_text(f"FACTOR = {factor}  # {'x' * int(10 * factor)}\n")


def test_a_target_takes_up_what_its_files_say(tmp_path: Path, kernel_folder: Path, lower: Path) -> None:
    target = make_backends(TargetOptions(lower=str(lower)), cache_dir=kernel_folder)[1]
    driver = Driver(target, tmp_path)
    try:
        np.testing.assert_allclose(driver.outputs(TANH, X)[0], 2 * np.tanh(X), rtol=1e-5)
        before = target.fingerprint
        assert not target.reread()
        say(tmp_path, 1.0)
        assert target.changed == "factor.py"
        assert target.fingerprint == before, "it works with what it read"
        np.testing.assert_allclose(driver.outputs(TANH, X)[0], 2 * np.tanh(X), rtol=1e-5)
        assert target.reread()
        assert target.changed == ""
        assert target.fingerprint != before
        np.testing.assert_allclose(driver.outputs(TANH, X)[0], np.tanh(X), rtol=1e-5)
    finally:
        target.close()


def test_a_compiler_that_starts_later_does_not_take_new_for_old(tmp_path: Path, lower: Path) -> None:
    target = make_backends(TargetOptions(lower=str(lower)), cache_dir=tmp_path / "no kernel yet")[1]
    assert target.fingerprint
    say(tmp_path, 3.0)
    driver = Driver(target, tmp_path)
    try:
        reply = driver.run(TANH, X)
        assert isinstance(reply, Failed)
        assert reply.reason == "lower.py changed while the session was open; R takes it up"
        assert target.reread()
        np.testing.assert_allclose(driver.outputs(TANH, X)[0], 3 * np.tanh(X), rtol=1e-5)
    finally:
        target.close()


def test_what_was_computed_before_is_computed_again(tmp_path: Path, kernel_folder: Path, lower: Path) -> None:
    trace = toys.mlp(2).write(tmp_path / "t.trace")
    backends = make_backends(TargetOptions(lower=str(lower)), cache_dir=kernel_folder)
    with toys.Driver(trace, backends) as driver:  # type: ignore[arg-type]
        driver.do(RunNodes())
        assert driver.verdicts()[2] == driver.verdicts()[5] == "LOCAL"
        say(tmp_path, 1.0)
        said = driver.do(RunNodes((0,))).message
        assert said.startswith("factor.py changed: R takes that up. ")
        assert driver.verdicts()[2] == "LOCAL"
        said = driver.do(Retry()).message
        assert said.startswith("factor.py taken up; ")
        driver.do(RunNodes())
        assert driver.statuses() == ["passed"] * 6
        assert driver.do(Retry()).message == "nothing to retry"
        say(tmp_path, 2.0)
        assert driver.do(Retry()).message == "factor.py taken up: what was computed with it is computed again"
        driver.do(RunNodes())
        assert driver.verdicts()[2] == driver.verdicts()[5] == "LOCAL"
