"""Rotary position embedding, done wrongly."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from tapml_tui.compare.diagnosis.evidence import Floats
from tapml_tui.compare.diagnosis.result import Kind
from tapml_tui.compare.diagnosis.variant import Variant


def rotary(inputs: list[npt.NDArray[Any]], reference: Floats) -> Iterator[tuple[Floats, Iterator[Variant]]]:
    """`x * cosines + turned(x) * sines`, turned by halves or by pairs; tables by position."""
    if len(inputs) != 3 or inputs[0].shape != reference.shape or inputs[1].shape != inputs[2].shape:
        return
    x, first, second = (array.astype(np.float64) for array in inputs)
    if first.shape[-1] != x.shape[-1] or first.shape[-2] != x.shape[-2] or x.shape[-1] % 2:
        return
    for cosines, sines in ((first, second), (second, first)):
        for turned, other in ((_halves(x), _pairs(x)), (_pairs(x), _halves(x))):
            yield x * cosines + turned * sines, _wrong(x, cosines, sines, turned, other)


def _halves(x: Floats) -> Floats:
    left, right = np.split(x, 2, axis=-1)
    return np.concatenate([-right, left], axis=-1)


def _pairs(x: Floats) -> Floats:
    return np.stack([-x[..., 1::2], x[..., ::2]], axis=-1).reshape(x.shape)


def _wrong(x: Floats, cosines: Floats, sines: Floats, turned: Floats, other: Floats) -> Iterator[Variant]:
    count = x.shape[-2]
    for step in (1, -1):
        side = "after" if step > 0 else "before"
        for words, places in (
            ("", (np.arange(count) + step) % count),
            (", held at the ends", np.clip(np.arange(count) + step, 0, count - 1)),
        ):
            moved = x * cosines[..., places, :] + turned * sines[..., places, :]
            yield Variant(Kind.WRONG_INDEX, f"wrong index: every position is the one {side} it{words}", moved)
    yield Variant(Kind.SIGN, "turned the wrong way: the sign of the sines is flipped", x * cosines - turned * sines)
    words = "halves and neighbouring pairs are mixed up"
    yield Variant(Kind.PERMUTED, words, x * cosines + other * sines)
    yield Variant(Kind.FORMULA, "sines and cosines are exchanged", x * sines + turned * cosines)
