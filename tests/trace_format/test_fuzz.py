"""A little of the fuzzer every time, by a fresh seed; `fuzz.py --count 100000` is the soak."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def test_mutants_raise_only_named_errors() -> None:
    count = os.environ.get("TAPML_FUZZ_COUNT", "2000")
    script = Path(__file__).with_name("fuzz.py")
    environment = {**os.environ, "PYTHONPATH": str(script.parents[2])}
    done = subprocess.run(
        [sys.executable, str(script), "--count", count], capture_output=True, text=True, env=environment, check=False
    )
    print(done.stdout)  # the seed
    assert done.returncode == 0, done.stdout + done.stderr
