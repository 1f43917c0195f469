"""What a command loads: a framework, or the screen, only where it is needed.

Each check runs in a fresh interpreter and looks at `sys.modules`, because that is what costs time.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.engine.toys import mlp

FRAMEWORKS = {"torch", "tvm", "tvm_ffi", "transformers"}
SCREEN = {"textual"}
HEAVY = FRAMEWORKS | SCREEN | {"numpy", "msgpack", "rich", "ml_dtypes", "platformdirs"}


def loaded_by(script: str) -> set[str]:
    """Top-level packages in `sys.modules` after `script` has run."""
    report = "\nprint('\\n' + '\\n'.join({name.partition('.')[0] for name in sys.modules}))"
    done = subprocess.run(
        [sys.executable, "-c", "import sys\n" + script + report],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split("\n"))


def command(*arguments: str) -> str:
    """A script that runs `tapml-tui` in its own process."""
    return f"from tapml_tui.cli import main\ntry: main({list(arguments)!r})\nexcept SystemExit: pass"


@pytest.mark.parametrize("arguments", [("-h",), ("check", "-h"), ("carve", "-h"), ("--version",), ("check",)])
def test_help_loads_nothing_heavy(arguments: tuple[str, ...]) -> None:
    assert not loaded_by(command(*arguments)) & HEAVY


@pytest.fixture
def trace(tmp_path: Path) -> str:
    """A small trace, whole."""
    with mlp().write(tmp_path / "toy.trace"):
        return str(tmp_path / "toy.trace")


def test_opening_a_trace_loads_no_framework(trace: str) -> None:
    opened = f"import trace_format\nwith trace_format.open_trace({trace!r}) as t: t.graphs[0].node(0)"
    assert not loaded_by(opened) & (FRAMEWORKS | SCREEN | {"rich", "tapml_tui"})


@pytest.mark.parametrize("name", ["info", "verify"])
def test_looking_at_a_trace_loads_the_format_alone(name: str, trace: str) -> None:
    assert not loaded_by(command(name, trace)) & (FRAMEWORKS | SCREEN | {"rich"})


def test_recover_loads_no_framework(trace: str, tmp_path: Path) -> None:
    assert not loaded_by(command("recover", trace, "-o", str(tmp_path / "saved.trace"))) & (FRAMEWORKS | SCREEN)


@pytest.mark.parametrize("module", ["check", "diff", "doctor", "info", "verify", "complaints"])
def test_headless_modules_load_neither_the_screen_nor_a_framework(module: str) -> None:
    assert not loaded_by(f"import tapml_tui.headless.{module}") & (FRAMEWORKS | SCREEN)


def test_a_check_loads_neither_the_screen_nor_a_framework(trace: str) -> None:
    script = (
        "from tests.engine.numpy_backend import NumpyBackend\n"
        "from tapml_tui.headless.check import Request, check\n"
        f"check(Request({trace!r}), lambda: (NumpyBackend('source'), NumpyBackend('target')))"
    )
    assert not loaded_by(script) & (FRAMEWORKS | SCREEN)


def test_launching_backends_loads_no_framework_here() -> None:
    launched = "from tapml_tui.backends.launch import TargetOptions, make_backends; make_backends(TargetOptions())"
    assert not loaded_by(launched) & (FRAMEWORKS | SCREEN)


def test_the_screen_loads_no_framework() -> None:
    assert not loaded_by("import tapml_tui.ui.app") & FRAMEWORKS


@pytest.mark.torch
def test_carving_loads_torch_and_no_more() -> None:
    loaded = loaded_by("import tapml_tui.carve")
    assert "torch" in loaded
    assert not loaded & {"tvm", "transformers", *SCREEN}
