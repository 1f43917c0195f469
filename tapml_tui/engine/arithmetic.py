"""Which arithmetic each operator does: how long its sums are, whether it computes functions.

An operator that is not named here may compute functions, and sums as many terms as an element of the output
has elements of the largest input.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from tapml_tui.backends.protocol import Call, CallArgument, Unit, UnitInput
from tapml_tui.compare.arithmetic import Arithmetic, attention, exponentials, normalisation, terms_of

_LAST_OF_FIRST = frozenset(["linear", "mm", "bmm", "matmul", "dot", "vdot", "mv", "inner"])
_LAST_OF_SECOND = frozenset(["addmm", "baddbmm", "addbmm", "addmv"])
_CONVOLUTIONS = frozenset(["convolution", "_convolution", "conv1d", "conv2d", "conv3d"])
_TRANSPOSED = frozenset(["conv_transpose1d", "conv_transpose2d", "conv_transpose3d"])
_ATTENTION = frozenset(["scaled_dot_product_attention", "_scaled_dot_product_flash_attention_for_cpu"])
_SUMS = frozenset(["sum", "nansum", "mean", "nanmean", "adaptive_avg_pool1d", "adaptive_avg_pool2d", "trace"])
_POOLS = frozenset(["avg_pool1d", "avg_pool2d", "avg_pool3d"])
_RUNNING = frozenset(["cumsum", "cumprod"])
_EXPONENTIALS = frozenset(["softmax", "_softmax", "log_softmax", "_log_softmax", "logsumexp", "logcumsumexp"])
_NORMALISED_SHAPE = {"layer_norm": 1, "native_layer_norm": 1, "rms_norm": 1, "_fused_rms_norm": 1}
_STATISTICS = frozenset(["batch_norm", "native_batch_norm", "_native_batch_norm_legit_no_training"])
"""Normalised by what was measured before."""
_SCALED = frozenset(["add", "sub", "rsub", "lerp"])
"""With a third argument these are sums of two products."""
# fmt: off
_SIMPLE = frozenset([
    "_to_copy", "abs", "add", "amax", "amin", "cat", "clamp", "clamp_max", "clamp_min", "clone", "copy",
    "embedding", "eq", "expand", "floor_divide", "ge", "gt", "le", "lerp", "lt", "masked_fill", "max", "maximum",
    "min", "minimum", "mul", "ne", "neg", "relu", "round", "rsub", "sign", "square", "stack", "sub", "to",
    "view", "where",
])
# fmt: on
"""One sum or product per element, or none: no function, no reduction in floating point."""
_SCALING = frozenset(["mul", "div"])
"""With a number these are proportional to their input."""

_FUNCTIONS = frozenset(["cos", "erf", "log", "sin", "tan", "tanh"])
"""One function per element, that targets have as such; what is put together of some (sigmoid) has steps."""

_PROPORTIONAL = frozenset(["div", "exp", "exp2", "reciprocal", "rsqrt", "sqrt"])
"""One function per element, whose error is one of the result, however small that is: nothing hides behind it."""

Products: TypeAlias = Callable[[int, int], float | None]
"""Root mean square of the products of all rows of one input of a unit with all rows of another, if it is known."""


def unknown_products(left: int, right: int) -> float | None:
    """Where nobody measured the inputs."""
    return None


def products_of(left: npt.NDArray[Any], right: npt.NDArray[Any]) -> float | None:
    """Root mean square of the products of all rows of [..., rows, columns] with all rows of another, in float64.

    Out of the squares of both, which are no larger than they are: sum (l r)^2 = trace(L^T L R^T R). Heads of `right`
    that serve several of `left` are taken as often; what is not finite counts as 0. None where there is no such thing.
    """
    if left.ndim < 2 or left.ndim != right.ndim or left.shape[-1] != right.shape[-1] or not left.size or not right.size:
        return None
    heads, shared = math.prod(left.shape[:-2]), math.prod(right.shape[:-2])
    if heads % shared or left.shape[:-3] != right.shape[:-3]:
        return None
    queries, keys = left.reshape(heads, *left.shape[-2:]), right.reshape(shared, *right.shape[-2:])
    of_keys = [_squared(rows) for rows in keys]
    squares = sum(float((_squared(rows) * of_keys[i * shared // heads]).sum()) for i, rows in enumerate(queries))
    return math.sqrt(max(squares, 0.0) / (heads * left.shape[-2] * right.shape[-2]))


def _squared(rows: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    with np.errstate(invalid="ignore"):  # a NaN may be a signalling one
        wide = rows.astype(np.float64)
    wide[~np.isfinite(wide)] = 0.0
    squared: npt.NDArray[np.float64] = wide.T @ wide
    return squared


def arithmetic_of(unit: Unit, output: tuple[int, ...], products: Products = unknown_products) -> Arithmetic:
    """The arithmetic behind an output of this shape; a trace may call an operator anything, also nothing.

    Args:
        unit: What the kernel computes.
        output: Shape of the output.
        products: How large the products of two inputs are.
    """
    call = unit.calls[0]
    name = (*call.op.split(".", 2), "", "")[1]
    shapes = [_shape(unit, argument) for argument in call.args]
    first, second = (*shapes, (), ())[:2]
    if name in _LAST_OF_FIRST:  # even one product has a bias added to it
        return Arithmetic(max(2.0, _extent(first, -1)), False)
    if name in _LAST_OF_SECOND:
        return Arithmetic(max(2.0, _extent(second, -1)), False)
    if name in _CONVOLUTIONS or name in _TRANSPOSED:
        outer = _extent(second, 0 if name in _CONVOLUTIONS else 1)
        return Arithmetic(max(2.0, math.prod(second) / outer), False)
    if name in _ATTENTION:
        return attention(first, second, _scores(call, first, products))
    if name in _NORMALISED_SHAPE:
        normalised = call.args[1] if len(call.args) > 1 else ()
        sizes = normalised if isinstance(normalised, tuple) else ()
        return normalisation(float(max(1, math.prod(n for n in sizes if isinstance(n, int)))))
    if name in _STATISTICS:
        return normalisation(1.0)
    if name in _RUNNING or name in _EXPONENTIALS:
        axis = dict(call.kwargs).get("dim", call.args[1] if len(call.args) > 1 else None)
        terms = _extent(first, axis) if isinstance(axis, int) else float(max(1, math.prod(first)))
        return Arithmetic(terms, False, 0.0) if name in _RUNNING else Arithmetic(exponentials(terms))
    if name in _SUMS:
        return Arithmetic(terms_of([first], output), False, 0.0)
    if name in _POOLS:
        window = call.args[1] if len(call.args) > 1 else 1
        sizes = window if isinstance(window, tuple) else (window,)
        return Arithmetic(float(max(1, math.prod(n for n in sizes if isinstance(n, int)))), False, 0.0)
    if name == "gelu" and len(call.args) == 1 and not call.kwargs:  # by erf
        return Arithmetic(1.0, share=0.5)
    if name in _PROPORTIONAL and not call.kwargs:  # a rounding mode of div
        return Arithmetic(1.0, hidden=0.0, steps=False)
    if name in _FUNCTIONS:
        return Arithmetic(1.0, steps=False)
    if name in _SCALING and any(map(_printed, call.args)):
        return Arithmetic(1.0, hidden=0.0, steps=False)
    if name in _SIMPLE:
        return Arithmetic(2.0 if name in _SCALED and (call.kwargs or len(call.args) > 2) else 1.0, False)
    return Arithmetic(terms_of([spec.shape for spec in unit.inputs], output))


def _printed(argument: CallArgument) -> bool:
    """Whether a number is another one in a kernel's source.

    TVM writes constants into OpenCL, CUDA, Metal and WebGPU sources with seven digits: up to 5e-7 of them, which is
    8 unit roundoffs of float32, is lost, and is no fault of the kernel.
    """
    return isinstance(argument, float) and np.isfinite(argument) and np.float32(f"{argument:e}") != np.float32(argument)


def _shape(unit: Unit, argument: CallArgument) -> tuple[int, ...]:
    known = isinstance(argument, UnitInput) and 0 <= argument.index < len(unit.inputs)
    return unit.inputs[argument.index].shape if known and isinstance(argument, UnitInput) else ()


def _extent(shape: tuple[int, ...], axis: int) -> float:
    return float(max(1, shape[axis])) if -len(shape) <= axis < len(shape) else 1.0


def _scores(call: Call, queries: tuple[int, ...], products: Products) -> float | None:
    """Root mean square of the scaled scores."""
    operands = [argument.index for argument in call.args[:2] if isinstance(argument, UnitInput)]
    size = products(*operands) if len(operands) == 2 and queries else None
    if size is None:
        return None
    scale = dict(call.kwargs).get("scale")
    return size * (abs(scale) if isinstance(scale, int | float) else 1.0 / math.sqrt(_extent(queries, -1)))
