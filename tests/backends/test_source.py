"""The source side keeps the contract."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tapml_tui.backends.launch import TargetOptions, make_backends
from tests.backends.contract import Contract
from tests.backends.driver import Driver

pytestmark = [pytest.mark.torch]


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
