"""`make soak`: the full counts, in chunks, resumable, with a report.

Each job is a selection of tests that runs in chunks, each with a seed of its own. A finished
chunk is written down at once, so stopping at any moment loses one chunk at most.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(".soak")
TIMEOUT = 6 * 3600
"""Seconds for one test: 2 000 examples take longer than the limit of `make test`."""


@dataclass(frozen=True)
class Job:
    """`chunks` runs of pytest over `selection`, each with a fresh seed."""

    name: str
    selection: tuple[str, ...]
    chunks: int


JOBS = (
    Job("trace mutations (100 000)", ("tests/trace_format", "-k", "mutation"), 10),
    Job("trace cut at every byte", ("tests/trace_format", "-k", "cut"), 1),
    Job("format properties", ("tests/trace_format", "-k", "property"), 5),
    Job("engine properties", ("tests/engine",), 10),
    Job("worker faults", ("tests/backends",), 20),
    Job("real models", ("tests/headless", "tests/carve"), 1),
    Job("screen", ("tests/ui",), 5),
    Job("wrong kernels", ("tests/faults",), 3),
    Job("blame and migration", ("tests/migration", "tests/export"), 1),
    Job("ways to a device", ("tests/devices",), 1),
)


def main() -> int:
    """Run what is not done yet; write `.soak/report.md`. Returns 1 if a chunk failed."""
    FOLDER.mkdir(exist_ok=True)
    state_file = FOLDER / "state.json"
    state: dict[str, list[dict[str, object]]] = json.loads(state_file.read_text()) if state_file.exists() else {}
    for job in JOBS:
        done = state.setdefault(job.name, [])
        while len(done) < job.chunks:
            seed = int.from_bytes(os.urandom(4), "big")
            started = time.time()
            run = subprocess.run(
                [sys.executable, "-m", "pytest", f"--timeout={TIMEOUT}", *job.selection],
                env={**os.environ, "TAPML_SOAK": "1", "TAPML_SEED": str(seed), "TAPML_SOAK_CHUNKS": str(job.chunks)},
                capture_output=True,
                text=True,
                check=False,
            )
            last = run.stdout.strip().splitlines()[-1:] or [run.stderr.strip()[-200:]]
            done.append({"seed": seed, "rc": run.returncode, "seconds": time.time() - started, "last": last[0]})
            if run.returncode:
                (FOLDER / f"failed-{seed}.log").write_text(run.stdout + run.stderr)
            state_file.write_text(json.dumps(state, indent=1))
            print(f"{job.name}: chunk {len(done)}/{job.chunks}, seed {seed}: {last[0]}", flush=True)
    lines = ["# Soak report", "", "| job | chunks | failed | hours |", "|---|---|---|---|"]
    for name, chunks in state.items():
        failed = sum(bool(c["rc"]) for c in chunks)
        hours = sum(float(str(c["seconds"])) for c in chunks) / 3600
        lines.append(f"| {name} | {len(chunks)} | {failed} | {hours:.2f} |")
    report = "\n".join(lines) + "\n"
    (FOLDER / "report.md").write_text(report)
    print(report)
    return int(any(c["rc"] for chunks in state.values() for c in chunks))


if __name__ == "__main__":
    sys.exit(main())
