"""What kind of operator it is, where that changes what can be said about its result."""

from __future__ import annotations

from enum import Enum, auto
from functools import lru_cache
from typing import Any

import torch


class Kind(Enum):
    """How an operator's result relates to its inputs."""

    COMPUTES = auto()
    MOVES = auto()
    """Every element of the result is, bit for bit, an element of an input or a constant of the call."""
    UNINITIALISED = auto()
    RANDOM = auto()


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_SAME_BYTES = _words(
    "view _unsafe_view reshape unsqueeze squeeze alias clone detach contiguous flatten lift_fresh lift_fresh_copy"
)
_MOVES = _SAME_BYTES | _words(
    """transpose permute t numpy_T mT adjoint movedim swapaxes expand expand_as slice select narrow split
    split_with_sizes chunk tensor_split unbind cat concat stack hstack vstack index index_select gather take
    take_along_dim embedding where masked_fill masked_select repeat repeat_interleave flip roll rot90 tile
    constant_pad_nd reflection_pad1d reflection_pad2d replication_pad1d replication_pad2d tril triu diagonal diag
    index_put _unsafe_index index_copy scatter slice_scatter select_scatter diagonal_scatter unfold pixel_shuffle
    pixel_unshuffle channel_shuffle real imag view_as_real view_as_complex zeros ones full zeros_like ones_like
    full_like new_zeros new_ones new_full scalar_tensor broadcast_to copy fill"""
)
_CASTS = _words("_to_copy to type_as convert_element_type")
_UNINITIALISED = _words("empty empty_like empty_strided empty_permuted new_empty new_empty_strided")


def kind_of(target: Any, args: tuple[Any, ...], kwargs: dict[str, Any], dtypes: tuple[torch.dtype, ...]) -> Kind:
    """Classify a call.

    Args:
        target: What is called.
        args: Its positional arguments.
        kwargs: Its keyword arguments.
        dtypes: Of its tensor inputs and outputs. Data that changes its dtype on the way is not merely moved,
            unless every value has exactly one representation in the new one.
    """
    if not isinstance(target, torch._ops.OpOverload):
        return Kind.COMPUTES
    namespace, name = target._schema.name.split("::")
    if torch.Tag.nondeterministic_seeded in target.tags and not _drops_nothing(target, args, kwargs):
        return Kind.RANDOM
    if namespace not in ("aten", "prims"):
        return Kind.COMPUTES
    if name in _UNINITIALISED:
        return Kind.UNINITIALISED
    floats = {d.to_real() for d in dtypes if d.is_floating_point or d.is_complex}
    if name in _CASTS:
        return Kind.MOVES if _widens(dtypes) else Kind.COMPUTES
    if name not in _MOVES or len(floats) > 1:
        return Kind.COMPUTES
    accumulates = kwargs.get("accumulate") or (name == "index_put" and len(args) > 3 and args[3])
    return Kind.COMPUTES if accumulates or "reduce" in kwargs else Kind.MOVES


def _drops_nothing(target: torch._ops.OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether dropout is all that could be random here, and is switched off (attention in evaluation)."""
    given = {argument.name: argument.default_value for argument in target._schema.arguments}
    given |= dict(zip(given, args, strict=False)) | kwargs
    return given.get("train") is False or given.get("dropout_p") == 0 or given.get("p") == 0


@lru_cache(1024)
def keeps_bytes(target: Any) -> bool:
    """Whether the result has the bytes of the first input, so that it costs no room in a trace."""
    return isinstance(target, torch._ops.OpOverload) and str(target._schema.name).split("::")[1] in _SAME_BYTES


def _widens(dtypes: tuple[torch.dtype, ...]) -> bool:
    """Whether every value of the first dtype is a value of the last."""
    if len(dtypes) < 2:
        return False
    before, after = dtypes[0], dtypes[-1]
    if before == after:
        return True
    # Only these: float16 and bfloat16 do not hold each other, float32 does not hold every int64.
    return bool(
        before.is_floating_point and after.itemsize > before.itemsize and after in (torch.float32, torch.float64)
    )
