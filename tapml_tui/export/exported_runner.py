"""Runs the tests in this folder, each in a process of its own: a kernel may take the process with it.

The same variables of the environment count as for a single test: TVM_TARGET, TVM_RPC, LOWER, ...
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def main() -> int:
    """Run all, or those that are named; 1 if any failed."""
    here = Path(__file__).parent
    chosen = [Path(name) for name in sys.argv[1:]] or sorted(here.glob("test_*.py"))
    failed = 0
    for test in chosen:
        command = [sys.executable, "-m", "pytest", "-q", "--tb=line", "-p", "no:cacheprovider", str(test)]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        lines = [line for line in done.stdout.splitlines() if "Error" in line or "rror:" in line]
        words = "passed" if done.returncode == 0 else f"FAILED  {lines[0][:300] if lines else done.stderr[-300:]}"
        print(f"{test.name}: {words}", flush=True)
        failed += done.returncode != 0
    print(f"{len(chosen) - failed} of {len(chosen)} passed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
