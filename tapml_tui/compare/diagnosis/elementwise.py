"""Curves, choices and look-ups, done wrongly."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from tapml_tui.compare.diagnosis.evidence import Floats
from tapml_tui.compare.diagnosis.result import Kind
from tapml_tui.compare.diagnosis.variant import CLOSE, Variant, distance


def chosen(inputs: list[npt.NDArray[Any]], reference: Floats) -> Iterator[tuple[Floats, Iterator[Variant]]]:
    """`where(mask, x, y)` or `masked_fill(x, mask, value)`: the mask is the boolean input."""
    masks = [array for array in inputs if array.dtype.kind == "b"]
    others = [array.astype(np.float64) for array in inputs if array.dtype.kind != "b"]
    if len(masks) != 1 or not others:
        return
    try:
        mask = np.broadcast_to(masks[0], reference.shape)
        values = [np.broadcast_to(array, reference.shape) for array in others]
    except ValueError:
        return
    if len(values) == 1:
        for hidden in (mask, ~mask):
            filling = reference[hidden]
            if filling.size and bool((filling == filling[0]).all()):
                values.append(np.full(reference.shape, float(filling[0])))
                break
    if len(values) < 2:
        return
    for first, second in ((values[0], values[1]), (values[1], values[0])):
        yield np.where(mask, first, second), _wrong_choice(mask, first, second)


def _wrong_choice(mask: npt.NDArray[Any], first: Floats, second: Floats) -> Iterator[Variant]:
    yield Variant(Kind.MASK, "the mask is inverted", np.where(mask, second, first))
    yield Variant(Kind.MASK, "the mask is missing: all come from where it is true", np.asarray(first))
    yield Variant(Kind.MASK, "the mask is missing: all come from where it is false", np.asarray(second))


def looked_up(inputs: list[npt.NDArray[Any]], reference: Floats) -> Iterator[tuple[Floats, Iterator[Variant]]]:
    """Rows of a table."""
    tables = [array for array in inputs if array.dtype.kind not in "biu" and array.ndim == 2]
    indices = [array for array in inputs if array.dtype.kind in "iu"]
    if len(tables) != 1 or len(indices) != 1 or indices[0].size * tables[0].shape[1] != reference.size:
        return
    table, index = tables[0], indices[0].astype(np.int64)
    if index.min(initial=0) < 0 or index.max(initial=0) >= table.shape[0]:
        return
    yield table[index], _wrong_rows(table, index, reference)


def _wrong_rows(table: Floats, index: npt.NDArray[np.int64], reference: Floats) -> Iterator[Variant]:
    for step in (1, -1):
        for words, places in (
            ("", (index + step) % table.shape[0]),
            (", held at the ends", np.clip(index + step, 0, table.shape[0] - 1)),
        ):
            side = "after" if step > 0 else "before"
            said = f"wrong index: every row is the one {side} the right one in the table{words}"
            yield Variant(Kind.WRONG_INDEX, said, table[places].reshape(reference.shape))
    said = "wrong index: every row is the first one of the table"
    yield Variant(Kind.WRONG_INDEX, said, table[np.zeros_like(index)].reshape(reference.shape))


def curve(inputs: list[npt.NDArray[Any]], reference: Floats) -> Iterator[tuple[Floats, Iterator[Variant]]]:
    """Activation functions: another one, or an approximation of the right one."""
    x = inputs[0].astype(np.float64)
    if x.size != reference.size:
        return
    x = x.reshape(reference.shape)
    curves = _curves(x)
    close = False
    for values in curves.values():
        close |= distance(values, reference) < CLOSE
        yield values, _other_curves(curves)
    if not close:
        yield reference, _other_curves(curves)


def _curves(x: Floats) -> dict[str, Floats]:
    sigmoid = 1.0 / (1.0 + np.exp(-np.clip(x, -700.0, 700.0)))
    return {
        "gelu": 0.5 * x * (1.0 + _erf(x / np.sqrt(2.0))),
        "the tanh approximation of gelu": 0.5 * x * (1.0 + np.tanh(np.sqrt(2.0 / np.pi) * (x + 0.044715 * x**3))),
        "gelu as x * sigmoid(1.702 x)": x / (1.0 + np.exp(-np.clip(1.702 * x, -700.0, 700.0))),
        "silu": x * sigmoid,
        "hard silu": x * np.clip(x / 6.0 + 0.5, 0.0, 1.0),
        "relu": np.maximum(x, 0.0),
        "a leaky relu": np.where(x > 0.0, x, 0.01 * x),
        "sigmoid": sigmoid,
        "hard sigmoid": np.clip(x / 6.0 + 0.5, 0.0, 1.0),
        "tanh": np.tanh(x),
        "hard tanh": np.clip(x, -1.0, 1.0),
        "softsign": x / (1.0 + np.abs(x)),
        "the first terms of the series of tanh": x - x**3 / 3.0,
        "elu": np.where(x > 0.0, x, np.expm1(np.minimum(x, 0.0))),
        "the input itself": x,
    }


def _erf(x: Floats) -> Floats:
    """Abramowitz and Stegun 7.1.26, good to 1.5e-7."""
    t = 1.0 / (1.0 + 0.3275911 * np.abs(x))
    series = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))))
    return np.asarray(np.sign(x) * (1.0 - series * np.exp(-np.square(x))))


def _other_curves(curves: dict[str, Floats]) -> Iterator[Variant]:
    for name, values in curves.items():
        yield Variant(Kind.FORMULA, f"another formula: {name}", values)
