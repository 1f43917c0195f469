"""Checks arguments against an operator's schema before the operator sees them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from tapml_tui.operators.registry import OperatorRefused

_NUMBER = (bool, int, float, complex)

_LEAVES: dict[str, Callable[[object], bool]] = {
    # A Python number is accepted where a tensor is wanted: torch wraps it (aten.mul.Tensor(x, 0.5)).
    "Tensor": lambda v: isinstance(v, (torch.Tensor, *_NUMBER)),
    "int": lambda v: isinstance(v, int),
    "SymInt": lambda v: isinstance(v, int),
    "float": lambda v: isinstance(v, (int, float)),
    "bool": lambda v: isinstance(v, bool),
    "number": lambda v: isinstance(v, _NUMBER),
    "Scalar": lambda v: isinstance(v, _NUMBER),
    "complex": lambda v: isinstance(v, _NUMBER),
    "str": lambda v: isinstance(v, str),
    "ScalarType": lambda v: isinstance(v, torch.dtype),
    "Layout": lambda v: isinstance(v, torch.layout),
    "MemoryFormat": lambda v: isinstance(v, torch.memory_format),
    "Device": lambda v: isinstance(v, torch.device),
}


def check_arguments(op: torch._ops.OpOverload, args: Sequence[object], kwargs: Mapping[str, object]) -> None:
    """Compare arguments with the schema: how many, which names, which types.

    Raises:
        OperatorRefused: Naming the first argument that does not fit.
    """
    schema = op._schema
    name = f"{schema.name}.{op._overloadname}".replace("::", ".")
    positional = [a for a in schema.arguments if not a.kwarg_only]
    if len(args) > len(positional):
        raise OperatorRefused(f"{name} takes {len(positional)} positional arguments, the trace gives {len(args)}")
    known = {a.name: a for a in schema.arguments}
    taken = {a.name for a in positional[: len(args)]}
    for key in kwargs:
        if key not in known:
            raise OperatorRefused(f"{name} has no argument {key[:40]!r}")
        if key in taken:
            raise OperatorRefused(f"{name} is given {key} twice")
    given = dict(zip((a.name for a in positional), args, strict=False)) | dict(kwargs)
    for argument in schema.arguments:
        if argument.name not in given:
            if not argument.has_default_value():
                raise OperatorRefused(f"{name} is not given its argument {argument.name}")
        elif not _fits(given[argument.name], argument.real_type, argument.N):
            found = type(given[argument.name]).__name__
            raise OperatorRefused(f"{name}: {argument.name} must be {argument.real_type}, the trace gives a {found}")


def _fits(value: object, kind: Any, broadcast: int | None = None) -> bool:
    match kind.kind():
        case "OptionalType":
            return value is None or _fits(value, kind.getElementType(), broadcast)
        case "ListType":
            element = kind.getElementType()
            if isinstance(value, (list, tuple)):
                return all(_fits(item, element) for item in value)
            return bool(broadcast) and _fits(value, element)  # int[2] takes one int for both
    check = _LEAVES.get(str(kind))
    return check is not None and check(value)
