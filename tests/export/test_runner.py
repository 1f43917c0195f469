"""What runs the tests of a folder: each on its own, several at a time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import tapml_tui.export

TESTS = {
    "test_1_right.py": "def test_it(): pass",
    "test_2_wrong.py": "def test_it(): assert 812 < 1, 'far off'",
    "test_3_crash.py": "import os, signal\ndef test_it(): os.kill(os.getpid(), signal.SIGKILL)",
    "test_4_right.py": "def test_it(): pass",
}


@pytest.mark.slow
@pytest.mark.parametrize("jobs", ["1", "3"])
def test_each_is_told_of_in_order_and_a_crash_stops_nobody(tmp_path: Path, jobs: str) -> None:
    for name, text in TESTS.items():
        (tmp_path / name).write_text(text)
    runner = Path(tapml_tui.export.__file__).with_name("exported_runner.py")
    (tmp_path / "run.py").write_text(runner.read_text())
    command = [sys.executable, str(tmp_path / "run.py"), "--jobs", jobs]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert [line.partition(":")[0] for line in lines[:-1]] == list(TESTS)
    assert ["passed" in line for line in lines[:-1]] == [True, False, False, True]
    assert "far off" in lines[1] and "-9" in lines[2]
    assert lines[-1] == "2 of 4 passed"
