"""How large a trace will be, from shapes alone, and whether there is room for it."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from tapml_tui.carve.errors import CarveError
from tapml_tui.carve.kinds import keeps_bytes
from tapml_tui.carve.plan import Plan
from trace_format.model import InputRef, NodeRef

BYTES_PER_NODE = 2048
"""Node, its values, index and padding, generously."""

RESERVE = 1.02
"""Block checksums and alignment."""


def estimate(cases: Iterable[Plan], weights_by_reference: bool) -> int:
    """Bytes that a trace of these cases (one plan per case) takes at most.

    Values that depend on data (the result of nonzero) are counted by what torch.export assumed; a trace
    is smaller where equal tensors are stored once.
    """
    total = 0
    weights: set[int] = set()
    for plan in cases:
        for i, (bound, meta) in enumerate(zip(plan.weights, plan.metas, strict=True)):
            if InputRef(i) not in plan.kept or (bound is not None and (weights_by_reference or id(bound) in weights)):
                continue
            weights.add(id(bound))
            total += _nbytes(meta)
        for index, step in enumerate(plan.steps):
            total += BYTES_PER_NODE
            if not keeps_bytes(step.target):
                kept = (m for i, m in enumerate(step.metas) if step.included or NodeRef(index, i) in plan.kept)
                total += sum(map(_nbytes, kept))
    return int(total * RESERVE)


def has_room(needed: int, out: Path, max_size: int | None) -> bool:
    """Whether `check_room` refuses nothing."""
    try:
        check_room(needed, out, max_size)
    except CarveError:
        return False
    return True


def check_room(needed: int, out: Path, max_size: int | None, written: int = 0) -> None:
    """Refuse before anything is recorded.

    Args:
        needed: Bytes of the trace at most.
        out: Where it will be.
        max_size: See `carve_workload`.
        written: What of it is on that disk already.

    Raises:
        CarveError: If the trace may get larger than `max_size` or than what the disk has left.
    """
    if max_size is not None and needed > max_size:
        raise CarveError(
            f"the trace would take up to {megabytes(needed)}",
            why=f"--max-size allows {megabytes(max_size)}",
            remedy="raise --max-size, carve a part with --include GLOB, or refer to the weights with --weights",
        )
    free = shutil.disk_usage(out.parent).free + written
    if needed > free:
        raise CarveError(
            f"the trace would take up to {megabytes(needed)}",
            why=f"the disk of {out.parent} has {megabytes(free)} left",
            remedy="free some space, write elsewhere with -o, or carve a part with --include GLOB",
        )


def megabytes(count: int) -> str:
    """A size for people."""
    return f"{count / 1e6:.1f} MB" if count < 1e9 else f"{count / 1e9:.1f} GB"


def _nbytes(meta: Any) -> int:
    if not isinstance(meta, torch.Tensor):
        return 0
    try:
        return math.prod(int(size) for size in meta.shape) * int(meta.itemsize)
    except Exception:  # a size that only the data can tell
        return 0
