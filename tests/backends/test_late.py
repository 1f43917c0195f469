"""A backend that is made late: nothing is imported before it is needed, and nothing is made to be closed."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

from tapml_tui.backends.late import LateBackend
from tests.engine.numpy_backend import NumpyBackend


def test_it_is_made_once_when_it_is_first_needed() -> None:
    made: list[NumpyBackend] = []

    def make() -> Any:
        made.append(NumpyBackend("source"))
        return made[-1]

    late = LateBackend("source", make)
    late.close()
    assert not made
    late.start(lambda reply: None)
    assert late.fingerprint == getattr(made[0], "fingerprint", "")
    late.restart()
    assert (len(made), made[0].restarts) == (1, 1)
    late.close()


def test_what_starts_workers_is_not_imported_before_they_are_started() -> None:
    code = (
        "import sys; from tapml_tui.backends.launch import TargetOptions, late_backends;"
        "late_backends(TargetOptions());"
        "print([name for name in ('sqlite3', 'subprocess', 'tapml_tui.backends.kernels') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
