"""The building blocks of every kernel of the suite: sums in any order, functions of any precision, in TE."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from tvm import te, tirx

from tests.faults.arithmetic import Arithmetic

Index: TypeAlias = tuple[Any, ...]
Term: TypeAlias = Callable[[Index, Any], Any]

COMPUTE = "float32"
_LEAVES = 8  # a pairwise sum adds so many terms in one expression


class Kit:
    """Computes with one `Arithmetic`."""

    def __init__(self, arithmetic: Arithmetic) -> None:
        self.how = arithmetic

    def read(self, tensor: Any, *index: Any) -> Any:
        """An element in the compute dtype."""
        element = tensor[index]
        if self.how.operands and str(tensor.dtype).startswith(("float", "bfloat")):
            return through(element.astype(COMPUTE), self.how.operands)
        return element.astype(COMPUTE)

    def step(self, value: Any) -> Any:
        """The place where an operator may round to its own dtype and back, once."""
        return through(value, self.how.half_step) if self.how.half_step else value

    # Sums

    def sum(self, shape: Sequence[int], terms: int, term: Term) -> Any:
        """A tensor of `shape`, each element the sum of `terms` terms, in the order that the arithmetic says."""
        kind, numbers = self.how.order
        return getattr(self, f"_{kind}")(tuple(shape), max(1, terms - self.how.dropped), term, *numbers)

    def dot(self, shape: Sequence[int], terms: int, left: Term, right: Term, *, halves: bool = True) -> Any:
        """As `sum`, of products; fused multiply-adds are one after the other.

        `halves`: where the arithmetic rounds to half precision once on the way, it does so after half of the terms.
        """
        if self.how.fused:
            return _reduced(_adding(COMPUTE), tuple(shape), terms, lambda i, k: _exact(left(i, k), right(i, k)))
        if not (halves and self.how.half_step):
            return self.sum(shape, terms, lambda i, k: left(i, k) * right(i, k))
        middle = terms // 2
        first = self.sum(shape, middle, lambda i, k: left(i, k) * right(i, k))
        second = self.sum(shape, terms - middle, lambda i, k: left(i, k + middle) * right(i, k + middle))
        return te.compute(tuple(shape), lambda *i: self.step(first(*i)) + second(*i), name="halves")

    def _sequential(self, shape: Index, terms: int, term: Term, name: str = "sum") -> Any:
        return _reduced(_adding(self.how.accumulate), shape, terms, term, name)

    def _permuted(self, shape: Index, terms: int, term: Term, factor: int, offset: int) -> Any:
        """K -> factor * k + offset modulo the terms: reversed for -1, else scattered."""
        while math.gcd(factor, terms) > 1:
            factor += 1
        return self._sequential(shape, terms, lambda i, k: term(i, (k * (factor % terms) + offset % terms) % terms))

    def _lanes(self, shape: Index, terms: int, term: Term, lanes: int) -> Any:
        """Every `lanes`-th term into an accumulator of its own, then these one after the other: a vector unit."""
        lanes = min(lanes, terms)
        rounds = -(-terms // lanes)
        partial = self._sequential(
            (*shape, lanes), rounds, lambda i, k: _guarded(term, i[:-1], k * lanes + i[-1], terms), "lanes"
        )
        return self._sequential(shape, lanes, lambda i, k: partial(*i, k))

    def _blocks(self, shape: Index, terms: int, term: Term, size: int) -> Any:
        """Blocks of neighbours, then their sums: a tiled kernel, or split-k."""
        size = min(size, terms)
        blocks = -(-terms // size)
        partial = self._sequential((*shape, blocks), size, lambda i, k: _guarded(term, i[:-1], i[-1] * size + k, terms))
        return self._sequential(shape, blocks, lambda i, k: partial(*i, k))

    def _pairwise(self, shape: Index, terms: int, term: Term) -> Any:
        """A binary tree."""
        while terms > 1:
            groups = -(-terms // _LEAVES)
            term, terms = _tree(shape, groups, term, terms), groups
        return te.compute(shape, lambda *i: term(i, 0), name="root")

    # Functions

    def function(self, name: str, x: Any) -> Any:
        """exp, rsqrt, tanh, erf, sigmoid of a float32 in one of these ways.

        "double": rounded from float64. "more", "less", "mixed": that, three units in the last place further from
        zero, nearer to it, or anything between by a hash of the bits. "fast": another formula. With the half unit of
        the rounding, all are within 4 ULP; a test measures it. "native": what TVM makes of it.
        """
        way = self.how.functions.get(name, "double")
        if way == "native":
            return getattr(te, name)(x)
        if way == "fast":
            return FAST[name](x)
        value = _DOUBLE[name](x.astype("float64")).astype(COMPUTE)
        return value if way == "double" else _moved(value, way)


# Bits of a float32's fraction that there are not in dtypes whose casts TVM leaves out, or does not have.
_LOST_BITS = {"bfloat16": 16, "float8_e4m3fn": 20}


def through(value: Any, dtype: str) -> Any:
    """A float32 rounded to the precision of a dtype and back, to even where it lies in the middle."""
    if dtype not in _LOST_BITS:
        return value.astype(dtype).astype(COMPUTE)
    lost, bits = _LOST_BITS[dtype], tirx.reinterpret("int32", value)
    middle = tirx.const((1 << (lost - 1)) - 1, "int32") + ((bits >> lost) & tirx.const(1, "int32"))
    return tirx.reinterpret(COMPUTE, (bits + middle) & tirx.const(-(1 << lost), "int32"))


def _adding(accumulate: str) -> Any:
    """A reduction that adds float64 terms, its total rounded to `accumulate` each time and carried as float64."""
    if accumulate == "float64":
        return te.sum

    def add(total: Any, term: Any) -> Any:
        added = (total + term).astype(COMPUTE)
        return (added if accumulate == COMPUTE else through(added, accumulate)).astype("float64")

    return te.comm_reducer(add, lambda dtype: tirx.const(0, dtype), name="adding")


def _reduced(reducer: Any, shape: Index, terms: int, term: Term, name: str = "sum") -> Any:
    k = te.reduce_axis((0, terms), "k")
    total = te.compute(shape, lambda *i: reducer(term(i, k).astype("float64"), axis=k), name=name)
    return te.compute(shape, lambda *i: total(*i).astype(COMPUTE), name="total")


def _guarded(term: Term, index: Index, k: Any, terms: int) -> Any:
    inside = term(index, tirx.min(k, terms - 1))
    return te.if_then_else(k < terms, inside, tirx.const(0, inside.ty.dtype))


def _tree(shape: Index, groups: int, term: Term, terms: int) -> Term:
    def added(index: Index, first: Any, count: int) -> Any:
        if count == 1:
            return _guarded(term, index, first, terms)
        return added(index, first, count // 2) + added(index, first + count // 2, count // 2)

    level = te.compute((*shape, groups), lambda *i: added(i[:-1], i[-1] * _LEAVES, _LEAVES), name="level")
    return lambda i, k: level(*i, k)


def fused(a: Any, b: Any, c: Any) -> Any:
    """A * b + c without rounding the product, which float64 holds."""
    return (_exact(a, b) + c.astype("float64")).astype(COMPUTE)


def _exact(a: Any, b: Any) -> Any:
    return a.astype("float64") * b.astype("float64")


def _moved(value: Any, way: str) -> Any:
    """A float32 moved by up to three units in its last place; zeros, ones, Infs and the very small stay."""
    bits = tirx.reinterpret("int32", value)
    hashed = ((bits * tirx.const(-1640531527, "int32")) >> 8) & tirx.const(0xFFFF, "int32")
    by = {"more": tirx.const(3, "int32"), "less": tirx.const(-3, "int32"), "mixed": hashed % 7 - 3}[way]
    size = te.abs(value)
    moves = tirx.all(size > _number(1e-30), size < _number(1e30), size != _number(1))
    edge = (bits | tirx.const(0x7FFFFF, "int32")) + 1  # beyond the next power of two units are twice as large
    return te.if_then_else(moves, tirx.reinterpret(COMPUTE, tirx.min(bits + by, edge)), value)


_DOUBLE: dict[str, Callable[[Any], Any]] = {
    "exp": te.exp,
    "rsqrt": lambda x: tirx.const(1, "float64") / te.sqrt(x),
    "tanh": te.tanh,
    "erf": te.erf,
    "sigmoid": lambda x: tirx.const(1, "float64") / (te.exp(-x) + tirx.const(1, "float64")),
}


def _number(value: float) -> Any:
    return tirx.const(value, COMPUTE)


def _polynomial(x: Any, coefficients: Sequence[float]) -> Any:
    total = _number(coefficients[0])
    for coefficient in coefficients[1:]:
        total = total * x + _number(coefficient)
    return total


def _fast_exp(x: Any) -> Any:
    """2**n * polynomial, the argument reduced in two steps (Cephes expf)."""
    tiny, x = x < _number(-87.3), tirx.max(tirx.min(x, _number(88.0)), _number(-87.3))
    n = te.floor(x * _number(1.44269504088896341) + _number(0.5))
    r = x - n * _number(0.693359375) - n * _number(-2.12194440e-4)
    series = (1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1)
    power = tirx.reinterpret(COMPUTE, (n.astype("int32") + 127) << 23)
    return te.if_then_else(tiny, _number(0), (_polynomial(r, series) * r * r + r + _number(1)) * power)


def _fast_rsqrt(x: Any) -> Any:
    """The guess out of the exponent, and four steps of Newton."""
    y = tirx.reinterpret(COMPUTE, tirx.const(0x5F3759DF, "int32") - (tirx.reinterpret("int32", x) >> 1))
    for _ in range(4):
        y = y * (_number(1.5) - _number(0.5) * x * y * y)
    return y


def _fast_sigmoid(x: Any) -> Any:
    return _number(1) / (_number(1) + _fast_exp(-x))


def _fast_tanh(x: Any) -> Any:
    """A polynomial near zero, by exp elsewhere (Cephes tanhf)."""
    z = x * x
    series = (-5.70498872745e-3, 2.06390887954e-2, -5.37397155531e-2, 1.33314422036e-1, -3.33332819422e-1)
    far = _number(1) - _number(2) / (_fast_exp(_number(2) * te.abs(x)) + _number(1))
    return te.if_then_else(
        te.abs(x) < _number(0.625),
        _polynomial(z, series) * z * x + x,
        te.if_then_else(x < _number(0), -far, far),
    )


FAST: dict[str, Callable[[Any], Any]] = {
    "exp": _fast_exp,
    "rsqrt": _fast_rsqrt,
    "sigmoid": _fast_sigmoid,
    "tanh": _fast_tanh,
}
