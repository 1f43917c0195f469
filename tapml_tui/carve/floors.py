"""The noise floors: how far the source's own rounding puts it from a float64 replay.

*Isolated*: one node on its recorded inputs. *Chained*: the whole model from the case's inputs, where
integers and booleans (indices, masks, routing) are taken from the recording, so that a near tie does
not send the replay down another path.

A chained value is only kept where it differs from the recorded one: a reference without an entry in
`Replay._chained` is known exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

import torch

from tapml_tui.carve.bits import same_memory
from tapml_tui.carve.kinds import Kind
from tapml_tui.carve.measure import EXACT, Against, Yardstick
from tapml_tui.carve.plan import Ref, Step, fill
from tapml_tui.operators import flat_outputs, to_numpy
from trace_format.model import NodeRef

WEIGHT_CACHE_BYTES = 4 << 30
"""Weights in float64 are kept from case to case up to this much; beyond it they are converted again."""

_WIDE = {torch.complex64: torch.complex128, torch.complex32: torch.complex128} | dict.fromkeys(
    (
        torch.float32,
        torch.float16,
        torch.bfloat16,
        torch.float8_e4m3fn,
        torch.float8_e4m3fnuz,
        torch.float8_e5m2,
        torch.float8_e5m2fnuz,
        torch.float8_e8m0fnu,
    ),
    torch.float64,
)


def widen(tensor: torch.Tensor) -> torch.Tensor:
    """In double precision; integers and booleans as they are."""
    wide = _WIDE.get(tensor.dtype)
    return tensor if wide is None else tensor.to(wide)


class WideWeights:
    """Weights in double precision, converted once while they fit."""

    def __init__(self, limit: int = WEIGHT_CACHE_BYTES) -> None:
        self._kept: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        self._room = limit

    def get(self, weight: torch.Tensor) -> torch.Tensor:
        """`widen(weight)`, from the cache if it is there."""
        if (found := self._kept.get(id(weight))) is not None:
            return found[1]
        wide = widen(weight)
        size = wide.numel() * wide.itemsize
        if size <= self._room:
            self._room -= size
            self._kept[id(weight)] = (weight, wide)  # holding on to the weight keeps its id its own
        return wide

    def prepare(self, weight: torch.Tensor) -> None:
        """Convert a weight before it is asked for, if it can be kept."""
        if weight.numel() * _WIDE.get(weight.dtype, weight.dtype).itemsize <= self._room:
            self.get(weight)


class Replay:
    """The float64 replay of one case, step by step beside the recording."""

    def __init__(
        self,
        recorded: Mapping[Ref, Any],
        wide_weights: WideWeights,
        weights: Collection[Ref],
        drift: Mapping[Ref, torch.Tensor],
    ) -> None:
        """Follow a recording.

        Args:
            recorded: What was recorded of every value that is still needed; the caller keeps it up to date.
            wide_weights: Shared by all cases.
            weights: Which references are parameters, buffers or constants.
            drift: Inputs that an earlier case hands on, as its own replay has them: chained, the
                error of that case comes along.
        """
        self._recorded = recorded
        self._wide_weights = wide_weights
        self._weights = weights
        self._wide: dict[Ref, torch.Tensor] = {}
        self._chained: dict[Ref, torch.Tensor] = dict(drift)
        self._against: dict[Ref, Against] = {}

    def drift(self, ref: Ref) -> torch.Tensor | None:
        """A value in the replay of the whole model; None where that is what was recorded."""
        return self._chained.get(ref)

    def forget(self, refs: tuple[Ref, ...]) -> None:
        """Nobody reads these any more."""
        for ref in refs:
            self._wide.pop(ref, None)
            self._chained.pop(ref, None)
            self._against.pop(ref, None)

    def yardsticks(self, index: int, step: Step) -> list[tuple[Yardstick, Yardstick]]:
        """What isolated and chained floor of each output of step `index`, recorded already, are measured against."""
        refs = [NodeRef(index, i) for i in range(step.node.outputs)]
        values = [self._recorded[ref] for ref in refs]
        moving = [(isinstance(v, torch.Tensor) and v.dtype in _WIDE) or _is_double(v) for v in values]
        if step.kind in (Kind.UNINITIALISED, Kind.RANDOM):
            return [(None, None)] * len(refs)
        if not any(moving):
            return [(EXACT, EXACT) if isinstance(v, torch.Tensor) else (None, None) for v in values]
        drifted = any(ref in self._chained for ref in step.reads)
        isolated = None if step.kind is Kind.MOVES else self._try(step, self._wide_recorded, values)
        chained = self._try(step, self._wide_chained, values) if drifted else isolated
        yardsticks: list[tuple[Yardstick, Yardstick]] = []
        for i, (ref, value, floating) in enumerate(zip(refs, values, moving, strict=True)):
            if not floating:
                yardsticks.append((EXACT, EXACT) if isinstance(value, torch.Tensor) else (None, None))
                continue
            alone = EXACT if step.kind is Kind.MOVES else _against(isolated, i)
            together = self._chain(step, ref, chained, i) if drifted else alone
            if not drifted and isolated is not None:
                self._chained[ref] = isolated[i]
            if isinstance(together, Against):
                self._against[ref] = together
            yardsticks.append((alone, together))
        return yardsticks

    def _chain(self, step: Step, ref: NodeRef, replayed: list[Any] | None, output: int) -> Against:
        if replayed is not None:
            self._chained[ref] = replayed[output]
            return self._same(step, ref) or _against(replayed, output)
        # No double precision for this operator: its own precision on the drifted inputs passes their drift
        # on, and the bound stands for what it adds itself.
        narrow = self._try(step, self._narrow_chained, None)
        if narrow is None or not _same_shape(narrow[output], self._recorded[ref]):
            return Against(None, bounded=True)
        self._chained[ref] = narrow[output]
        return Against(to_numpy(narrow[output]), bounded=True)

    def _same(self, step: Step, ref: NodeRef) -> Against | None:
        """What an input is measured against, if the output is the same bytes in another shape: so is its replay."""
        if step.kind is not Kind.MOVES:
            return None
        same = (r for r in step.reads if r in self._against and same_memory(self._recorded[ref], self._recorded[r]))
        return next((self._against[read] for read in same), None)

    def _try(self, step: Step, lookup: Callable[[Ref], Any], values: list[Any] | None) -> list[Any] | None:
        """The outputs in double precision, or None if the operator cannot, or gives another shape than recorded."""
        if not step.alone:
            return None
        put = fill if values is None else _fill_wide
        inputs = {ref: lookup(ref) for ref in step.reads}
        if step.writes:
            inputs = torch.utils._pytree.tree_map_only(torch.Tensor, torch.clone, inputs)
        try:
            result = step.target(
                *[put(a, inputs) for a in step.args], **{k: put(v, inputs) for k, v in step.kwargs.items()}
            )
        except Exception:  # kernels refuse in many ways, and each means the same: no replay
            return None
        outputs = [widen(out) if isinstance(out, torch.Tensor) else out for out in flat_outputs(result)]
        if values is not None and not all(map(_same_shape, outputs, values)):
            return None
        return outputs

    def _wide_recorded(self, ref: Ref) -> Any:
        value = self._recorded[ref]
        if not isinstance(value, torch.Tensor):
            return value
        if ref in self._weights:
            return self._wide_weights.get(value)
        if (wide := self._wide.get(ref)) is None:
            wide = self._wide[ref] = widen(value)
        return wide

    def _wide_chained(self, ref: Ref) -> Any:
        chained = self._chained.get(ref)
        return self._wide_recorded(ref) if chained is None else chained

    def _narrow_chained(self, ref: Ref) -> Any:
        chained = self._chained.get(ref)
        return self._recorded[ref] if chained is None else chained.to(self._recorded[ref].dtype)


def _against(replayed: list[Any] | None, output: int) -> Against:
    return Against(None, bounded=True) if replayed is None else Against(to_numpy(replayed[output]))


def _is_double(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.dtype in (torch.float64, torch.complex128)


def _same_shape(a: Any, b: Any) -> bool:
    return not isinstance(b, torch.Tensor) or (isinstance(a, torch.Tensor) and a.shape == b.shape)


def _fill_wide(nest: Any, values: Mapping[Ref, Any]) -> Any:
    """As `fill`, and with narrow floating dtypes replaced: a cast to float32 rounds nothing in the replay."""
    if type(nest) is tuple:
        return [_fill_wide(item, values) for item in nest]
    return _WIDE.get(nest, nest) if type(nest) is torch.dtype else fill(nest, values)
