"""A model is fed what has nothing in it, a blank image: healthy kernels pass on constant rows, wrong ones do not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.torch, pytest.mark.tvm]

MODEL = """
import torch
from torch.nn import functional as F

class Blank(torch.nn.Module):
    def forward(self, x):
        c = torch.full_like(x, 3.3)
        rows = F.layer_norm(c, (1024,)), F.layer_norm(c + 1e-6 * x, (1024,)), F.layer_norm(0.5 * x + 1000, (1024,))
        return *rows, c.mean(-1), c.sum(-1), (c + 1e-3 * x).sum(-1)

def build():
    torch.manual_seed(1)
    return Blank().eval(), (torch.randn(8, 1024),)
"""
WRONG = """
from tvm import relax

def lower(op):
    name, by = op.split(".")[1], relax.const(1.001, "float32")
    if name == "sum":
        return lambda bb, args, kwargs: bb.emit(relax.op.sum(args[0], list(args[1])) * by)
    if name == "mean":
        return lambda bb, args, kwargs: bb.emit(relax.op.mean(args[0], list(args[1])) * by)
    return None
"""


def statuses(folder: Path, *more: str) -> dict[str, set[str]]:
    """By operator."""
    own = {**os.environ, "XDG_CACHE_HOME": str(folder / "cache")}
    command = [sys.executable, "-m", "tapml_tui"]
    for arguments in (("carve", "model.py:build", "-o", "t.trace"), ("check", "t.trace", "--json", "r.json", *more)):
        subprocess.run([*command, *arguments], cwd=folder, capture_output=True, timeout=280, check=False, env=own)
    found: dict[str, set[str]] = {}
    for node in json.loads((folder / "r.json").read_text())["nodes"]:
        found.setdefault(node["op"].split(".")[1], set()).add(node["status"])
    return found


def test_healthy_kernels_pass_on_constant_rows_and_wrong_ones_do_not(tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text(MODEL)
    (tmp_path / "wrong.py").write_text(WRONG)
    healthy = statuses(tmp_path)
    assert set().union(*healthy.values()) == {"passed"}
    wrong = statuses(tmp_path, "--lower", "wrong.py")
    assert wrong["sum"] == wrong["mean"] == {"failed"}
    assert wrong["layer_norm"] == {"passed"}
