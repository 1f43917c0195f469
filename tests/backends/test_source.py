"""The source side keeps the contract."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tapml_tui.backends.launch import TargetOptions, make_backends
from tapml_tui.backends.protocol import Executed, State
from tests.backends.contract import Contract
from tests.backends.driver import Driver, descendants, unary, wait_until

pytestmark = [pytest.mark.torch]

X = np.linspace(-1, 1, 8, dtype=np.float32)
GOOD = unary("aten.relu.default", X)


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory, kernel_folder: Path) -> Iterator[Driver]:
    """A started source side."""
    started = Driver(make_backends(TargetOptions(), cache_dir=kernel_folder)[0], tmp_path_factory.mktemp("source"))
    yield started
    started.backend.close()
    assert started.program_errors() == []


@pytest.fixture
def fresh(tmp_path: Path, kernel_folder: Path) -> Iterator[Driver]:
    """One of its own."""
    started = Driver(make_backends(TargetOptions(), cache_dir=kernel_folder)[0], tmp_path)
    yield started
    started.backend.close()


class TestSource(Contract):
    """PyTorch in a process."""

    worker = "worker_source"


def test_killed_while_it_loads(fresh: Driver) -> None:
    seen: set[int] = set()

    def loading() -> set[int]:
        return set(descendants("worker_source")) - fresh.others - seen

    request = fresh.execute(GOOD, X)
    for _ in range(2):
        wait_until(lambda: bool(loading()), "PyTorch is being loaded")
        seen |= loading()
        os.kill(max(seen), signal.SIGKILL)
    assert isinstance(fresh.answer(request), Executed)
    assert State.FAILED not in [status.state for status in fresh.states]
