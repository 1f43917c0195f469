"""`make bench`: run the benchmarks and print every promise beside what was measured.

`python -m tests.bench NAME...` runs only those whose module name contains a NAME.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import sys
import traceback

from tests import bench
from tests.bench.models import FOLDER


def main() -> int:
    """Print one line per promise. Returns how many were missed or broke."""
    # What is installed has its bytecode, ours like that of the peers: nobody compiles it at every start.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["PYTHONPYCACHEPREFIX"] = str(FOLDER / "bytecode")
    wanted = sys.argv[1:]
    missed = 0
    for module in sorted(m.name for m in pkgutil.iter_modules(bench.__path__)):
        if not module.startswith("bench_") or (wanted and not any(w in module for w in wanted)):
            continue
        print(f"== {module.removeprefix('bench_')}", flush=True)
        try:
            for row in importlib.import_module(f"tests.bench.{module}").rows():
                print(row, flush=True)
                missed += not row.kept
        except Exception:
            # One benchmark that breaks must not take the others with it.
            traceback.print_exc()
            missed += 1
    return missed


if __name__ == "__main__":
    sys.exit(min(main(), 100))
