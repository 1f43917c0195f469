"""An operator that only the user's Python has: carved, executed by the source, converted as the user says."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.torch, pytest.mark.tvm]

MODEL = """
import torch
from torch import Tensor, nn

@torch.library.custom_op("tapml_user::squash", mutates_args=())
def squash(x: Tensor, scale: float) -> Tensor:
    return scale * x / (1 + x.abs())

@squash.register_fake
def _(x: Tensor, scale: float) -> Tensor:
    return torch.empty_like(x)

class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(16, 16), nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.b(torch.ops.tapml_user.squash(self.a(x), 2.0))

def build():
    torch.manual_seed(0)
    return Net().eval(), (torch.randn(8, 16),)
"""

LOWER = """
from tvm import relax
from times import doubled  # of the same folder

def lower(op):
    if op != "tapml_user.squash.default":
        return None
    def build(bb, args, kwargs):
        x, scale = args
        one, by = (relax.const(value, "float32") for value in (1.0, FACTOR * scale))
        return bb.emit(relax.op.divide(relax.op.multiply(x, by), relax.op.add(one, relax.op.abs(x))))
    return build
"""
NODE = "/tapml_user.squash.default#0"


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tapml_tui", *arguments]
    own = {**os.environ, "XDG_CACHE_HOME": str(folder / "cache")}  # no answer of another run is in it
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=280, check=False, env=own)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("user")
    (made / "model.py").write_text(MODEL)
    (made / "times.py").write_text("doubled = 2.0\n")
    done = run(made, "carve", "model.py:build", "-o", "m.trace")
    assert done.returncode == 0, done.stderr
    return made


@pytest.mark.parametrize(("factor", "status"), [("1.0", "passed"), ("doubled", "failed")])
def test_it_is_judged_in_a_chain_as_any_other(folder: Path, factor: str, status: str) -> None:
    (folder / "lower.py").write_text(LOWER.replace("FACTOR", factor))
    loaded = ("--allow-ops", "tapml_user", "--load", "model.py")
    done = run(folder, "check", "m.trace", "--mode", "chained", *loaded, "--lower", "lower.py", "--json", "r.json")
    said = json.loads((folder / "r.json").read_text())
    found = {node["id"]: node["status"] for node in said["nodes"]}
    assert len(found) == 3
    assert found[NODE] == status, done.stderr
    assert done.returncode == (status != "passed")


def test_what_is_missing_is_named(folder: Path) -> None:
    done = run(folder, "check", "m.trace", "--json", "r.json")
    (node,) = [n for n in json.loads((folder / "r.json").read_text())["nodes"] if n["id"] == NODE]
    assert node["status"] == "unsupported"
    assert "--allow-ops tapml_user" in node["reason"]
    assert "--load FILE.py" in node["reason"]
    done = run(folder, "check", "m.trace", "--load", "nowhere.py")
    assert done.returncode == 2
    assert "there is no file nowhere.py" in done.stderr


def test_the_compiler_knows_it_too_and_only_says_that_tvm_does_not(folder: Path) -> None:
    run(folder, "check", "m.trace", "--allow-ops", "tapml_user", "--load", "model.py", "--json", "r.json")
    (node,) = [n for n in json.loads((folder / "r.json").read_text())["nodes"] if n["id"] == NODE]
    assert node["status"] == "unsupported"
    assert "squash" in node["reason"]
    assert "--load" not in node["reason"]


def pytested(test: Path, **environment: str) -> tuple[int, str]:
    """Run an exported test where nothing of this project is."""
    command = [
        sys.executable,
        "-P",
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--rootdir",
        str(test.parent),
        str(test),
    ]
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, cwd=test.parent, env={**clean, **environment}
    )
    return done.returncode, done.stdout


def test_a_test_of_it_leaves_home(folder: Path) -> None:
    for name, factor in (("wrong", "doubled"), ("right", "1.0")):
        (folder / f"{name}.py").write_text(LOWER.replace("FACTOR", factor))
    loaded = ("--allow-ops", "tapml_user", "--load", "model.py")
    done = run(folder, "export", "m.trace", NODE, "-o", "test_it.py", *loaded, "--lower", "wrong.py")
    assert done.returncode == 0, done.stderr
    away = folder / "away"
    away.mkdir()
    for path in (*folder.glob("test_it.*"), *folder.glob("user_files_*")):
        shutil.move(path, away)
    (folder / "wrong.py").unlink()
    code, out = pytested(away / "test_it.py")
    assert code == 1
    assert "x the floor in 128 of 128 elements" in out
    assert pytested(away / "test_it.py", LOWER=str(folder / "right.py"))[0] == 0

    done = run(folder, "export", "m.trace", NODE, "-o", "test_plain.py", *loaded)
    assert done.returncode == 0, done.stderr
    code, out = pytested(folder / "test_plain.py")
    assert code == 1
    assert "TVM does not convert it" in out
    assert "squash" in out
    assert pytested(folder / "test_plain.py", LOWER=str(folder / "right.py"))[0] == 0
    (folder / "nothing.py").write_text("")
    assert "tapml_user" in pytested(folder / "test_plain.py", LOAD=str(folder / "nothing.py"))[1]
