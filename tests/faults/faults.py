"""The kinds of fault: where each makes sense, how its strength is set, what the diagnosis may call it.

What a kind computes is the function of the same name in `damaged.py` or `miscomputed.py`, which only the compiler
imports.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tapml_tui.backends.protocol import Unit
from tests.faults.arithmetic import FREEDOM

MOVES = ("aten.embedding", "aten.transpose", "aten.where")
NORMS = ("aten.layer_norm", "aten.rms_norm")
HEADS = ("aten.matmul", "aten.softmax", "tapml_faults.rope", "aten.scaled_dot_product_attention")


@dataclass(frozen=True)
class Site:
    """A kind of node that can have faults: an operator in a dtype, with its shapes."""

    operator: str
    unit: Unit

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the output."""
        return self.unit.outputs[0].shape

    @property
    def dtype(self) -> str:
        """Of the output."""
        return self.unit.outputs[0].dtype

    @property
    def sums(self) -> bool:
        """Whether it sums."""
        return FREEDOM[self.operator].sums


def _anywhere(site: Site) -> bool:
    return True


def _of(*operators: str) -> Callable[[Site], bool]:
    return lambda site: site.operator in operators


def _bias(site: Site) -> bool:
    return site.operator in ("aten.linear", "aten.layer_norm") and len(site.unit.inputs) == 3


def _tile(*dims: int) -> Callable[[Site], bool]:
    return lambda site: all(len(site.shape) >= -dim and site.shape[dim] >= 4 for dim in dims)


def _axis(site: Site) -> bool:
    """Another dimension that gives the same shape."""
    x = site.unit.inputs[0].shape
    if site.operator == "aten.mean":
        return any(size == x[1] for size in (x[0], *x[2:]))
    return site.operator in ("aten.softmax", "aten.cumsum")


def _index(site: Site) -> bool:
    return site.operator in ("aten.embedding", "tapml_faults.rope")


@dataclass(frozen=True)
class Kind:
    """A kind of fault.

    Attributes:
        fits: Where it makes sense.
        words: Diagnoses (`compare.diagnosis.Kind` by value) that say what it is; () if there are no words for it.
        faint: The same where it is blended with the right result: a sign that is a tenth wrong is a scale.
        region: Its strength is not how wrong the elements are but how many of them: an Inf has no strength.
        memory: It shows what lay in memory before.
    """

    fits: Callable[[Site], bool] = _anywhere
    words: tuple[str, ...] = ()
    faint: tuple[str, ...] | None = None
    region: bool = False
    memory: bool = False


KINDS: dict[str, Kind] = {
    "scale": Kind(lambda site: site.operator not in MOVES),
    "offset": Kind(),
    "tail_rows": Kind(_tile(-2), memory=True),
    "tail_columns": Kind(_tile(-1), memory=True),
    "tail_tile": Kind(_tile(-1, -2), memory=True),
    "every_kth": Kind(_tile(-1), memory=True),
    "one_row": Kind(lambda site: len(site.shape) > 1, memory=True),
    "one_head": Kind(lambda site: site.operator in HEADS and len(site.shape) == 4, memory=True),
    "one_channel": Kind(lambda site: site.operator not in MOVES, memory=True),
    "one_batch": Kind(lambda site: site.shape[0] > 1, memory=True),
    "transposed": Kind(lambda site: len(site.shape) > 1 and min(site.shape[-2:]) > 1),
    "permuted": Kind(lambda site: any(size % 2 == 0 for size in site.shape)),
    "shifted": Kind(lambda site: len(site.shape) > 1 and max(site.shape[-2:]) > 2),
    "wrong_axis": Kind(_axis),
    "sign": Kind(lambda site: site.operator not in ("aten.embedding", "aten.where")),
    "saturated": Kind(),
    "overflow": Kind(region=True),
    "nan_row": Kind(region=True),
    "uninitialised": Kind(region=True),
    "low_precision": Kind(lambda site: site.sums),
    "truncated": Kind(lambda site: site.operator not in MOVES),
    "stale": Kind(memory=True),
    "mask_missing": Kind(_of("aten.where", "aten.scaled_dot_product_attention")),
    "mask_inverted": Kind(_of("aten.where", "aten.scaled_dot_product_attention")),
    "last_terms": Kind(lambda site: site.sums),
    "no_bias": Kind(_bias),
    "no_scale": Kind(_of(*NORMS, "aten.scaled_dot_product_attention")),
    "epsilon": Kind(_of(*NORMS)),
    "wrong_index": Kind(_index),
    "wrong_formula": Kind(_of("aten.conv2d", "aten.gelu", "aten.silu", "aten.tanh")),
}


def kinds_at(site: Site) -> list[str]:
    """The kinds of fault that make sense somewhere."""
    return [name for name, kind in KINDS.items() if kind.fits(site)]
