"""Runs the tests in this folder, each in a process of its own: a kernel may take the process with it.

python run.py [--jobs N] [TEST ...]

The same variables of the environment count as for a single test: TVM_TARGET, TVM_RPC, LOWER, ... With TVM_TRACKER each
test asks for a device of its own, so that `--jobs N` uses N devices at a time.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path


def run(test: Path) -> str:
    """Why a test failed, "" if it passed."""
    command = [sys.executable, "-m", "pytest", "-q", "--tb=line", "-p", "no:cacheprovider", str(test)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode == 0:
        return ""
    lines = [line for line in done.stdout.splitlines() if "Error" in line or "rror:" in line]
    return lines[0][:300] if lines else done.stderr[-300:] or f"pytest ended with code {done.returncode}"


def main() -> int:
    """Run all, or those that are named; 1 if any failed."""
    parser = argparse.ArgumentParser(description="Runs the tests in this folder, each in a process of its own.")
    parser.add_argument("--jobs", type=int, default=1, help="how many at a time; more than one needs TVM_TRACKER")
    parser.add_argument("tests", nargs="*", type=Path, metavar="TEST")
    given = parser.parse_args()
    chosen = given.tests or sorted(Path(__file__).parent.glob("test_*.py"))
    failed = 0
    with ThreadPoolExecutor(max(1, given.jobs)) as pool:
        for test, why in zip(chosen, pool.map(run, chosen), strict=True):
            print(f"{test.name}: {f'FAILED  {why}' if why else 'passed'}", flush=True)
            failed += bool(why)
    print(f"{len(chosen) - failed} of {len(chosen)} passed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
