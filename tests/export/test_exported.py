"""A faulty kernel, exported: plain pytest in another process fails as we say, and passes with the right kernel."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tapml_tui.backends.launch import TargetOptions, make_backends
from tapml_tui.engine.exhibits import Origin
from tapml_tui.headless.export import ExportRequest, export
from tests.engine.toys import mlp

pytestmark = [pytest.mark.torch, pytest.mark.tvm]

WRONG = """
from tvm import relax

def lower(op):
    if op == "aten.tanh.default":
        return lambda block, args, kwargs: relax.op.multiply(relax.op.tanh(args[0]), relax.const(1.5, "float32"))
"""


def run(test: Path, **environment: str) -> tuple[int, str]:
    """Run a test where nothing of this project can be imported by accident."""
    options = ["-q", "-p", "no:cacheprovider", "--rootdir", str(test.parent)]
    command = [sys.executable, "-P", "-m", "pytest", *options, str(test)]
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, cwd=test.parent, env={**os.environ, **environment}
    )
    return done.returncode, done.stdout


def test_it_fails_as_we_say_and_passes_when_the_kernel_is_right(tmp_path: Path) -> None:
    wrong, right = tmp_path / "wrong.py", tmp_path / "right.py"
    wrong.write_text(WRONG)
    right.write_text(WRONG.replace("1.5", "1.0"))
    with mlp(2).write(tmp_path / "t.trace") as trace:
        path, node = str(trace.path), trace.graphs[0].node_id(5)
    options = TargetOptions(lower=str(wrong))
    test = tmp_path / "out" / "test_tanh.py"
    test.parent.mkdir()
    request = ExportRequest(path, node, str(test), origin=Origin(lower=str(wrong)))
    assert export(request, lambda: make_backends(options, cache_dir=tmp_path / "cache")) == 0
    text = test.read_text()
    said = next(line for line in text.splitlines() if line.startswith("On llvm: ")).removeprefix("On llvm: ")
    assert "x the floor in 64 of 64 elements" in said

    code, out = run(test, SAVE=str(test.parent))
    assert code == 1
    assert said in out
    given, data = np.load(test.parent / "output0.npy"), np.load(test.with_suffix(".npz"))
    np.testing.assert_allclose(given, data["output0"] * 1.5, rtol=1e-5)

    assert run(test, LOWER=str(right))[0] == 0
    assert run(test, LOWER="")[0] == 1, "its own converter is the wrong one"
