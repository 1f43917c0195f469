"""A faulty kernel, exported: plain pytest in another process fails as we say, and passes with the right kernel."""

from __future__ import annotations

import ast
import os
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tapml_tui.backends.launch import TargetOptions, make_backends
from tapml_tui.engine.exhibits import Origin
from tapml_tui.headless.export import ExportRequest, export
from tests.engine.toys import mlp
from tests.migration.placements import carve
from tests.sampling import SOAK

pytestmark = [pytest.mark.torch, pytest.mark.tvm]

DEMO = Path(__file__).parents[2] / "assets" / "demo.trace"

WRONG = """
from tvm import relax

def lower(op):
    if op == "aten.tanh.default":
        return lambda block, args, kwargs: relax.op.multiply(relax.op.tanh(args[0]), relax.const(1.5, "float32"))
"""


RIGHT = """
from tvm import relax

def lower(op):
    return {"aten.cumsum.default": cumsum, "aten.new_ones.default": new_ones, "aten.add.Tensor": add}.get(op)

def cumsum(block, args, kwargs):
    return relax.op.cumsum(relax.op.astype(args[0], "int64"), axis=args[1], dtype="int64")

def new_ones(block, args, kwargs):
    return relax.op.ones(args[1], kwargs["dtype"])

def add(block, args, kwargs):
    return relax.op.add(args[0], relax.op.multiply(args[1], relax.const(kwargs.get("alpha", 1), args[1].ty.dtype)))
"""
"""Healthy kernels for all that TVM gets wrong in our models."""


def run(tests: Path, **environment: str) -> tuple[int, str]:
    """Run a test, or a folder of them, where nothing of this project can be imported by accident."""
    folder = tests if tests.is_dir() else tests.parent
    options = ["-q", "-p", "no:cacheprovider", "--rootdir", str(folder)]
    command = [sys.executable, "-P", "-m", "pytest", *options, str(tests)]
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, cwd=folder, env={**clean, **environment}
    )
    return done.returncode, done.stdout


def said_of(test: Path) -> str:
    """What the program says of a kernel, in the test's head."""
    return next(line for line in test.read_text().splitlines() if line.startswith("On llvm: ")).removeprefix(
        "On llvm: "
    )


def data_of(test: Path) -> dict[str, np.ndarray]:
    """What was recorded, out of the test and the file beside it."""
    data = test.with_suffix(".npz")
    case = next(
        statement.value
        for statement in ast.parse(test.read_text()).body
        if isinstance(statement, ast.AnnAssign) and ast.unparse(statement.target) == "CASE" and statement.value
    )
    small = {name: np.array(values) for name, values in ast.literal_eval(case)["arrays"].items()}
    return {**small, **(np.load(data) if data.exists() else {})}


def bytes_of(test: Path) -> int:
    """Bytes of a test's data."""
    return sum(array.nbytes for array in data_of(test).values())


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
    said = said_of(test)
    assert "x the floor in 64 of 64 elements" in said

    code, out = run(test, SAVE=str(test.parent))
    assert code == 1
    assert said in out
    given, data = np.load(test.parent / "output0.npy"), data_of(test)
    np.testing.assert_allclose(given, data["output0"] * 1.5, rtol=1e-5)

    assert run(test, LOWER=str(right))[0] == 0
    assert run(test, LOWER="")[0] == 1, "its own converter is the wrong one"


@pytest.mark.slow
def test_every_kernel_that_fails_in_a_model_fails_and_passes_elsewhere(tmp_path: Path) -> None:
    right = tmp_path / "right.py"
    right.write_text(RIGHT)
    shrunk: list[float] = []
    for model in ("demo", "minilm", "llama", "mixtral") if SOAK else ("demo",):
        trace = tmp_path / f"{model}.trace"
        if model == "demo":
            shutil.copy(DEMO, trace)
        else:
            carve(tmp_path, model)
        small, whole = tmp_path / model / "small", tmp_path / model / "whole"
        for folder in (small, whole) if SOAK else (small,):
            request = ExportRequest(str(trace), None, str(folder), shrink=folder is small)
            assert export(request, lambda: make_backends(TargetOptions(), cache_dir=tmp_path / "cache")) == 0
            code, out = run(folder)
            tests = sorted(folder.glob("test_*.py"))
            assert code == 1
            assert f"{len(tests)} failed" in out
            assert "passed" not in out
            assert not [test.name for test in tests if said_of(test) not in out], out
            assert run(folder, LOWER=str(right))[0] == 0
        assert not list(small.glob("*.npz")), "so little is left that it is in the test"
        shrunk += [bytes_of(test) / bytes_of(small / test.name) for test in sorted(whole.glob("test_*.py"))]
    assert not shrunk or statistics.median(shrunk) >= 10
