"""Cutting the data of exported tests: the experiments are run on the source and the target, without an engine."""

from __future__ import annotations

import hashlib
import queue
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from tapml_tui.backends.protocol import Backend, Bytes, Execute, Executed, Failed, Operand, Reply, TensorSpec, Unit
from tapml_tui.compare import Comparison, compare
from tapml_tui.compare.diagnosis import diagnose
from tapml_tui.engine.arithmetic import arithmetic_of, products_of
from tapml_tui.export import Exhibit, Output
from tapml_tui.export.shrinking import shrink
from trace_format.model import Floor

WHOLE = 1 << 62


class Shrinker:
    """Two sides that run single units, and what they said of them."""

    def __init__(self, backends: Sequence[Backend]) -> None:
        """Start the source and the target."""
        self._source, self._target = backends[0], backends[-1]
        self._replies: queue.SimpleQueue[Reply] = queue.SimpleQueue()
        self._numbers = count(1)
        self._folder = tempfile.TemporaryDirectory(prefix="tapml-tui-shrink-", ignore_cleanup_errors=True)
        for backend in backends:
            backend.start(self._replies.put)

    def __enter__(self) -> Shrinker:
        """The shrinker."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        """Stop both."""
        for backend in (self._source, self._target):
            backend.close()
        self._folder.cleanup()

    def shrink(self, exhibit: Exhibit) -> Exhibit:
        """The exhibit with as little data as still shows its fault; the same where nothing can be left out."""
        if exhibit.choice is not None or exhibit.nan_too or not exhibit.reason:
            return exhibit
        return shrink(
            exhibit,
            lambda unit, inputs: self._run(self._source, unit, inputs),
            lambda unit, inputs: self._run(self._target, unit, inputs),
            judge,
        )

    def _run(self, backend: Backend, unit: Unit, inputs: tuple[npt.NDArray[Any], ...]) -> Any:
        """The outputs of a unit; None if it broke, or gives others than it should."""
        number = next(self._numbers)
        keys = tuple(f"shrink{number}.{i}" for i in range(len(unit.outputs)))
        operands = tuple(self._operand(array) for array in inputs)
        backend.execute(Execute(number, unit, operands, keys, "shrink", fetch_limit=WHOLE))
        while True:
            reply = self._replies.get()
            if isinstance(reply, Failed) and reply.id == number:
                return None
            if isinstance(reply, Executed) and reply.id == number:
                return None if any(array is None for array in reply.outputs) else reply.outputs

    def _operand(self, array: npt.NDArray[Any]) -> Operand:
        raw = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        spec = TensorSpec(array.dtype.name, array.shape)
        key = f"{hashlib.sha256(raw.data).hexdigest()}:{spec.dtype}:{spec.shape}"
        file = Path(self._folder.name, hashlib.sha256(key.encode()).hexdigest())
        if not file.exists():
            file.write_bytes(raw.data)
        return Operand(key, spec, Bytes(str(file), 0, raw.nbytes))


def judge(
    smaller: Exhibit, expected: tuple[npt.NDArray[Any], ...], given: tuple[npt.NDArray[Any], ...] | None
) -> Exhibit | None:
    """The smaller exhibit, complete, if it fails with the same diagnosis as the larger one."""
    if smaller.broke or given is None:
        if not smaller.broke or given is not None:
            return None
        given = expected  # it breaks still; what a mended kernel is held to is what the source gives
    outputs, reason, sentence, wrong_kind = [], "", "", ""
    for place, (output, right, actual) in enumerate(zip(smaller.outputs, expected, given, strict=True)):
        if output.expected is None:
            outputs.append(Output(output.index, None))
            continue
        floor = smaller.floors[place] if smaller.floors else None
        compared = _compared(smaller, floor, right, actual)
        law = compared.law
        outputs.append(Output(output.index, right, law.allowed(right) if law is not None else None))
        if not compared.passed and not reason:
            reason = compared.reason
            found = diagnose(
                right,
                actual,
                allowance=law.allowance if law is not None else 0.0,
                inputs=smaller.inputs,
                operator=smaller.unit.calls[0].op,
            )
            sentence, wrong_kind = (found.sentence, found.kind.value) if found is not None else ("", "")
    if smaller.broke:
        return replace(smaller, outputs=tuple(outputs))
    if not reason or wrong_kind != smaller.wrong_kind or _sort(reason) != _sort(smaller.reason):
        return None
    return replace(smaller, outputs=tuple(outputs), reason=reason, diagnosis=sentence)


def _compared(smaller: Exhibit, floor: Floor | None, right: npt.NDArray[Any], actual: npt.NDArray[Any]) -> Comparison:
    """By the floor of the whole, which bounds that of a part, and the arithmetic of the part."""
    inputs = smaller.inputs
    arithmetic = arithmetic_of(smaller.unit, right.shape, lambda one, other: products_of(inputs[one], inputs[other]))
    return compare(right, actual, floor=floor, **arithmetic._asdict())


def _sort(reason: str) -> str:
    """What a sentence is about, whatever its numbers: the sort of failure without a diagnosis."""
    for words in ("x the floor", "wrong shape", "wrong dtype", "NaN", "Inf", "not equal"):
        if words in reason:
            return words
    return reason
