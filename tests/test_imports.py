"""What a command loads: a framework, or the screen, only where it is needed.

Each check runs in a fresh interpreter and looks at `sys.modules`, because that is what costs time.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

FRAMEWORKS = {"torch", "tvm", "tvm_ffi", "transformers"}
SCREEN = {"textual"}
HEAVY = {"numpy", "msgpack", "rich", "ml_dtypes", "platformdirs"}

# What `python` itself and the command line load without being asked.
PRELUDE = "import sys\n"


def loaded_by(script: str) -> set[str]:
    """Top-level packages in `sys.modules` after `script` has run."""
    report = "\nprint('\\n' + '\\n'.join({name.partition('.')[0] for name in sys.modules}))"
    done = subprocess.run(
        [sys.executable, "-c", PRELUDE + script + report], check=False, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split("\n"))


def command(*arguments: str) -> str:
    """A script that runs `tapml-tui` in its own process."""
    return f"from tapml_tui.cli import main\ntry: main({list(arguments)!r})\nexcept SystemExit: pass"


@pytest.mark.parametrize("arguments", [("-h",), ("check", "-h"), ("carve", "-h"), ("--version",), ("check",)])
def test_help_loads_nothing_heavy(arguments: tuple[str, ...]) -> None:
    assert not loaded_by(command(*arguments)) & (FRAMEWORKS | SCREEN | HEAVY)
