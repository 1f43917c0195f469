"""Operators that promise less than bits: uninitialised memory, and random numbers. Judged by what they do promise."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from tapml_tui.backends.protocol import Call, CallArgument, Unit, UnitInput
from tapml_tui.compare import Comparison, compare
from tapml_tui.engine.operator_facts import name_of
from trace_format.dtypes import numpy_dtype

_UNINITIALISED = frozenset(["empty", "empty_like", "empty_strided", "empty_permuted", "new_empty", "new_empty_strided"])

Array: TypeAlias = npt.NDArray[Any]
Inputs: TypeAlias = Sequence["Array | None"]
Test: TypeAlias = Callable[[Call, Array, Inputs], Array]
"""(call, what was computed, tensor inputs) -> which elements keep the promise."""


@dataclass(frozen=True, slots=True)
class Promise:
    """What an operator promises of its values.

    Attributes:
        words: Completes "random: ..."; "" if it promises nothing of its values.
        test: Finds the elements that keep it; None if there is nothing to test.
    """

    words: str = ""
    test: Test | None = None


def promise_of(call: Call, output: int, *, reproducible: bool | None) -> Promise | None:
    """What this output of a call is to be judged by instead of its recorded value; None: by that value.

    Args:
        call: A call out of a trace.
        output: Which output.
        reproducible: Whether the source gave the same bits twice. Randomness that is switched off, or that
            has one outcome only, is judged as everything else.
    """
    name = name_of(call)
    if not call.op.startswith("aten."):
        return None
    if name in _UNINITIALISED:
        return Promise()
    return _RANDOM.get((name.rstrip("_"), output)) if reproducible is False else None


def keeps(promise: Promise, unit: Unit, place: int, actual: Array, inputs: Inputs) -> tuple[Comparison | None, str]:
    """How unit output `place` keeps a promise, and what there is to say about it.

    Where nothing is promised of the values, nothing is compared, which is no pass.
    """
    spec = unit.outputs[place]
    if (actual.dtype.name, actual.shape) != (spec.dtype, spec.shape):
        refused = compare(np.broadcast_to(np.zeros((), numpy_dtype(spec.dtype)), spec.shape), actual)
        return refused, refused.reason
    if promise.test is None:
        return None, "uninitialised: its shape and dtype agree, and its values mean nothing"
    kept = np.broadcast_to(np.asarray(promise.test(unit.calls[0], actual, inputs), np.bool_), actual.shape)
    outside = actual.size - int(np.count_nonzero(kept))
    if not outside:
        reason = f"random: {promise.words} in all of {actual.size} elements; which of them it is means nothing"
        return Comparison(True, reason, floor_origin="exact", compared=actual.size), reason
    at = tuple(int(i) for i in np.unravel_index(int(np.argmin(kept)), actual.shape))
    reason = f"random, but not {promise.words}: {outside} of {actual.size} elements, first at {list(at)}: {actual[at]}"
    return Comparison(False, reason, math.inf, floor_origin="exact", compared=actual.size, outside=outside), reason


def _argument(call: Call, position: int, name: str, default: CallArgument) -> CallArgument:
    given = dict(call.kwargs).get(name, call.args[position] if len(call.args) > position else None)
    return default if given is None else given


def _number(call: Call, position: int, name: str, default: float) -> float:
    given = _argument(call, position, name, default)
    return float(given) if isinstance(given, int | float) else default


def _unit_interval(call: Call, actual: Array, inputs: Inputs) -> Array:
    return np.asarray((actual >= 0) & (actual < 1))


def _interval(call: Call, actual: Array, inputs: Inputs) -> Array:
    low, high = _number(call, 1, "from", 0.0), _number(call, 2, "to", 1.0)
    # Half precision rounds what is just below the end to the end.
    return np.asarray((actual >= low) & (actual <= high))


def _finite(call: Call, actual: Array, inputs: Inputs) -> Array:
    return np.asarray(np.isfinite(actual))


def _zero_or_one(call: Call, actual: Array, inputs: Inputs) -> Array:
    return np.asarray((actual == 0) | (actual == 1))


def _integers(call: Call, actual: Array, inputs: Inputs) -> Array:
    bounds = [one for one in call.args if isinstance(one, int) and not isinstance(one, bool)][:2]
    low, high = (bounds[0], bounds[1]) if len(bounds) == 2 else (0, bounds[0] if bounds else 1 << 62)
    return np.asarray((actual >= low) & (actual < high))


def _permutation(call: Call, actual: Array, inputs: Inputs) -> Array:
    first = np.zeros(actual.size, np.bool_)
    first[np.unique(actual, return_index=True)[1]] = True
    return np.asarray((actual >= 0) & (actual < actual.size) & first.reshape(actual.shape))


def _dropped_or_scaled(call: Call, actual: Array, inputs: Inputs) -> Array:
    """Zero, or the input over 1 - p, up to the rounding of the factor and of the product."""
    argument = call.args[0] if call.args else None
    read = inputs[argument.index] if isinstance(argument, UnitInput) else None
    if read is None or read.shape != actual.shape:
        return np.asarray(np.isfinite(actual))
    keep = 1.0 - _number(call, 1, "p", 0.5)
    given, wide = read.astype(np.float64), actual.astype(np.float64)
    scaled = given / keep if keep else np.zeros_like(given)
    with np.errstate(invalid="ignore"):
        near = np.abs(wide - scaled) <= 2 * np.abs(np.spacing(scaled.astype(actual.dtype)).astype(np.float64))
    return np.asarray((wide == 0) | near | (np.isnan(given) & np.isnan(wide)))


_RANDOM: dict[tuple[str, int], Promise] = {
    ("rand", 0): Promise("in [0, 1)", _unit_interval),
    ("rand_like", 0): Promise("in [0, 1)", _unit_interval),
    ("uniform", 0): Promise("in its interval", _interval),
    ("randn", 0): Promise("finite", _finite),
    ("randn_like", 0): Promise("finite", _finite),
    ("normal", 0): Promise("finite", _finite),
    ("normal_functional", 0): Promise("finite", _finite),
    ("bernoulli", 0): Promise("0 or 1", _zero_or_one),
    ("randint", 0): Promise("in its range", _integers),
    ("randint_like", 0): Promise("in its range", _integers),
    ("randperm", 0): Promise("a permutation", _permutation),
    ("dropout", 0): Promise("zero or its input scaled", _dropped_or_scaled),
    ("native_dropout", 0): Promise("zero or its input scaled", _dropped_or_scaled),
    ("native_dropout", 1): Promise("0 or 1", _zero_or_one),
}
