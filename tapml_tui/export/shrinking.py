"""Less data that shows the same fault: axes are cut as long as the kernel is wrong in the same way.

Nothing is known of operators. A cut takes part of the elements along one size: of all axes of the inputs that
have it (the batch of both operands, the inner size of a product), or of one input's alone; numbers and shapes among
the arguments that are that size go along. What such a cut computes, the source says; where it refuses, the cut was
none. Whether it still shows the fault, the target says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from tapml_tui.backends.protocol import CallArgument, TensorSpec, Unit
from tapml_tui.export.exhibit import Exhibit

Arrays: TypeAlias = tuple[npt.NDArray[Any], ...]
Run: TypeAlias = Callable[[Unit, Arrays], "Arrays | None"]
Judge: TypeAlias = Callable[[Exhibit, Arrays, "Arrays | None"], "Exhibit | None"]

ATTEMPTS = 60
"""Cuts that are tried at most: each may be a kernel to compile."""


@dataclass(frozen=True, slots=True)
class Cut:
    """The part [start, stop) of the size `size`, on these axes: (input, axis)."""

    size: int
    start: int
    stop: int
    axes: tuple[tuple[int, int], ...]
    arguments: bool

    @property
    def kept(self) -> int:
        """What remains of the size."""
        return self.stop - self.start


def shrink(exhibit: Exhibit, source: Run, target: Run, judge: Judge) -> Exhibit:
    """The exhibit with as little data as still shows its fault.

    Args:
        exhibit: What fails.
        source: What a unit should compute; None if it refuses.
        target: What the kernel computes; None if it breaks.
        judge: The exhibit of a smaller unit, given (the old one with new unit and inputs, expected, given), if it
            shows the same fault; None if it does not.
    """
    attempts, tried = 0, set[tuple[object, ...]]()
    progress = True
    while progress and attempts < ATTEMPTS:
        progress = False
        for cut in _cuts(exhibit):
            state = (cut, tuple(array.shape for array in exhibit.inputs))
            if state in tried:
                continue
            tried.add(state)
            smaller = _applied(exhibit, cut)
            if smaller is None:
                continue
            expected = source(smaller.unit, smaller.inputs)
            if expected is None or sum(a.size for a in expected) == 0:
                continue
            outputs = tuple(TensorSpec(array.dtype.name, array.shape) for array in expected)
            if [one.dtype for one in outputs] != [one.dtype for one in smaller.unit.outputs]:
                continue
            smaller = replace(smaller, unit=replace(smaller.unit, outputs=outputs))
            attempts += 1
            found = judge(smaller, expected, target(smaller.unit, smaller.inputs))
            if found is not None and found.nbytes < exhibit.nbytes:
                exhibit, progress = found, True
                break
            if attempts >= ATTEMPTS:
                break
    return exhibit


def _cuts(exhibit: Exhibit) -> Iterator[Cut]:
    """What may be cut, the most bytes first: an eighth, a half, all but one; at the front, at the end."""
    sizes = sorted(
        {size for array in exhibit.inputs for size in array.shape if size > 1},
        key=lambda size: -sum(array.nbytes for array in exhibit.inputs if size in array.shape),
    )
    for size in sizes:
        axes = [(i, axis) for i, array in enumerate(exhibit.inputs) for axis, n in enumerate(array.shape) if n == size]
        groups = [tuple(axes)]
        if len(axes) > 1:
            groups += [tuple(axis for axis in axes if axis[0] == i) for i in dict.fromkeys(i for i, _ in axes)]
            groups += [(axis,) for axis in axes]
        keeps = dict.fromkeys(n for n in (size // 8, size // 2, size - 1) if 0 < n < size)
        for keep in keeps:
            for group in dict.fromkeys(groups):
                if keep == 1 and len(group) < len(axes):
                    continue  # it would be broadcast to the others: another kernel
                for start in dict.fromkeys((size - keep, 0)):
                    for arguments in (True, False):
                        yield Cut(size, start, start + keep, group, arguments)


def _applied(exhibit: Exhibit, cut: Cut) -> Exhibit | None:
    """The exhibit with cut inputs and arguments; its outputs are still the old ones. None if nothing changes."""
    inputs = list(exhibit.inputs)
    for i, axis in cut.axes:
        inputs[i] = np.take(inputs[i], range(cut.start, cut.stop), axis=axis)
    inputs = [_pointing(array, exhibit, cut) for array in inputs]
    (call,) = exhibit.unit.calls
    if cut.arguments:
        args = tuple(_resized(value, cut) for value in call.args)
        kwargs = tuple((key, _resized(value, cut)) for key, value in call.kwargs)
        if args == call.args and kwargs == call.kwargs:
            return None  # it is the cut without arguments, which comes next
        call = replace(call, args=args, kwargs=kwargs)
    specs = tuple(TensorSpec(array.dtype.name, array.shape) for array in inputs)
    unit = replace(exhibit.unit, calls=(call,), inputs=specs)
    return replace(exhibit, unit=unit, inputs=tuple(inputs))


def _pointing(array: npt.NDArray[Any], exhibit: Exhibit, cut: Cut) -> npt.NDArray[Any]:
    """Indices into what was cut point into what remains."""
    cut_inputs = {i for i, _ in cut.axes}
    if array.dtype.kind not in "iu" or not array.size or not cut_inputs or len(exhibit.inputs) < 2:
        return array
    low, high = int(array.min()), int(array.max())
    if low < 0 or high >= cut.size or (low >= cut.start and high < cut.stop and cut.start == 0):
        return array
    return ((array.astype(np.int64) - cut.start) % cut.kept).astype(array.dtype)


def _resized(value: CallArgument, cut: Cut) -> CallArgument:
    if isinstance(value, bool):
        return value
    if isinstance(value, int) and value == cut.size:
        return cut.kept
    if type(value) is tuple:
        return tuple(_resized(item, cut) for item in value)
    return value


def sizes_of(exhibit: Exhibit) -> str:
    """Shapes of the inputs, for a person."""
    return ", ".join("x".join(map(str, array.shape)) or "1" for array in chain(exhibit.inputs))
