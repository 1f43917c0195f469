"""Kinds of fault in what an operator computes: it is run again with another argument, or another arithmetic.

As in `damaged.py`, each gives a function from an index to a float32.
"""

from __future__ import annotations

from typing import Any

from tvm import te, tirx

from tests.faults.arithmetic import Arithmetic
from tests.faults.kit import COMPUTE
from tests.faults.making import Element, Making, wide
from tests.faults.operators import number, sizes


def wrong_axis(making: Making) -> Element:
    """The operator along the dimension before."""
    if "dims" in making.bound():
        (dim,) = making.bound()["dims"]
        other = next(d for d, size in enumerate(sizes(making.bound()["x"])) if d != dim and _same(making, dim, d))
        return making.again(dims=(other,))
    return making.again(dim=making.bound()["dim"] % len(making.shape) - 1)


def _same(making: Making, dim: int, other: int) -> bool:
    shape = sizes(making.bound()["x"])
    return shape[dim] == shape[other]


def low_precision(making: Making) -> Element:
    """Sums in half precision."""
    return making.again(Arithmetic(accumulate="bfloat16" if making.dtype == "bfloat16" else "float16"))


def truncated(making: Making) -> Element:
    """All that is read passes through a narrower dtype; or the result is cut to its own dtype instead of rounded."""
    narrower = {"float32": ["float16", "bfloat16"], "float16": ["bfloat16", ""], "bfloat16": ["float8_e4m3fn", ""]}
    through = making.draw.choice(narrower[making.dtype])
    if through:
        return making.again(Arithmetic(operands=through))
    mask = tirx.const(-(1 << {"float16": 13, "bfloat16": 16}[making.dtype]), "int32")
    return lambda *i: tirx.reinterpret(COMPUTE, tirx.reinterpret("int32", making.good(*i)) & mask)


def mask_missing(making: Making) -> Element:
    """The mask is not applied."""
    if making.operator.__name__ == "where":
        return lambda *i: making.bound()["x"](*i).astype(COMPUTE)
    return making.again(mask=None)


def mask_inverted(making: Making) -> Element:
    """The mask is applied the other way round."""
    mask = making.bound()["mask"]
    return making.again(mask=te.compute(sizes(mask), lambda *i: tirx.Not(mask(*i)), name="inverted"))


def last_terms(making: Making) -> Element:
    """Every sum leaves its last terms out: one, or a tile."""
    return making.again(Arithmetic(dropped=making.draw.choice([1, 1, 2, 4])))


def no_bias(making: Making) -> Element:
    """Without its bias."""
    return making.again(bias=None)


def no_scale(making: Making) -> Element:
    """Without its weight, or its scale."""
    if "scale" in making.bound():
        return making.again(scale=1.0)
    return making.again(weight=None)


def epsilon(making: Making) -> Element:
    """With another epsilon."""
    return making.again(eps=making.draw.choice([1e-2, 1e-3, 1e-1]))


def wrong_index(making: Making) -> Element:
    """The row, or position, beside the right one."""
    bound = making.bound()
    if "ids" in bound:
        ids, last = bound["ids"], sizes(bound["table"])[0] - 1
        return making.again(ids=te.compute(sizes(ids), lambda *i: (ids(*i) + 1) % (last + 1), name="beside"))
    last = sizes(bound["sines"])[0] - 1

    def beside(table: Any) -> Any:
        return te.compute(sizes(table), lambda i, j: table(tirx.min(i + 1, last), j), name="beside")

    return making.again(cosines=beside(bound["cosines"]), sines=beside(bound["sines"]))


def wrong_formula(making: Making) -> Element:
    """A near relation: the kernel of a convolution flipped, gelu, silu and tanh by cheaper curves."""
    name, bound = making.operator.__name__, making.bound()
    if name == "conv2d":
        weight = bound["weight"]
        *_, rows, columns = sizes(weight)
        flipped = te.compute(
            sizes(weight), lambda o, c, i, j: weight(o, c, rows - 1 - i, columns - 1 - j), name="flipped"
        )
        return making.again(weight=flipped)
    x = wide(bound["x"])
    if name == "gelu":
        return lambda *i: x(*i) / (number(1) + te.exp(number(-1.702) * x(*i)))
    if name == "silu":
        return lambda *i: x(*i) * tirx.max(tirx.min(x(*i) / number(6) + number(0.5), number(1)), number(0))
    return lambda *i: tirx.max(tirx.min(x(*i), number(1)), number(-1))
