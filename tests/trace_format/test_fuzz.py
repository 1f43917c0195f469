"""A little of the fuzzer every time, by a fresh seed; all of it in the soak."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import sampling


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_mutations_raise_only_named_errors() -> None:
    """In a process of its own, under limits of memory, and of time for each mutant."""
    script = Path(__file__).with_name("fuzz.py")
    command = [sys.executable, str(script), "--count", str(sampling.count(2000, 100_000)), "--seed", str(sampling.SEED)]
    environment = {**os.environ, "PYTHONPATH": str(script.parents[2])}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
