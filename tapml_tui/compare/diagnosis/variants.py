"""The operator done wrongly: recomputed from its inputs in the ways in which kernels get it wrong.

Static arguments (which axis, which stride) are not known here: they are tried, and the ones with which the
operator gives the reference are the right ones. Where none does, nothing is said.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain, islice
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from tapml_tui.compare.diagnosis import attention, elementwise, norms, products, reductions, rotary
from tapml_tui.compare.diagnosis.evidence import Evidence, Floats
from tapml_tui.compare.diagnosis.fitting import Fit, fit, fit_blend, promising
from tapml_tui.compare.diagnosis.result import Diagnosis, Kind
from tapml_tui.compare.diagnosis.rounding import narrower
from tapml_tui.compare.diagnosis.variant import CLOSE, LIMIT, Variant, distance
from tapml_tui.compare.diagnosis.words import blended
from tapml_tui.compare.precision import precision

Maker: TypeAlias = Callable[[list[npt.NDArray[Any]], Floats], Iterator[tuple[Floats, Iterator[Variant]]]]

_MAKERS: tuple[tuple[tuple[str, ...], Maker], ...] = (
    (("softmax",), reductions.softmax),
    (("cumsum",), reductions.cumsum),
    (("mean", "sum", "amax", "amin"), reductions.reduction),
    (("layer_norm", "rms_norm"), norms.normalized),
    (("batch_norm",), norms.batch_norm),
    (("linear", "matmul", "addmm", "bmm", "mm"), products.linear),
    (("conv",), products.convolution),
    (("attention",), attention.attention),
    (("rope", "rotary"), rotary.rotary),
    (("where", "masked_fill"), elementwise.chosen),
    (("embedding", "index_select", "gather"), elementwise.looked_up),
    (
        ("gelu", "silu", "relu", "tanh", "sigmoid", "exp", "erf", "hardtanh", "softplus", "elu", "mish"),
        elementwise.curve,
    ),
)


def done_wrongly(evidence: Evidence) -> Diagnosis | None:
    """One of the known ways to get this operator wrong."""
    if not evidence.whole or not evidence.inputs:
        return None
    try:
        return _explained(evidence)
    except (
        ValueError,
        IndexError,
        ArithmeticError,
    ):  # shapes out of a trace need not fit the operator
        return None


def _explained(evidence: Evidence) -> Diagnosis | None:
    nearest = min(_bases(evidence), key=lambda base: distance(base[0], evidence.reference), default=None)
    if nearest is None:
        return None
    right, variants = nearest
    best: Diagnosis | None = None
    for variant in variants:
        if variant.values.shape != evidence.shape:
            continue
        direction = np.where(np.isfinite(variant.values) & np.isfinite(right), variant.values - right, 0.0)
        if not promising(evidence, direction.reshape(-1)[evidence.sample]):
            continue
        fits = [one for one in (fit(evidence, direction), _exactly(evidence, variant.values)) if one is not None]
        found = min(fits, key=lambda one: one.residual, default=None)
        if found is not None and 0.0 < found.coefficient < 1.05 and (best is None or found.residual < best.residual):
            words = blended(found.coefficient)
            best = Diagnosis(variant.kind, variant.words + words, found.residual, 1.5 if words else 0.5)
    return best


def _exactly(evidence: Evidence, values: Floats) -> Fit | None:
    """All of it, rounded as the result is: next to a coarse dtype's rounding, the rest of a small difference shows."""
    rounded = values.astype(evidence.dtype).astype(np.float64)
    return fit_blend(evidence, rounded) if precision(evidence.dtype) is not None else None


def _bases(evidence: Evidence) -> Iterator[tuple[Floats, Iterator[Variant]]]:
    """What gives the reference, and what goes wrong with it."""
    name = evidence.operator.split(".")[1] if "." in evidence.operator else evidence.operator
    if sum(array.size for array in evidence.inputs) > LIMIT:
        return
    wide = [array if array.dtype.kind in "biu" else array.astype(np.float64) for array in evidence.inputs]
    for words, maker in _MAKERS:
        if any(word in name for word in words):
            for place, (right, variants) in enumerate(maker(wide, evidence.reference)):
                if right.size == evidence.reference.size and distance(right, evidence.reference) < CLOSE:
                    yield right.reshape(evidence.shape), chain(variants, _of_rounded(evidence, maker, wide, place))
            return


def _of_rounded(evidence: Evidence, maker: Maker, inputs: list[npt.NDArray[Any]], place: int) -> Iterator[Variant]:
    """The right computation, of inputs that went through a narrower dtype."""
    floating = [number for number, array in enumerate(inputs) if array.dtype.kind == "f"]
    for name, dtype in narrower(evidence.dtype):
        for chosen in [floating, *([number] for number in floating[:2] if len(floating) > 1)]:
            rounded = [a.astype(dtype).astype(np.float64) if n in chosen else a for n, a in enumerate(inputs)]
            made = next(islice(maker(rounded, evidence.reference), place, None), None)
            if made is not None and made[0].size == evidence.reference.size:
                what = "what is read" if chosen is floating else f"input {chosen[0]}"
                yield Variant(Kind.CAST, f"{what} is rounded to {name} first", made[0].reshape(evidence.shape))
