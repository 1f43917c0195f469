"""Faults injected into arrays that look like activations, at three strengths, over benign noise.

The diagnosis is tried on these; that real kernels go wrong the same way is shown in `tests/faults`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from tapml_tui.compare.diagnosis import Kind
from trace_format import open_trace
from trace_format.model import NodeRef

Floats: TypeAlias = npt.NDArray[np.float64]
Random: TypeAlias = np.random.Generator

DEMO = Path(__file__).parents[2] / "assets" / "demo.trace"
STRENGTHS = ("gross", "one percent", "eight times benign")
MISSED_BY_AVERAGES: tuple[Callable[[npt.NDArray[Any]], npt.NDArray[Any]], ...] = (
    lambda a: a * 0,
    lambda a: a * 1.5,
    lambda a: np.concatenate([a[:, :-32], a[:, -32:] * 0], axis=1),
    lambda a: np.concatenate([a[:1] * -1, a[1:]]),
    lambda a: a + 0.01,
    lambda a: np.roll(a, 1, axis=0),
)
"""Each is missed by some average, or by a constant tolerance, on a matrix of small activations."""
_CUT = 4.0  # benign noise ends at this many deviations
_ROOM = 2.5  # an allowance is this many times the largest benign error


@dataclass(frozen=True)
class Benign:
    """The law of benign noise: an absolute and a relative part, and what is allowed."""

    absolute: float
    relative: float

    def deviation(self, values: Floats) -> Floats:
        return self.absolute + self.relative * np.abs(values)

    def drawn(self, values: Floats, random: Random) -> Floats:
        noise = np.clip(random.normal(size=values.shape), -_CUT, _CUT)
        return np.asarray(noise * self.deviation(values))

    def allowance(self, values: Floats) -> Floats:
        return np.asarray(_ROOM * _CUT * self.deviation(values))


@dataclass(frozen=True)
class Sample:
    """One wrong result."""

    reference: npt.NDArray[Any]
    actual: npt.NDArray[Any]
    law: Benign
    right: frozenset[Kind]
    stale: tuple[npt.NDArray[Any], ...] = ()


def activations(random: Random, shape: tuple[int, ...]) -> Floats:
    """Values of the kinds that models have."""
    values = random.normal(size=shape)
    match int(random.integers(6)):
        case 0:
            pass
        case 1:
            values = random.standard_t(3.0, size=shape)
        case 2:  # a few columns are far larger than the others
            values[..., random.integers(0, shape[-1], max(1, shape[-1] // 64))] *= 30.0
        case 3:
            values = np.maximum(values, 0.0) + 0.01 * random.normal(size=shape)
        case 4:  # like the output of a layer norm with weight and bias
            values = values * random.uniform(0.3, 2.0, shape[-1]) + 0.3 * random.normal(size=shape[-1])
        case _:  # like probabilities
            values = np.exp(2.0 * values)
            values /= values.sum(axis=-1, keepdims=True)
    return np.asarray(values * 10.0 ** random.uniform(-2, 2))


def shape_of(random: Random) -> tuple[int, ...]:
    """Two to four axes of model-like sizes."""
    sizes = {2: ((8, 257), (8, 400)), 3: ((1, 5), (6, 65), (16, 200)), 4: ((1, 3), (2, 9), (6, 33), (8, 65))}
    return tuple(int(random.integers(*bounds)) for bounds in sizes[int(random.integers(2, 5))])


def demo_activations() -> list[Floats]:
    """Outputs of the demo model, with two axes or more."""
    with open_trace(DEMO) as trace:
        graph = trace.graphs[trace.cases[0].graph]
        values = (trace.value(0, NodeRef(node, 0)) for node in range(len(graph)))
        kept = [v for v in values if v.dtype == "float32" and len(v.shape) > 1 and np.prod(v.shape) >= 256]
        return [np.array(trace.array(value)).astype(np.float64) for value in kept]


Fault: TypeAlias = Callable[[Floats, Random], tuple[Floats, set[Kind]] | None]


def _whole(change: Callable[[Floats, Random], Floats], *kinds: Kind) -> Fault:
    return lambda values, random: (change(values, random), set(kinds))


def _axis(random: Random, values: Floats, least: int = 4) -> int:
    fitting = [axis for axis, size in enumerate(values.shape) if size >= least]
    return int(random.choice(fitting))


def _slice_along(axis: int, index: Any) -> tuple[Any, ...]:
    return (*([slice(None)] * axis), index)


def _tail(values: Floats, random: Random) -> tuple[Floats, set[Kind]]:
    axis = _axis(random, values, 6)
    size = values.shape[axis]
    width = int(random.integers(2, max(3, size // 3)))
    wrong, where = values.copy(), _slice_along(axis, slice(size - width, None))
    match int(random.integers(3)):
        case 0:
            wrong[where] = 0.0
        case 1:
            wrong[where] = random.normal(size=wrong[where].shape) * np.abs(values).max()
        case _:
            wrong[where] = np.abs(values).max() * 0.7
    return wrong, {Kind.TAIL}


def _corner(values: Floats, random: Random) -> tuple[Floats, set[Kind]] | None:
    if min(values.shape[-2:]) < 6:
        return None
    wrong = values.copy()
    rows, columns = (int(random.integers(2, max(3, size // 3))) for size in values.shape[-2:])
    wrong[..., -rows:, -columns:] = 0.0
    return wrong, {Kind.TAIL}


def _periodic(values: Floats, random: Random) -> tuple[Floats, set[Kind]] | None:
    axis = _axis(random, values, 6)
    if values.shape[axis] < 16:
        return None
    period = int(random.integers(2, values.shape[axis] // 4))
    where = _slice_along(axis, slice(int(random.integers(period)), None, period))
    wrong = values.copy()
    wrong[where] = random.choice([0.0, -1.0, 1.5]) * wrong[where]
    return wrong, {Kind.PERIODIC}


def _one_slice(values: Floats, random: Random) -> tuple[Floats, set[Kind]]:
    axis = _axis(random, values)
    index = int(random.integers(values.shape[axis] - 1))
    wrong, where = values.copy(), _slice_along(axis, index)
    if random.integers(2):
        wrong[where] = 1.5 * wrong[where]
    else:
        wrong[where] = random.permutation(wrong[where].reshape(-1)).reshape(wrong[where].shape)
    return wrong, {Kind.SLICE}


def _transposed(values: Floats, random: Random) -> tuple[Floats, set[Kind]]:
    first, second = random.choice([a for a, size in enumerate(values.shape) if size > 1], 2, replace=False)
    moved = np.swapaxes(values, int(first), int(second))
    return np.ascontiguousarray(moved).reshape(values.shape), {Kind.TRANSPOSED}


def _interleaved(values: Floats, random: Random) -> tuple[Floats, set[Kind]] | None:
    size = values.shape[-1]
    factors = [f for f in range(2, min(size // 2, 16) + 1) if size % f == 0]
    if not factors:
        return None
    groups = values.reshape(*values.shape[:-1], int(random.choice(factors)), -1)
    return np.ascontiguousarray(np.swapaxes(groups, -1, -2)).reshape(values.shape), {Kind.PERMUTED}


def _permuted(values: Floats, random: Random) -> tuple[Floats, set[Kind]]:
    axis = _axis(random, values)
    return values.take(random.permutation(values.shape[axis]), axis), {Kind.PERMUTED}


def _exchanged(values: Floats, random: Random) -> tuple[Floats, set[Kind]]:
    axis = _axis(random, values, 6)
    order = np.arange(values.shape[axis])
    first, second = random.choice(order, 2, replace=False)
    order[[first, second]] = order[[second, first]]
    return values.take(order, axis), {Kind.PERMUTED, Kind.WRONG_INDEX}


def _rolled(values: Floats, random: Random) -> tuple[Floats, set[Kind]]:
    axis = _axis(random, values)
    step = int(random.choice([1, -1, int(random.integers(1, values.shape[axis]))]))
    # Around by half of the axis: the halves have changed places.
    return np.roll(values, step, axis), {Kind.SHIFTED} if 2 * abs(step) != values.shape[axis] else {Kind.PERMUTED}


def _moved(values: Floats, random: Random) -> tuple[Floats, set[Kind]]:
    """Shifted by one, with the first slice doubled or zero."""
    axis = _axis(random, values, 8)
    wrong = np.roll(values, 1, axis)
    wrong[_slice_along(axis, 0)] = 0.0 if random.integers(2) else wrong[_slice_along(axis, 1)]
    return wrong, {Kind.SHIFTED}


def _clamped(values: Floats, random: Random) -> tuple[Floats, set[Kind]]:
    limit = np.quantile(np.abs(values), random.uniform(0.7, 0.995))
    return np.clip(values, -limit, limit), {Kind.SATURATED}


def _rows_scaled(values: Floats, random: Random) -> tuple[Floats, set[Kind]]:
    return values * random.uniform(0.5, 1.5, (*values.shape[:-1], 1)), {Kind.SLICE_SCALE}


def _columns_scaled(values: Floats, random: Random) -> tuple[Floats, set[Kind]]:
    return values * random.uniform(0.5, 1.5, values.shape[-1]), {Kind.SLICE_SCALE}


def _bias(values: Floats, random: Random) -> tuple[Floats, set[Kind]]:
    return values - random.normal(size=values.shape[-1]) * np.std(values), {Kind.BIAS}


def _mean(values: Floats, random: Random) -> tuple[Floats, set[Kind]]:
    return values + random.normal(size=(*values.shape[:-1], 1)) * np.std(values), {Kind.SLICE_OFFSET}


def _broadcast(values: Floats, random: Random) -> tuple[Floats, set[Kind]]:
    axis = _axis(random, values)
    return np.broadcast_to(values.take([0], axis), values.shape).copy(), {Kind.BROADCAST}


def _indices(values: Floats, random: Random) -> tuple[Floats, set[Kind]]:
    """Some rows are taken from elsewhere, as by a wrong index."""
    axis = _axis(random, values, 8)
    order = np.arange(values.shape[axis])
    wrong = random.choice(order, max(2, order.size // 4), replace=False)
    order[wrong] = random.integers(0, order.size, wrong.size)
    return values.take(order, axis), {Kind.WRONG_INDEX, Kind.PERMUTED}


def _low_precision(values: Floats, random: Random) -> tuple[Floats, set[Kind]]:
    """Partial sums are rounded to float16, so that the error looks like noise."""
    unit = 2.0**-11 * np.sqrt(random.integers(8, 512))
    return values + random.normal(size=values.shape) * unit * np.sqrt(np.mean(values**2)), {Kind.LOW_PRECISION}


def _truncated(values: Floats, random: Random) -> tuple[Floats, set[Kind]]:
    bits = values.astype(np.float32).view(np.uint32)
    mask = np.uint32(0xFFFF0000) if random.integers(2) else np.uint32(0xFFFFE000)
    return (bits & mask).view(np.float32).astype(np.float64), {Kind.CAST}


FAULTS: dict[str, Fault] = {
    "scale": _whole(lambda v, r: v * r.choice([1.5, 0.5, 2.0, 1.1]), Kind.SCALE),
    "offset": _whole(lambda v, r: v + r.choice([1.0, -0.5]) * np.std(v), Kind.OFFSET),
    "sign": _whole(lambda v, r: -v, Kind.SIGN, Kind.SCALE),
    "absolute": _whole(lambda v, r: np.abs(v), Kind.SIGN),
    "zeros": _whole(lambda v, r: np.zeros_like(v), Kind.UNWRITTEN, Kind.SCALE),
    "tail": _tail,
    "corner": _corner,
    "periodic": _periodic,
    "one slice": _one_slice,
    "transposed": _transposed,
    "interleaved": _interleaved,
    "permuted": _permuted,
    "exchanged": _exchanged,
    "rolled": _rolled,
    "moved": _moved,
    "reversed": _whole(lambda v, r: np.flip(v, _axis(r, v)), Kind.PERMUTED),
    "clamped": _clamped,
    "rows scaled": _rows_scaled,
    "columns scaled": _columns_scaled,
    "bias": _bias,
    "mean": _mean,
    "broadcast": _broadcast,
    "wrong index": _indices,
    "low precision": _low_precision,
    "truncated": _truncated,
}


def samples(name: str, random: Random, values: Floats) -> Iterator[tuple[str, Sample]]:
    """A fault at every strength at which it can be seen at all."""
    law = Benign(
        10.0 ** random.uniform(-7.3, -5) * float(np.sqrt(np.mean(values**2))), 2.0**-24 * random.integers(1, 5)
    )
    made = FAULTS[name](values, random)
    if made is None:
        return
    wrong, right = made
    difference = wrong - values
    largest = float(np.abs(difference).max())
    if largest == 0.0:
        return
    benign = law.drawn(values, random)
    weights = (1.0, 0.01 * float(np.abs(values).max()) / largest, 8.0 * float(np.abs(benign).max()) / largest)
    reference = values.astype(np.float32)
    for strength, weight in zip(STRENGTHS, weights, strict=True):
        if weight > 1.0 or (weight < 1.0 and strength == "gross"):
            continue
        actual = values + weight * difference
        actual = (actual + law.drawn(actual, random)).astype(np.float32)
        if strength == "gross" and name in ("zeros", "tail", "corner"):
            actual[wrong == 0.0] = 0.0
        error = np.abs(actual.astype(np.float64) - reference)
        if (error > law.allowance(values)).any():
            yield strength, Sample(reference, actual, law, frozenset(right))
