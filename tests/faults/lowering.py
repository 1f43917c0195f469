"""The kernels of the suite as a file for `--lower`: operators whose overload names a variant are converted here."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from tvm import relax

from tests.faults.kernels import prim_func


def lower(op: str) -> Callable[..., Any] | None:
    """The converter of one variant; None for the operators that PyTorch has."""
    if not op.rpartition(".")[2].startswith(("benign_", "fault_")):
        return None

    def build(block: relax.BlockBuilder, args: list[Any], kwargs: dict[str, Any]) -> relax.Expr:
        function, tensors, given = prim_func(op, args, kwargs)
        return relax.call_tir(block.add_func(function, "kernel"), tensors, [given])

    return build
