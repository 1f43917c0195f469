"""Shared by all tests: the seed in the header, hypothesis profiles, threads kept to one."""

from __future__ import annotations

import os
import signal

import pytest
from hypothesis import HealthCheck, settings

from tests import sampling

# Two cores, many processes: libraries that start a thread per core only get in each other's way.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A shell's background job ignores Ctrl+C, and so would every process that a test starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

_COMMON = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large]}
settings.register_profile("quick", max_examples=20, **_COMMON)  # type: ignore[arg-type]
settings.register_profile("soak", max_examples=2000, **_COMMON)  # type: ignore[arg-type]
settings.load_profile("soak" if sampling.SOAK else "quick")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The seed, so that a failing random sample can be repeated. `-q` would leave it out of the header."""
    terminalreporter.write_line(f"sample: {'full (soak)' if sampling.SOAK else 'fresh'}, TAPML_SEED={sampling.SEED}")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Fast tests first, so that a broken build says so early."""
    order = ("slow", "tmux", "tvm", "torch")
    items.sort(key=lambda item: next((len(order) - i for i, m in enumerate(order) if item.get_closest_marker(m)), 0))
