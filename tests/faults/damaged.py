"""Kinds of fault that damage a healthy result: what is wrong is where it lands, or what happens to it on the way.

Each gets a `Making` and gives a function from an index to a float32. Where a number is drawn (which rows, which
channel, how far), it is drawn from the seed in the kernel's name.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from tvm import te, tirx

from tests.faults.kit import COMPUTE
from tests.faults.making import Element, Making
from tests.faults.operators import number


def _inside(making: Making, chosen: Callable[..., Any], bad: Element) -> Element:
    return lambda *i: te.if_then_else(chosen(*i), bad(*i), making.good(*i))


def _at(index: Sequence[Any], dim: int, by: Any) -> tuple[Any, ...]:
    dim %= len(index)
    return (*index[:dim], by, *index[dim + 1 :])


def _flat(index: Sequence[Any], shape: Sequence[int]) -> Any:
    total: Any = 0
    for at, size in zip(index, shape, strict=True):
        total = total * size + at
    return total


def _unflat(flat: Any, shape: Sequence[int]) -> tuple[Any, ...]:
    index: list[Any] = []
    for size in reversed(shape):
        index.insert(0, flat % size)
        flat = flat // size
    return tuple(index)


def scale(making: Making) -> Element:
    """A constant factor."""
    factor = making.draw.choice([0.25, 0.5, 0.75, 1.25, 1.5, 2.0, 4.0])
    return lambda *i: making.good(*i) * number(factor)


def offset(making: Making) -> Element:
    """A constant added to everything."""
    share = making.draw.choice([-1, 1]) * making.draw.uniform(0.2, 1.0)
    return lambda *i: making.good(*i) + making.numbers[1] * number(share)


def _tail(making: Making, dim: int) -> tuple[int, int]:
    """The size of a dimension, and where its last tile begins."""
    size = making.shape[dim]
    tiles = [tile for tile in (2, 3, 4, 7, 8, 12, 16, 24, 32, 48, 64, 128) if tile <= size // 2]
    tile = making.draw.choice(tiles)
    return size, size - (size % tile or tile)


def tail_rows(making: Making) -> Element:
    """The last rows were never written."""
    _, start = _tail(making, -2)
    return _inside(making, lambda *i: i[-2] >= start, making.background())


def tail_columns(making: Making) -> Element:
    """The last columns were never written."""
    _, start = _tail(making, -1)
    return _inside(making, lambda *i: i[-1] >= start, making.background())


def tail_tile(making: Making) -> Element:
    """The last tile of rows and columns was never written."""
    (_, row), (_, column) = _tail(making, -2), _tail(making, -1)
    return _inside(making, lambda *i: tirx.all(i[-2] >= row, i[-1] >= column), making.background())


def every_kth(making: Making) -> Element:
    """Every k-th column was never written: a lane of a vector."""
    step = making.draw.choice([k for k in (2, 3, 4, 5, 7, 8, 16) if k <= making.shape[-1] // 4])
    lane = making.draw.randrange(step)
    return _inside(making, lambda *i: i[-1] % step == lane, making.background())


def _one(making: Making, dim: int) -> Element:
    """One slice of a dimension: never written, of another sign, or scaled."""
    dim %= len(making.shape)
    where = making.draw.randrange(making.shape[dim])
    factor = making.draw.choice([-1.0, 0.5, 2.0])
    bad = making.draw.choice([making.background(), lambda *i: making.good(*i) * number(factor)])
    return _inside(making, lambda *i: i[dim] == where, bad)


def one_row(making: Making) -> Element:
    """One row of one matrix."""
    outer = making.shape[:-1]
    where = making.draw.randrange(math.prod(outer))
    factor = making.draw.choice([-1.0, 0.5, 2.0])
    bad = making.draw.choice([making.background(), lambda *i: making.good(*i) * number(factor)])
    return _inside(making, lambda *i: _flat(i[:-1], outer) == where, bad)


def one_head(making: Making) -> Element:
    """One attention head."""
    return _one(making, 1)


def one_channel(making: Making) -> Element:
    """One channel: dimension 1 of images, the last one elsewhere."""
    images = making.operator.__name__ == "conv2d"
    return _one(making, 1 if images else -1)


def one_batch(making: Making) -> Element:
    """One of the batch."""
    return _one(making, 0)


def transposed(making: Making) -> Element:
    """Written as if rows were columns: the same elements, in transposed order of memory."""
    *_, rows, columns = making.shape

    def element(*i: Any) -> Any:
        flat = i[-2] * columns + i[-1]
        return making.good(*i[:-2], flat % rows, flat // rows)

    return element


def permuted(making: Making) -> Element:
    """Neighbours, or halves, of a dimension change places."""
    dim = making.draw.choice([d for d, size in enumerate(making.shape) if (size % 2 == 0 and size > 2) or size == 2])
    half = making.shape[dim] // 2
    swap = making.draw.choice([lambda at: at + 1 - 2 * (at % 2), lambda at: (at + half) % (2 * half)])
    return lambda *i: making.good(*_at(i, dim, swap(i[dim])))


def shifted(making: Making) -> Element:
    """Off by one along rows or columns; the edge is repeated, or wraps around."""
    dim = making.draw.choice([d for d in (-1, -2) if making.shape[d] > 2]) % len(making.shape)
    step, size = making.draw.choice([-1, 1]), making.shape[dim]
    edge = making.draw.choice([lambda at: tirx.max(tirx.min(at, size - 1), 0), lambda at: (at + size) % size])
    return lambda *i: making.good(*_at(i, dim, edge(i[dim] + step)))


def sign(making: Making) -> Element:
    """The other sign."""
    return lambda *i: -making.good(*i)


def saturated(making: Making) -> Element:
    """Clipped at a level, as a store to a narrower dtype with a scale does."""
    level = making.numbers[2]
    return lambda *i: tirx.max(tirx.min(making.good(*i), level), -level)


def overflow(making: Making) -> Element:
    """Inf from a level on: a product that did not fit."""
    infinity = tirx.const(float("inf"), COMPUTE)

    def bad(*i: Any) -> Any:
        return te.if_then_else(making.good(*i) < number(0), -infinity, infinity)

    return _inside(making, lambda *i: te.abs(making.good(*i)) >= making.numbers[2], bad)


def _last(making: Making, bad: Element) -> Element:
    """The last elements in memory, as many as the share says, one at least."""
    count = math.prod(making.shape)
    first = number(count) * (number(1) - making.numbers[3])
    return _inside(
        making,
        lambda *i: tirx.any(_flat(i, making.shape).astype(COMPUTE) >= first, _flat(i, making.shape) == count - 1),
        bad,
    )


def nan_row(making: Making) -> Element:
    """NaN at the end."""
    return _last(making, lambda *i: tirx.const(float("nan"), COMPUTE))


def uninitialised(making: Making) -> Element:
    """Bits that mean nothing at the end."""

    def garbage(*i: Any) -> Any:
        bits = _flat(i, making.shape).astype("int64") * tirx.const(2654435761, "int64") + tirx.const(12345, "int64")
        return tirx.reinterpret(COMPUTE, (bits ^ (bits >> 13)).astype("int32"))

    return _last(making, garbage)


def stale(making: Making) -> Element:
    """The result of an earlier call."""
    return making.old
