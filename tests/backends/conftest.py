"""Backends for tests: one cache of kernels for the whole run, processes shared by a module's tests."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def kernel_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A kernel cache that all tests of a run share."""
    return tmp_path_factory.mktemp("kernels") / "cache"
