"""Matrix products and convolutions, done wrongly."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from tapml_tui.compare.diagnosis.evidence import Floats
from tapml_tui.compare.diagnosis.reductions import dropped
from tapml_tui.compare.diagnosis.result import Kind
from tapml_tui.compare.diagnosis.sums import narrow, product
from tapml_tui.compare.diagnosis.variant import WORK, Variant


def linear(inputs: list[npt.NDArray[Any]], reference: Floats) -> Iterator[tuple[Floats, Iterator[Variant]]]:
    """`x @ w` or `x @ w.T`, with or without a bias in front or behind."""
    matrices = [array.astype(np.float64) for array in inputs if array.ndim >= 2]
    vectors = [array.astype(np.float64) for array in inputs if array.ndim == 1 and array.size == reference.shape[-1]]
    if len(matrices) != 2 or reference.size * matrices[0].shape[-1] > WORK:
        return
    x, w = matrices
    bias = vectors[0] if vectors else np.zeros(1)
    for kernel in (np.swapaxes(w, -1, -2), w):
        if x.shape[-1] == kernel.shape[-2] and _broadcasts(x, kernel, reference):
            yield x @ kernel + bias, _linear_wrong(x, kernel, bias)


def _broadcasts(x: Floats, kernel: Floats, reference: Floats) -> bool:
    try:
        leading = np.broadcast_shapes(x.shape[:-2], kernel.shape[:-2])
    except ValueError:
        return False
    return (*leading, x.shape[-2], kernel.shape[-1]) == reference.shape


def _linear_wrong(x: Floats, kernel: Floats, bias: Floats) -> Iterator[Variant]:
    size = x.shape[-1]
    right = x @ kernel
    if bias.any():
        yield Variant(Kind.BIAS, "the bias is missing", right)
    if kernel.shape[-1] == kernel.shape[-2]:
        words = "multiplied by the matrix instead of its transpose, or the reverse"
        yield Variant(Kind.TRANSPOSED, words, x @ np.swapaxes(kernel, -1, -2) + bias)
    for name, dtype in narrow(right.size * size):
        words = f"the sums of products are carried in {name}"
        yield Variant(Kind.LOW_PRECISION, words, product(x, kernel, dtype) + bias)
    for terms, words in dropped(size):
        left = slice(terms.stop, size) if terms.start == 0 else slice(0, terms.start)
        missing = x[..., left] @ kernel[..., left, :]
        yield Variant(Kind.MISSING_TERM, f"of every sum of products {words}", right - missing + bias)


def convolution(inputs: list[npt.NDArray[Any]], reference: Floats) -> Iterator[tuple[Floats, Iterator[Variant]]]:
    """Two-dimensional convolution of any stride, padding and groups that fit the shapes."""
    if len(inputs) < 2 or inputs[0].ndim != 4 or inputs[1].ndim != 4 or reference.ndim != 4:
        return
    x, weight = inputs[0].astype(np.float64), inputs[1].astype(np.float64)
    bias = inputs[2].astype(np.float64).reshape(1, -1, 1, 1) if len(inputs) > 2 else np.zeros((1, 1, 1, 1))
    groups = x.shape[1] // max(weight.shape[1], 1)
    if reference.size * int(np.prod(weight.shape[1:])) > WORK or groups < 1 or weight.shape[0] % groups:
        return
    for stride in (1, 2, 3, 4, 8, 14, 16, 32):
        for padding in range(max(weight.shape[2:]) // 2 + 2):
            sizes = [(x.shape[d] + 2 * padding - weight.shape[d]) // stride + 1 for d in (2, 3)]
            if tuple(sizes) != reference.shape[2:] or x.shape[2] + 2 * padding < weight.shape[2]:
                continue
            windows = _windows(x, weight.shape[2:], stride, padding)
            yield _convolved(windows, weight, groups) + bias, _convolved_wrongly(windows, weight, groups, bias)


def _windows(x: Floats, kernel: tuple[int, ...], stride: int, padding: int) -> Floats:
    """(image, channel, row, column, kernel row, kernel column), a view."""
    padded = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, kernel, axis=(2, 3))
    return np.asarray(windows[:, :, ::stride, ::stride])


def _convolved(windows: Floats, weight: Floats, groups: int) -> Floats:
    images, channels, rows, columns, *kernel = windows.shape
    grouped = windows.reshape(images, groups, channels // groups, rows, columns, *kernel)
    filters = weight.reshape(groups, -1, *weight.shape[1:])
    result = np.einsum("ngcijkl,gockl->ngoij", grouped, filters, optimize=True)
    return np.asarray(result.reshape(images, -1, rows, columns))


def _convolved_wrongly(windows: Floats, weight: Floats, groups: int, bias: Floats) -> Iterator[Variant]:
    if bias.any():
        yield Variant(Kind.BIAS, "the bias is missing", _convolved(windows, weight, groups))
    for axes, words in (((2, 3), "in both directions"), ((2,), "upside down"), ((3,), "left to right")):
        flipped = np.flip(weight, axes)
        yield Variant(Kind.FORMULA, f"the filter is flipped {words}", _convolved(windows, flipped, groups) + bias)
    if weight.shape[2] == weight.shape[3] and weight.shape[2] > 1:
        turned = np.swapaxes(weight, 2, 3)
        words = "the filter is transposed: its rows are used as columns"
        yield Variant(Kind.TRANSPOSED, words, _convolved(windows, turned, groups) + bias)
    flat = weight.reshape(weight.shape[0], -1)
    if groups == 1:
        columns = windows.transpose(0, 2, 3, 1, 4, 5).reshape(*(windows.shape[d] for d in (0, 2, 3)), -1)
        for name, dtype in narrow(columns.size * flat.shape[0]):
            coarse = np.moveaxis(product(columns, flat.T[None, None], dtype), -1, 1)
            yield Variant(Kind.LOW_PRECISION, f"the sums of products are carried in {name}", coarse + bias)
    for terms, words in dropped(flat.shape[1]):
        fewer = np.zeros_like(flat)
        fewer[:, terms] = flat[:, terms]
        wrong = _convolved(windows, fewer.reshape(weight.shape), groups) + bias
        yield Variant(Kind.MISSING_TERM, f"of every sum of products {words}", wrong)
