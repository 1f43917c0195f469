"""The soak runs what its report says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.soak import JOBS, Job

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
@pytest.mark.parametrize("job", [job for job in JOBS if "-k" in job.selection], ids=lambda job: job.name)
def test_a_job_selects_tests(job: Job) -> None:
    """A test that is renamed must not leave a job that runs nothing, and passes."""
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *job.selection]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout  # 5: no test is left


def test_every_job_names_folders_that_there_are() -> None:
    for job in JOBS:
        assert (ROOT / job.selection[0]).is_dir()
