"""The target side keeps the contract."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tapml_tui.backends.launch import TargetOptions, make_backends
from tapml_tui.backends.protocol import BackendStatus
from tests.backends.contract import Contract
from tests.backends.driver import Driver, unary

pytestmark = [pytest.mark.tvm]


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory, kernel_folder: Path) -> Iterator[Driver]:
    """A started target side."""
    started = Driver(make_backends(TargetOptions(), cache_dir=kernel_folder)[1], tmp_path_factory.mktemp("target"))
    yield started
    started.backend.close()
    assert started.program_errors() == []


@pytest.fixture
def fresh(tmp_path: Path, kernel_folder: Path) -> Iterator[Driver]:
    """One of its own."""
    started = Driver(make_backends(TargetOptions(), cache_dir=kernel_folder)[1], tmp_path)
    yield started
    started.backend.close()


class TestTarget(Contract):
    """TVM behind an RPC server of our own."""

    worker = "worker_device"


def test_traffic_is_counted(driver: Driver) -> None:
    x = np.arange(1024, dtype=np.float32)
    before = driver.states[-1].traffic
    driver.run(unary("aten.relu.default", x), x)
    driver.drain()
    after = next(r.traffic for r in reversed(driver.replies) if isinstance(r, BackendStatus))
    assert before is not None and after is not None
    assert after.down - before.down >= x.nbytes
    assert after.up - before.up >= x.nbytes
    assert after.rate > 0


def test_several_targets_have_ids_of_their_own(tmp_path: Path, kernel_folder: Path) -> None:
    options = [TargetOptions(name="llvm"), TargetOptions(name="c", target="c")]
    source, *targets = make_backends(options, cache_dir=kernel_folder)
    assert [backend.id for backend in (source, *targets)] == ["source", "target:llvm", "target:c"]
    x = np.linspace(-1, 1, 8, dtype=np.float32)
    drivers = [Driver(backend, tmp_path) for backend in targets]
    try:
        for started in drivers:
            (output,) = started.outputs(unary("aten.relu.default", x), x)
            np.testing.assert_array_equal(output, np.maximum(x, 0))
            assert started.states[-1].backend == started.backend.id
    finally:
        for started in drivers:
            started.backend.close()
    with pytest.raises(ValueError, match="name"):
        make_backends([TargetOptions(), TargetOptions(name="c")])
