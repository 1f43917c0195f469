"""The rules of CONTRIBUTING that no linter knows."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LINES = 400

# Absolute paths of somebody's machine. `/tmp/...` and `/dev/...` are the same everywhere.
MACHINE_PATH = re.compile(rb"(?<![\w.])/(?:home|root|work|Users|mnt|workspace)/[\w.-]")


def tracked() -> list[Path]:
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("not a checkout")
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True)
    return [path for name in done.stdout.decode().split("\0") if name and (path := ROOT / name).is_file()]


@pytest.mark.parametrize("package", ["tapml_tui", "trace_format"])
def test_every_module_is_short(package: str) -> None:
    sizes = {path: len(path.read_text().splitlines()) for path in (ROOT / package).rglob("*.py")}
    assert {str(path.relative_to(ROOT)): size for path, size in sizes.items() if size > LINES} == {}


def test_no_tracked_file_names_a_path_of_a_development_machine() -> None:
    found = {
        str(path.relative_to(ROOT)): match.group().decode()
        for path in tracked()
        if (match := MACHINE_PATH.search(path.read_bytes()))
    }
    assert found == {}
