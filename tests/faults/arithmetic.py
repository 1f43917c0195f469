"""How a kernel may compute what it computes, and the benign variants of every operator, by name.

A variant is named by what is different, joined by "__": `sum_lanes_8__exp_mixed` sums in eight lanes and has an exp
that is off by up to 4 ULP. The name travels as the overload of an operator; `of_name` reads it.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace

HALVES = ("float16", "bfloat16")
ROUTES = ("online", "reciprocal", "one pass", "im2col", "channels last", "scaled query")
WAYS = ("more", "less", "mixed", "fast", "native")
NOT_THAT_GOOD = (("erf", "fast"), ("tanh", "native"))
"""No such formula here; and TVM's tanh is 1e5 ULP off near zero, where 1 - exp(-2x) cancels."""


@dataclass(frozen=True)
class Arithmetic:
    """How a kernel computes. The healthy kernels and their benign variants differ in it alone, and some wrong ones.

    Attributes:
        order: Of the terms of a sum: (name, numbers), a method of `Kit`.
        accumulate: Dtype of accumulators.
        fused: Multiply and add with one rounding.
        functions: How exp, rsqrt, ... are computed, by name: see `Kit.function`.
        route: Another algorithm for the same result; operators know their own.
        half_step: Dtype to which the operator rounds once on the way, "" for none.
        dropped: A fault: how many terms, the last ones, every sum forgets.
        operands: A fault: dtype through which all that is read passes, "" for none.
    """

    order: tuple[str, tuple[int, ...]] = ("sequential", ())
    accumulate: str = "float32"
    fused: bool = False
    functions: dict[str, str] = field(default_factory=dict)
    route: str = ""
    half_step: str = ""
    dropped: int = 0
    operands: str = ""


@dataclass(frozen=True)
class Freedom:
    """What an operator may do in another way and be healthy; functions and routes by name."""

    sums: bool = False
    products: bool = False
    functions: tuple[str, ...] = ()
    routes: tuple[str, ...] = ()
    half_step: bool = False


FREEDOM: dict[str, Freedom] = {
    "aten.linear": Freedom(sums=True, products=True, half_step=True),
    "aten.matmul": Freedom(sums=True, products=True, half_step=True),
    "aten.softmax": Freedom(sums=True, functions=("exp",), routes=("online", "reciprocal"), half_step=True),
    "aten.layer_norm": Freedom(sums=True, functions=("rsqrt",), routes=("one pass", "reciprocal"), half_step=True),
    "aten.rms_norm": Freedom(sums=True, functions=("rsqrt",), routes=("reciprocal",), half_step=True),
    "aten.embedding": Freedom(),
    "aten.conv2d": Freedom(sums=True, products=True, routes=("im2col", "channels last"), half_step=True),
    "aten.gelu": Freedom(functions=("erf",), half_step=True),
    "aten.silu": Freedom(functions=("sigmoid", "exp"), routes=("reciprocal",), half_step=True),
    "aten.tanh": Freedom(functions=("tanh",)),
    "aten.cumsum": Freedom(sums=True),
    "aten.mean": Freedom(sums=True, routes=("reciprocal",), half_step=True),
    "tapml_faults.rope": Freedom(products=True, half_step=True),
    "aten.transpose": Freedom(),
    "aten.where": Freedom(),
    "aten.scaled_dot_product_attention": Freedom(
        sums=True, products=True, functions=("exp",), routes=("online", "reciprocal", "scaled query"), half_step=True
    ),
}
"""By operator, the overload left out: all operators of the suite."""


def of_name(name: str, dtype: str) -> Arithmetic:
    """The arithmetic that a name says, for an operator that gives `dtype`."""
    result = Arithmetic()
    for part in filter(None, name.split("__")):
        first, *rest = part.split("_")
        if first == "sum":
            result = replace(result, order=(rest[0], tuple(map(int, rest[1:]))))
        elif first == "route":
            result = replace(result, route=" ".join(rest))
        elif first == "wide":
            result = replace(result, accumulate="float64")
        elif first == "fused":
            result = replace(result, fused=True)
        elif first == "half":
            result = replace(result, half_step=dtype)
        elif first != "plain":
            result = replace(result, functions={**result.functions, first: rest[0]})
    return result


def benign(operator: str, dtype: str, draw: random.Random, combinations: int = 4) -> list[str]:
    """The names of the benign variants of an operator: each freedom alone, then some drawn together."""
    freedom = FREEDOM[operator]
    orders = [f"sum_{order}" for order in _orders(draw)] + ["wide"] if freedom.sums else []
    ways = [
        f"{function}_{way}" for function in freedom.functions for way in WAYS if (function, way) not in NOT_THAT_GOOD
    ]
    routes = ["route_" + route.replace(" ", "_") for route in freedom.routes]
    halves = ["half"] if freedom.half_step and dtype in HALVES else []
    single = ["plain", *orders, *(["fused"] if freedom.products else []), *ways, *routes, *halves]
    drawn = set()
    for _ in range(combinations):
        parts = [draw.choice(group) for group in (orders, ways, routes, halves) if group]
        if len(parts) > 1:
            drawn.add("__".join(draw.sample(parts, draw.randint(2, len(parts)))))
    return list(dict.fromkeys([*single, *sorted(drawn)]))


def _orders(draw: random.Random) -> list[str]:
    return [
        "permuted_-1_-1",
        f"permuted_{draw.randrange(3, 1000, 2)}_{draw.randrange(1000)}",
        f"lanes_{draw.choice((2, 4, 8))}",
        "lanes_16",
        f"blocks_{draw.choice((4, 8, 16))}",
        f"blocks_{draw.choice((32, 64, 128))}",
        f"blocks_{draw.randint(3, 61)}",
        "pairwise",
    ]
