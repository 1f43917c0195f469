"""One kernel of the suite as a PrimFunc: a healthy variant, or a blend of the healthy result with a wrong one.

The overload of an operator says which: `aten.linear.benign_sum_lanes_8`, `aten.linear.fault_scale_17` (kind, seed). A
wrong kernel has two operands more: four numbers (strength; root mean square and a level of the right result; how many
of the elements are hit, where that is the strength) and what lay in its output's memory before. It gives
`good + strength * (wrong - good)`, so that one kernel serves all strengths.
"""

from __future__ import annotations

import random
from typing import Any

from tvm import relax, te, tirx
from tvm.s_tir import Schedule

from tests.faults import damaged, miscomputed
from tests.faults.arithmetic import of_name
from tests.faults.kit import COMPUTE, Kit
from tests.faults.making import Making
from tests.faults.operators import OPERATORS, sizes


def operator_of(op: str) -> str:
    """Namespace and name of `namespace.name.overload`."""
    return op.rpartition(".")[0]


def prim_func(op: str, args: list[Any], kwargs: dict[str, Any]) -> tuple[tirx.PrimFunc, list[Any], relax.TensorType]:
    """The kernel of an operator for arguments as `--lower` gives them, the tensors that it takes, what it gives."""
    tensors: list[Any] = []
    placeholders: list[Any] = []

    def value(argument: Any) -> Any:
        if not isinstance(argument, relax.Expr):
            return argument
        shape = [int(size) for size in argument.ty.shape]
        tensors.append(argument)
        placeholders.append(te.placeholder(shape, str(argument.ty.dtype), name=f"x{len(placeholders)}"))
        return placeholders[-1]

    values, named = [value(a) for a in args], {key: value(a) for key, a in kwargs.items()}
    variant = op.rpartition(".")[2]
    operator = OPERATORS[operator_of(op)]
    dtype = next(str(one.dtype) for one in placeholders if "float" in str(one.dtype))
    family, _, name = variant.partition("_")
    if family == "benign":
        result = operator(Kit(of_name(name, dtype)), *values, **named)
        out = te.compute(sizes(result), lambda *i: result(*i).astype(dtype), name="out")
    else:
        out = _wrong(name, operator, values, named, dtype)
    function = te.create_prim_func([*placeholders, out]).without_attr("global_symbol")
    if "lanes" in name:
        function = _vectorised(function)
    return function, tensors, relax.TensorType(sizes(out), dtype)


def _vectorised(function: tirx.PrimFunc) -> tirx.PrimFunc:
    """Scheduled: the accumulators of `Kit._lanes`, the innermost spatial loop of its sums, become one vector."""
    schedule = Schedule(function)
    for block in schedule.get_child_blocks(schedule.get_sblock("root")):
        loops = schedule.get_loops(block)
        if schedule.get(block).name_hint.startswith("lanes"):
            *_, lane, step = loops
            schedule.reorder(step, lane)
            schedule.vectorize(lane)
            schedule.decompose_reduction(block, step)
    return schedule.mod["main"]


def _wrong(name: str, operator: Any, values: list[Any], named: dict[str, Any], dtype: str) -> Any:
    kind, _, seed = name.rpartition("_")
    *values, numbers, memory = values
    kit = Kit(of_name("", dtype))
    result = operator(kit, *values, **named)
    shape = sizes(result)
    good = te.compute(shape, lambda *i: result(*i).astype(COMPUTE), name="good")
    making = Making(operator, values, named, good, memory, numbers, dtype, random.Random(f"{kind}/{seed}"))
    element = getattr(damaged if hasattr(damaged, kind) else miscomputed, kind)(making)
    strength = numbers[0]

    def blended(*i: Any) -> Any:
        right, wrong = good(*i), element(*i)
        part = right + strength * (wrong - right)
        return te.if_then_else(strength == tirx.const(1, COMPUTE), wrong, part).astype(dtype)

    return te.compute(shape, blended, name="out")
