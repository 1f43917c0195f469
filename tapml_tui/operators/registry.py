"""Finding an operator by its name, for names that come out of a file.

A name is only ever compared with what torch has registered already: nothing is imported,
loaded or created for it. Some operators are refused although they exist, because an operator
name out of a trace would be a way out of the process (`aten.from_file` creates its file).
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

import torch

DEFAULT_NAMESPACES = frozenset({"aten", "prims"})
MAX_NAME = 200

_NAME = re.compile(r"([A-Za-z0-9_]+)\.([A-Za-z0-9_]+)\.([A-Za-z0-9_]+)")
_PATH_LIKE = re.compile(r"file|path|dir|url|uri", re.IGNORECASE)
# Types of which no value is ever built from a trace: storages and streams are raw access to memory.
_RAW_TYPES = frozenset({"Storage", "Stream"})


class OperatorRefused(Exception):
    """An operator is unknown, not allowed, or its arguments do not fit. The message is for users."""


def operator_name(op: torch._ops.OpOverload) -> str:
    """`namespace.name.overload` of an operator, the name that `resolve` takes."""
    namespace, name = op._schema.name.split("::")
    return f"{namespace}.{name}.{op._overloadname}"


def resolve(name: str, allow: Collection[str] = frozenset()) -> torch._ops.OpOverload:
    """The registered operator called `name`.

    Args:
        name: `namespace.name.overload`, e.g. "aten.linear.default".
        allow: Namespaces ("mylib") or operators ("mylib.op" or "mylib.op.default") allowed besides
            aten and prims.

    Raises:
        OperatorRefused: If the name is malformed, not allowed, not registered, or if the operator
            takes a path, raw memory, or gives nothing back.
    """
    match = _NAME.fullmatch(name) if len(name) <= MAX_NAME else None
    if match is None:
        raise OperatorRefused(f"{name[:60]!r} is no operator name: it must look like aten.add.Tensor")
    namespace, base, overload = match.groups()
    qualified = f"{namespace}::{base}" + ("" if overload == "default" else f".{overload}")
    ours = namespace in DEFAULT_NAMESPACES
    registered = qualified in torch._C._dispatch_get_all_op_names()
    load = "" if ours or registered else "name the Python that registers it with --load FILE.py"
    if not ours and not {namespace, f"{namespace}.{base}", name} & set(allow):
        raise OperatorRefused(
            f"{name} is not from aten or prims: allow it with --allow-ops {namespace}{load and ', and '}{load}"
        )
    if not registered:
        raise OperatorRefused(f"{name} is not registered in torch {torch.__version__}{load and ': '}{load}")
    op: Any = getattr(getattr(getattr(torch.ops, namespace), base), overload)
    if not isinstance(op, torch._ops.OpOverload) or op.name() != qualified:
        raise OperatorRefused(f"{name} is registered, but not as an operator that can be called by name")
    _refuse_dangerous(name, op._schema)
    return op


def _refuse_dangerous(name: str, schema: Any) -> None:
    for argument in schema.arguments:
        kind = str(argument.type)
        if "str" in kind and _PATH_LIKE.search(argument.name):
            raise OperatorRefused(f"{name} takes a path ({argument.name}): never executed out of a trace")
        if any(raw in kind for raw in _RAW_TYPES):
            raise OperatorRefused(f"{name} takes raw memory ({argument.name}): never executed out of a trace")
    if not schema.returns:
        raise OperatorRefused(f"{name} gives nothing back: there is nothing to execute it for")
