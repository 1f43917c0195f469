"""A wrong kernel to find, for `--lower`: the sine of a tensor, whose last quarter of rows is never written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tvm import relax, te, tirx


def sine(block: relax.BlockBuilder, args: list[Any], kwargs: dict[str, Any]) -> relax.Expr:
    """What a kernel gives that counts its tiles one too short."""
    right = block.emit(relax.op.sin(args[0]))
    rows = int(right.ty.shape[-2])

    def without_its_tail(a: te.Tensor) -> te.Tensor:
        return te.compute(
            a.shape, lambda *at: tirx.Select(at[-2] < rows - rows // 4, a(*at), tirx.const(0, right.ty.dtype))
        )

    return block.emit_te(without_its_tail, right)


def lower(op: str) -> Callable[..., relax.Expr] | None:
    """The converter of `aten.sin`; all other operators are left to TVM."""
    return sine if op == "aten.sin.default" else None
