"""What the inputs of a node tell of its output, where they are few enough to look at all that is multiplied."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from tapml_tui.backends.protocol import Call, UnitInput
from tapml_tui.compare import Comparison, attention, convolution, normalisation, sums
from tapml_tui.compare.noise import Known
from tapml_tui.compare.precision import Precision, precision
from tapml_tui.engine.units import Binding
from tapml_tui.engine.values import Stored, load

_Array: TypeAlias = npt.NDArray[Any]


def closer(
    judge: partial[Comparison],
    arrays: tuple[_Array, _Array],
    binding: Binding,
    inputs: Sequence[Stored | None],
    *,
    live: bool = False,
) -> tuple[Comparison, partial[Comparison]]:
    """What is found, and by which judge: of an output that is not the same by what is known of each of its elements.

    Args:
        judge: Compares (reference, actual) by averages, and by more where it is told what is `known`.
        arrays: Both.
        binding: What was computed.
        inputs: From what.
        live: Whether the inputs are such as a fault may have made.
    """
    found, call = judge(arrays), binding.unit.calls[0]
    failed = not found.passed
    if not found.max_abs > 0 or _operator(call, failed, live) is None:  # else inputs would be read for nothing
        return found, judge
    known = known_of(call, [load(one) if one else None for one in inputs], arrays[0], failed=failed, live=live)
    if known is not None:
        judge = partial(judge, known=known)
        found = judge(arrays)
    return found, judge


def known_of(
    call: Call, inputs: Sequence[_Array | None], reference: _Array, *, failed: bool = True, live: bool = False
) -> Known | None:
    """What the inputs of a call tell of each element of `reference`.

    Args:
        call: What was computed.
        inputs: From what.
        reference: What the source gave.
        failed: Whether it failed by averages.
        live: Whether the inputs are such as a fault may have made.

    Returns:
        None for operators that are not named here, for a call with arguments that these do not take, where an input is
        not at hand, and where it would be too much.
    """
    operator, unit = _operator(call, failed, live), precision(reference.dtype)
    if operator is None or unit is None or reference.dtype.kind == "c":
        return None
    taken = [a.index for a in (*call.args, *(a for _, a in call.kwargs)) if isinstance(a, UnitInput)]
    if any(inputs[at] is None for at in taken):
        return None

    def argument(given: object) -> object:
        return inputs[given.index] if isinstance(given, UnitInput) else given

    try:
        named = {name: argument(given) for name, given in call.kwargs}
        bound = inspect.signature(operator).bind(unit, *map(argument, call.args), **named)
    except TypeError:
        return None
    known: Known | None = operator(*bound.args, **bound.kwargs)
    fits = known is not None and all(one is None or one.shape == reference.shape for one in known)
    return known if fits else None


def _operator(call: Call, failed: bool, live: bool) -> Callable[..., Known | None] | None:
    """By its name, without namespace and overload."""
    name = (*call.op.split(".", 2), "", "")[1]
    return (
        _OPERATORS.get(name)
        or (_WHERE_IT_FAILED.get(name) if failed else None)
        or (_WHERE_IT_FAILED_LIVE.get(name) if failed and live else None)
    )


# A trace may call an operator with anything.


def _linear(unit: Precision, x: Any, weight: Any, bias: Any = None) -> Known | None:
    return _biased(sums.known(x, weight, unit), bias) if _tensors(x, weight) else None


def _matmul(unit: Precision, left: Any, right: Any) -> Known | None:
    return sums.known(left, right.swapaxes(-1, -2), unit) if _tensors(left, right) and right.ndim > 1 else None


def _addmm(unit: Precision, bias: Any, left: Any, right: Any) -> Known | None:
    return _biased(_matmul(unit, left, right), bias)


def _convolution(  # noqa: PLR0917  # the operator's own arguments, as of the next two
    unit: Precision,
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: Any = 1,
) -> Known | None:
    if not _tensors(x, weight) or x.ndim != weight.ndim or x.ndim < 3:
        return None
    steps, edges, gaps = (_per_dimension(one, x.ndim - 2) for one in (stride, padding, dilation))
    if not (steps and edges and gaps and isinstance(groups, int) and min(*steps, *gaps, groups) > 0):
        return None
    known = convolution.known(x, weight, convolution.Geometry(steps, edges, gaps, groups), unit)
    return _biased(known, bias.reshape(-1, *(1 for _ in steps)) if _tensors(bias) else bias)


def _any_convolution(  # noqa: PLR0917
    unit: Precision,
    x: Any,
    weight: Any,
    bias: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    transposed: Any,
    _: Any,
    groups: Any,
) -> Known | None:
    return None if transposed else _convolution(unit, x, weight, bias, stride, padding, dilation, groups)


def _attention(  # noqa: PLR0917
    unit: Precision,
    query: Any,
    key: Any,
    value: Any,
    attn_mask: Any = None,
    dropout_p: Any = 0.0,
    is_causal: Any = False,
    *,
    scale: Any = None,
    enable_gqa: Any = False,
) -> Known | None:
    if not _tensors(query, key, value) or dropout_p != 0.0 or query.ndim < 2 or not query.size:
        return None
    if attn_mask is not None and not _tensors(attn_mask):
        return None
    if is_causal:
        rows, columns = query.shape[-2], key.shape[-2] if key.ndim > 1 else 0
        if attn_mask is not None or rows * columns > attention.MOST_SCORES:
            return None
        attn_mask = np.tri(rows, columns, dtype=bool)
    if enable_gqa and query.ndim == key.ndim == value.ndim > 2:  # several heads share their keys and values
        each = query.shape[-3] // max(1, key.shape[-3])
        if each * max(key.size, value.size) > sums.MOST_SQUARES:
            return None
        key, value = (np.repeat(one, each, axis=-3) for one in (key, value))
    by = scale if isinstance(scale, int | float) else 1.0 / math.sqrt(query.shape[-1])
    return attention.known(query, key, value, unit, mask=attn_mask, scale=by)


def _layer_norm(  # noqa: PLR0917
    unit: Precision, x: Any, shape: Any, weight: Any = None, bias: Any = None, eps: Any = 1e-5, _: Any = True
) -> Known | None:
    sizes = _per_dimension(shape, len(shape)) if isinstance(shape, tuple) else ()
    given = [one for one in (weight, bias) if one is not None]
    if not sizes or not _tensors(x, *given) or x.shape[-len(sizes) :] != sizes or not isinstance(eps, int | float):
        return None
    width = math.prod(sizes)
    if any(one.size != width for one in given):
        return None
    return normalisation.layer_norm(x, weight, bias, width=width, epsilon=eps, unit=unit)


def _softmax(unit: Precision, x: Any, dim: Any, _: Any = None) -> Known | None:
    if not _tensors(x) or not isinstance(dim, int) or not -x.ndim <= dim < x.ndim:
        return None
    return normalisation.softmax(x, dim, unit)


def _mean(unit: Precision, x: Any, dim: Any = None, keepdim: Any = False, dtype: Any = None) -> Known | None:
    summed = _sum(unit, x, dim, keepdim, dtype)
    if summed is None or summed.truth is None:
        return None
    terms = x.size / summed.truth.size
    return Known(summed.straying / terms, summed.truth / terms)


def _sum(unit: Precision, x: Any, dim: Any = None, keepdim: Any = False, dtype: Any = None) -> Known | None:
    if not _tensors(x) or not x.size or dtype is not None:
        return None
    given = (dim,) if isinstance(dim, int) else dim or tuple(range(x.ndim))
    if not isinstance(given, tuple) or not all(isinstance(one, int) and -x.ndim <= one < x.ndim for one in given):
        return None
    over = sorted({one % x.ndim for one in given})
    left = [size for at, size in enumerate(x.shape) if at not in over]
    rows = np.moveaxis(x, over, range(-len(over), 0)).reshape(math.prod(left), -1)
    found = sums.known(rows, np.ones((1, rows.shape[-1]), x.dtype), unit)
    if found is None or found.truth is None:
        return None
    shape = [1 if at in over else size for at, size in enumerate(x.shape)] if keepdim is True else left
    return Known(found.straying.reshape(shape), found.truth.reshape(shape))


def _tensors(*arguments: object) -> bool:
    return all(isinstance(argument, np.ndarray) for argument in arguments)


def _per_dimension(given: object, count: int) -> tuple[int, ...]:
    """An argument of a convolution for each dimension of an image; () if it is none."""
    sizes = given if isinstance(given, tuple) else (given,)
    each = tuple(size for size in sizes if isinstance(size, int) and size >= 0)
    return () if len(each) != len(sizes) else each * count if len(each) == 1 else each if len(each) == count else ()


def _biased(known: Known | None, bias: Any) -> Known | None:
    """With something added to the sums."""
    if bias is None or known is None or known.truth is None:
        return known
    try:
        return known._replace(truth=known.truth + bias.astype(np.float64)) if _tensors(bias) else None
    except ValueError:
        return None


_OPERATORS: dict[str, Callable[..., Known | None]] = {
    "linear": _linear,
    "mm": _matmul,
    "bmm": _matmul,
    "matmul": _matmul,
    "addmm": _addmm,
    "baddbmm": _addmm,
    "conv1d": _convolution,
    "conv2d": _convolution,
    "conv3d": _convolution,
    "convolution": _any_convolution,
    "scaled_dot_product_attention": _attention,
}

_WHERE_IT_FAILED: dict[str, Callable[..., Known | None]] = {
    "layer_norm": _layer_norm,
    "mean": _mean,
    "sum": _sum,
}
"""Of which an average is enough on nearly all inputs: not on rows that are constant, or far from zero."""

_WHERE_IT_FAILED_LIVE: dict[str, Callable[..., Known | None]] = {"softmax": _softmax, "_softmax": _softmax}
"""Of which an average is enough on inputs that a model has."""
