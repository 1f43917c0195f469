"""The models of the benchmarks, carved once into a folder that outlives the run."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

FOLDER = Path(tempfile.gettempdir()) / "tapml-tui-bench"
DEMO = Path(__file__).resolve().parents[2] / "assets" / "demo.trace"


def trace(name: str) -> Path:
    """The trace of `tests/models.py:NAME`, carved if it is not there yet."""
    path = FOLDER / f"{name}.trace"
    if not path.exists():
        FOLDER.mkdir(parents=True, exist_ok=True)
        subprocess.run([*TAPML, "carve", f"tests/models.py:{name}", "-o", str(path)], check=True, capture_output=True)
    return path


TAPML = (sys.executable, "-m", "tapml_tui")
