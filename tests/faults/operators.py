"""The operators of the suite, each written once in TE: every benign and every wrong kernel is made of these.

A function gets a `Kit` and the call's arguments as TE tensors and Python numbers, and gives a tensor: float32 where it
computes, the dtype itself where values only move.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from tvm import te, tirx

from tests.faults.kit import COMPUTE, Kit, fused


def number(value: float) -> Any:
    """A constant of the compute dtype."""
    return tirx.const(value, COMPUTE)


def sizes(tensor: Any) -> tuple[int, ...]:
    """The shape as Python integers."""
    return tuple(int(size) for size in tensor.shape)


def _replaced(index: Sequence[Any], at: int, by: Any) -> tuple[Any, ...]:
    at %= len(index)
    return (*index[:at], by, *index[at + 1 :])


def _dropped(index: Sequence[Any], at: int) -> tuple[Any, ...]:
    at %= len(index)
    return (*index[:at], *index[at + 1 :])


def linear(kit: Kit, x: Any, weight: Any, bias: Any = None) -> Any:
    """X of (..., K), weight of (N, K), bias of (N)."""
    shape = (*sizes(x)[:-1], sizes(weight)[0])
    total = kit.dot(
        shape,
        sizes(x)[-1],
        lambda i, k: kit.read(x, *i[:-1], k),
        lambda i, k: kit.read(weight, i[-1], k),
        halves=bias is None,
    )
    if bias is None:
        return total
    return te.compute(shape, lambda *i: kit.step(total(*i)) + kit.read(bias, i[-1]), name="biased")


def matmul(kit: Kit, left: Any, right: Any) -> Any:
    """(..., M, K) x (..., K, N), equal leading sizes."""
    shape = (*sizes(left)[:-1], sizes(right)[-1])
    return kit.dot(
        shape,
        sizes(left)[-1],
        lambda i, k: kit.read(left, *i[:-1], k),
        lambda i, k: kit.read(right, *i[:-2], k, i[-1]),
    )


def softmax(kit: Kit, x: Any, dim: int = -1, dtype: object = None) -> Any:
    """Routes: "online" takes maximum and sum block by block, "reciprocal" divides once and multiplies."""
    return _softmax(kit, sizes(x), dim, lambda *i: kit.read(x, *i))


def _softmax(kit: Kit, shape: tuple[int, ...], dim: int, value: Callable[..., Any]) -> Any:
    outer, count = _dropped(shape, dim), shape[dim]
    dim %= len(shape)

    def at(i: Sequence[Any], k: Any) -> Any:
        return value(*i[:dim], k, *i[dim:])

    if kit.how.route == "online":
        top, total = _online(kit, outer, count, at)
        scaled = te.compute(
            shape, lambda *i: kit.function("exp", value(*i) - top(*_dropped(i, dim))), name="exponentials"
        )
    else:
        k = te.reduce_axis((0, count), "k")
        top = te.compute(outer, lambda *i: te.max(at(i, k), axis=k), name="top")
        scaled = te.compute(
            shape, lambda *i: kit.step(kit.function("exp", value(*i) - top(*_dropped(i, dim)))), name="exponentials"
        )
        total = kit.sum(outer, count, lambda i, k: scaled(*i[:dim], k, *i[dim:]))
    if kit.how.route == "reciprocal":
        inverse = te.compute(outer, lambda *i: number(1) / total(*i), name="inverse")
        return te.compute(shape, lambda *i: scaled(*i) * inverse(*_dropped(i, dim)), name="softmax")
    return te.compute(shape, lambda *i: scaled(*i) / total(*_dropped(i, dim)), name="softmax")


def _online(kit: Kit, outer: tuple[int, ...], count: int, at: Callable[[Any, Any], Any]) -> tuple[Any, Any]:
    """Maximum and sum of exponentials, each block relative to its own maximum and scaled when they are added."""
    size = next(size for size in (8, 6, 4, 3, 2, 1) if count % size == 0)
    blocks = (*outer, count // size)
    k, b = te.reduce_axis((0, size), "k"), te.reduce_axis((0, count // size), "b")
    tops = te.compute(blocks, lambda *i: te.max(at(i[:-1], i[-1] * size + k), axis=k), name="tops")
    top = te.compute(outer, lambda *i: te.max(tops(*i, b), axis=b), name="top")
    sums = kit.sum(blocks, size, lambda i, k: kit.function("exp", at(i[:-1], i[-1] * size + k) - tops(*i)))
    total = kit.sum(outer, count // size, lambda i, k: sums(*i, k) * kit.function("exp", tops(*i, k) - top(*i)))
    return top, total


def layer_norm(  # noqa: PLR0917  # the operator's own arguments, as of the next two
    kit: Kit, x: Any, shape: object, weight: Any = None, bias: Any = None, eps: float = 1e-5, _: object = None
) -> Any:
    """Over the last size. Route "one pass": the variance as mean of squares less square of mean."""
    full, width = sizes(x), sizes(x)[-1]
    mean = _mean_of(kit, full[:-1], width, lambda i, k: kit.read(x, *i, k))
    if kit.how.route == "one pass":
        squares = _mean_of(kit, full[:-1], width, lambda i, k: kit.read(x, *i, k) * kit.read(x, *i, k))
        variance = te.compute(full[:-1], lambda *i: tirx.max(squares(*i) - mean(*i) * mean(*i), number(0)))
    else:
        centred = te.compute(full, lambda *i: kit.read(x, *i) - mean(*i[:-1]), name="centred")
        variance = _mean_of(kit, full[:-1], width, lambda i, k: centred(*i, k) * centred(*i, k))
    inverse = te.compute(full[:-1], lambda *i: kit.function("rsqrt", variance(*i) + number(eps)), name="inverse")
    return _affine(kit, full, lambda *i: (kit.read(x, *i) - mean(*i[:-1])) * inverse(*i[:-1]), weight, bias)


def rms_norm(kit: Kit, x: Any, shape: object, weight: Any = None, eps: float = 1e-6) -> Any:
    """Over the last size."""
    full = sizes(x)
    squares = _mean_of(kit, full[:-1], full[-1], lambda i, k: kit.read(x, *i, k) * kit.read(x, *i, k))
    inverse = te.compute(full[:-1], lambda *i: kit.function("rsqrt", squares(*i) + number(eps)), name="inverse")
    return _affine(kit, full, lambda *i: kit.read(x, *i) * inverse(*i[:-1]), weight, None)


def _affine(kit: Kit, shape: tuple[int, ...], value: Callable[..., Any], weight: Any, bias: Any) -> Any:
    def element(*i: Any) -> Any:
        result = kit.step(value(*i))
        if weight is not None:
            result = result * kit.read(weight, i[-1])
        return result if bias is None else result + kit.read(bias, i[-1])

    return te.compute(shape, element, name="affine")


def _mean_of(kit: Kit, shape: Sequence[int], count: int, term: Callable[[Any, Any], Any]) -> Any:
    total = kit.sum(shape, count, term)
    if kit.how.route == "reciprocal":
        return te.compute(tuple(shape), lambda *i: total(*i) * number(1.0 / count), name="mean")
    return te.compute(tuple(shape), lambda *i: total(*i) / number(count), name="mean")


def mean(kit: Kit, x: Any, dims: Sequence[int], keepdim: bool = False, dtype: object = None) -> Any:
    """Over one dimension."""
    (dim,) = (d % len(sizes(x)) for d in dims)
    shape = _replaced(sizes(x), dim, 1) if keepdim else _dropped(sizes(x), dim)

    def term(i: Any, k: Any) -> Any:
        return kit.read(x, *(_replaced(i, dim, k) if keepdim else (*i[:dim], k, *i[dim:])))

    total, count = kit.sum(shape, sizes(x)[dim], term), sizes(x)[dim]
    if kit.how.route == "reciprocal":
        return te.compute(shape, lambda *i: kit.step(total(*i)) * number(1.0 / count), name="mean")
    return te.compute(shape, lambda *i: kit.step(total(*i)) / number(count), name="mean")


def cumsum(kit: Kit, x: Any, dim: int, dtype: object = None) -> Any:
    """Every element the sum of those up to it: each order of that sum is one of a scan."""
    shape = sizes(x)
    dim %= len(shape)

    def term(i: Any, k: Any) -> Any:
        return te.if_then_else(k <= i[dim], kit.read(x, *_replaced(i, dim, k)), number(0))

    return kit.sum(shape, shape[dim], term)


def conv2d(  # noqa: PLR0917
    kit: Kit,
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: Sequence[int] = (1, 1),
    padding: Sequence[int] = (0, 0),
    dilation: Sequence[int] = (1, 1),
    groups: int = 1,
) -> Any:
    """One group. Routes: "im2col" copies the windows first, "channels last" sums over channels first."""
    (batch, channels, height, width), (out, _, rows, columns) = sizes(x), sizes(weight)
    shape = (
        batch,
        out,
        (height + 2 * padding[0] - dilation[0] * (rows - 1) - 1) // stride[0] + 1,
        (width + 2 * padding[1] - dilation[1] * (columns - 1) - 1) // stride[1] + 1,
    )

    def place(k: Any) -> tuple[Any, Any, Any]:
        if kit.how.route == "channels last":
            return k % channels, k // channels // columns, k // channels % columns
        return k // (rows * columns), k // columns % rows, k % columns

    def window(n: Any, i: Any, j: Any, k: Any) -> Any:
        c, r, s = place(k)
        h, w = i * stride[0] + r * dilation[0] - padding[0], j * stride[1] + s * dilation[1] - padding[1]
        inside = tirx.all(h >= 0, h < height, w >= 0, w < width)
        h, w = (tirx.max(tirx.min(at, size - 1), 0) for at, size in ((h, height), (w, width)))
        return te.if_then_else(inside, kit.read(x, n, c, h, w), number(0))

    terms = channels * rows * columns
    if kit.how.route == "im2col":
        copied = te.compute((batch, *shape[2:], terms), window, name="windows")
        window = copied.__call__

    def kernel(i: Any, k: Any) -> Any:
        return kit.read(weight, i[1], *place(k))

    total = kit.dot(shape, terms, lambda i, k: window(i[0], i[2], i[3], k), kernel, halves=bias is None)
    if bias is None:
        return total
    return te.compute(shape, lambda *i: kit.step(total(*i)) + kit.read(bias, i[1]), name="biased")


def gelu(kit: Kit, x: Any, approximate: str = "none") -> Any:
    """By erf."""

    def element(*i: Any) -> Any:
        value = kit.read(x, *i)
        return value * kit.step(number(0.5) * (number(1) + kit.function("erf", value * number(math.sqrt(0.5)))))

    return te.compute(sizes(x), element, name="gelu")


def silu(kit: Kit, x: Any) -> Any:
    """X times its sigmoid. Route "reciprocal": x / (1 + exp(-x))."""

    def element(*i: Any) -> Any:
        value = kit.read(x, *i)
        if kit.how.route == "reciprocal":
            return value / (number(1) + kit.function("exp", -value))
        return value * kit.step(kit.function("sigmoid", value))

    return te.compute(sizes(x), element, name="silu")


def tanh(kit: Kit, x: Any) -> Any:
    """Element by element."""
    return te.compute(sizes(x), lambda *i: kit.function("tanh", kit.read(x, *i)), name="tanh")


def rope(kit: Kit, x: Any, cosines: Any, sines: Any) -> Any:
    """The rotary embedding of `tests.faults.models`."""
    shape, half = sizes(x), sizes(x)[-1] // 2

    def element(*i: Any) -> Any:
        first = i[-1] < half
        other = kit.read(x, *i[:-1], te.if_then_else(first, i[-1] + half, i[-1] - half))
        turned = te.if_then_else(first, -other, other)
        cosine, sine = kit.read(cosines, i[-2], i[-1]), kit.read(sines, i[-2], i[-1])
        if kit.how.fused:
            return fused(turned, sine, kit.read(x, *i) * cosine)
        return kit.step(kit.read(x, *i) * cosine) + turned * sine

    return te.compute(shape, element, name="rope")


def attention(  # noqa: PLR0917
    kit: Kit,
    query: Any,
    key: Any,
    value: Any,
    mask: Any = None,
    dropout: float = 0.0,
    causal: bool = False,
    *,
    scale: float | None = None,
) -> Any:
    """Scaled dot products with a boolean mask. Route "scaled query" scales before the product."""
    *outer, rows, width = sizes(query)
    columns = sizes(key)[-2]
    factor = number(width**-0.5 if scale is None else scale)
    early = kit.how.route == "scaled query"

    def asked(i: Any, k: Any) -> Any:
        element = kit.read(query, *i[:-1], k)
        return element * factor if early else element

    raw = kit.dot((*outer, rows, columns), width, asked, lambda i, k: kit.read(key, *i[:-2], i[-1], k), halves=False)

    def score(*i: Any) -> Any:
        scaled = raw(*i) if early else raw(*i) * factor
        if mask is None:
            return scaled
        at = [where if size > 1 else 0 for where, size in zip(i, sizes(mask), strict=True)]
        return te.if_then_else(mask(*at), scaled, number(-3.0e38))

    scores = te.compute((*outer, rows, columns), score, name="scores")
    weights = _softmax(kit, (*outer, rows, columns), -1, scores)
    return kit.dot(
        (*outer, rows, width),
        columns,
        lambda i, k: weights(*i[:-1], k),
        lambda i, k: kit.read(value, *i[:-2], k, i[-1]),
        halves=False,
    )


def embedding(kit: Kit, table: Any, ids: Any, *_: object) -> Any:
    """Rows of a table."""
    return te.compute((*sizes(ids), sizes(table)[1]), lambda *i: table(ids(*i[:-1]), i[-1]), name="rows")


def transpose(kit: Kit, x: Any, first: int, second: int) -> Any:
    """Two dimensions swapped."""
    order = list(range(len(sizes(x))))
    order[first], order[second] = order[second], order[first]
    return te.compute(tuple(sizes(x)[at] for at in order), lambda *i: x(*(i[at] for at in order)), name="transposed")


def where(kit: Kit, mask: Any, x: Any, other: float) -> Any:
    """X where the mask is set, else a number."""

    def element(*i: Any) -> Any:
        at = [place if size > 1 else 0 for place, size in zip(i, sizes(mask), strict=True)]
        return te.if_then_else(mask(*at), kit.read(x, *i), number(other))

    return te.compute(sizes(x), element, name="chosen")


OPERATORS: dict[str, Callable[..., Any]] = {
    "aten.linear": linear,
    "aten.matmul": matmul,
    "aten.softmax": softmax,
    "aten.layer_norm": layer_norm,
    "aten.rms_norm": rms_norm,
    "aten.embedding": embedding,
    "aten.conv2d": conv2d,
    "aten.gelu": gelu,
    "aten.silu": silu,
    "aten.tanh": tanh,
    "aten.cumsum": cumsum,
    "aten.mean": mean,
    "tapml_faults.rope": rope,
    "aten.transpose": transpose,
    "aten.where": where,
    "aten.scaled_dot_product_attention": attention,
}
"""By namespace and name; the overload is left out."""
