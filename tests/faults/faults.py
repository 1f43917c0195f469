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
    def moves(self) -> bool:
        """Whether it only moves values: there is nothing to round."""
        return self.operator in MOVES

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
        words: Diagnoses (`tapml_tui.compare.diagnosis.Kind`) that say what it is; () if there are none.
        faint: The same where it is blended with the right result: a sign that is a tenth wrong is a scale.
        region: Its strength is not how wrong the elements are but how many of them: an Inf has no strength.
        memory: It shows what lay in memory before.
    """

    fits: Callable[[Site], bool] = _anywhere
    words: tuple[str, ...] = ()
    faint: tuple[str, ...] = ()
    region: bool = False
    memory: bool = False


# The last of something is a tail of one; what was never written, or is another's, is said to be so or to be there.
_PART = ("slice", "slice_scale", "tail", "unwritten", "stale", "periodic")
_TAIL = ("tail", "unwritten", "stale", "slice")
_MOVED = ("permuted", "transposed", "shifted", "stale")  # a transposition transposed is a copy of its input

KINDS: dict[str, Kind] = {
    "scale": Kind(lambda site: not site.moves, ("scale",), ("scale",)),
    "offset": Kind(words=("offset",), faint=("offset",)),
    "tail_rows": Kind(_tile(-2), _TAIL, _TAIL, memory=True),
    "tail_columns": Kind(_tile(-1), _TAIL, _TAIL, memory=True),
    "tail_tile": Kind(_tile(-1, -2), _TAIL, _TAIL, memory=True),
    "every_kth": Kind(lambda site: site.shape[-1] >= 8, ("periodic",), ("periodic",), memory=True),
    "one_row": Kind(lambda site: len(site.shape) > 1, _PART, _PART, memory=True),
    "one_head": Kind(lambda site: site.operator in HEADS and len(site.shape) == 4, _PART, _PART, memory=True),
    "one_channel": Kind(lambda site: not site.moves, _PART, _PART, memory=True),
    "one_batch": Kind(lambda site: site.shape[0] > 1, _PART, _PART, memory=True),
    "transposed": Kind(lambda site: len(site.shape) > 1 and min(site.shape[-2:]) > 1, _MOVED),
    "permuted": Kind(lambda site: any(size % 2 == 0 for size in site.shape), _MOVED),
    "shifted": Kind(lambda site: len(site.shape) > 1 and max(site.shape[-2:]) > 2, ("shifted",)),
    "wrong_axis": Kind(_axis, ("wrong_axis",)),
    "sign": Kind(lambda site: site.operator not in ("aten.embedding", "aten.where"), ("sign",), ("scale",)),
    "saturated": Kind(words=("saturated",)),
    "overflow": Kind(words=("overflow",), faint=("overflow",), region=True),
    "nan_row": Kind(words=("nan",), faint=("nan",), region=True),
    "uninitialised": Kind(words=("uninitialised",), region=True),
    "low_precision": Kind(lambda site: site.sums, ("low_precision", "cast")),
    "truncated": Kind(lambda site: not site.moves, ("cast", "low_precision", "nan", "overflow")),
    "stale": Kind(words=("stale",), memory=True),
    "mask_missing": Kind(_of("aten.where", "aten.scaled_dot_product_attention"), ("mask", "stale")),
    "mask_inverted": Kind(_of("aten.where", "aten.scaled_dot_product_attention"), ("mask",)),
    "last_terms": Kind(lambda site: site.sums, ("missing_term",)),
    "no_bias": Kind(_bias, ("bias",), ("bias",)),
    "no_scale": Kind(_of(*NORMS, "aten.scaled_dot_product_attention"), ("slice_scale",)),
    "epsilon": Kind(_of(*NORMS), ("slice_scale",)),
    "wrong_index": Kind(_index, ("wrong_index", "shifted")),
    "wrong_formula": Kind(_of("aten.conv2d", "aten.gelu", "aten.silu", "aten.tanh"), ("formula", "saturated")),
}


def kinds_at(site: Site) -> list[str]:
    """The kinds of fault that make sense somewhere."""
    return [name for name, kind in KINDS.items() if kind.fits(site)]
