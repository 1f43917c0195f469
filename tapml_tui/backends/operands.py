"""How the tensors of a request reach a worker: by key if it holds them, else out of a file.

Shared by the workers that execute; numpy only.
"""

from __future__ import annotations

import math
import os
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import ml_dtypes
import numpy as np

from tapml_tui.backends.protocol import Bytes, Execute, Operand, TensorSpec, Unit

MAX_TENSOR = 16 << 30

T = TypeVar("T")


class OperandError(Exception):
    """An operand cannot be had."""


class MissingOperands(OperandError):
    """Operands came without bytes and are not held here: `indices` says which."""

    def __init__(self, indices: Sequence[int]) -> None:
        """Say which."""
        super().__init__("values that are no longer held here came without their bytes")
        self.indices = tuple(indices)


def array_dtype(name: str) -> np.dtype:
    """The numpy dtype of a name, from `ml_dtypes` where numpy has none.

    Raises:
        OperandError: For a name that neither knows.
    """
    try:
        return np.dtype(getattr(ml_dtypes, name, None) or name)
    except TypeError:
        raise OperandError(f"no dtype {name[:40]!r}") from None


def spec_bytes(spec: TensorSpec) -> int:
    """Bytes of a tensor; dtypes below a byte count as one, as they do in memory."""
    return math.prod(spec.shape) * array_dtype(spec.dtype).itemsize


def output_limit(unit: Unit) -> int:
    """How many bytes the outputs of any call of a unit may have: twice what was recorded, and some.

    An operator out of a trace gets no more.

    Raises:
        OperandError: If what was recorded is more than this program computes at all.
    """
    recorded = sum(spec_bytes(spec) for spec in unit.outputs)
    if recorded > MAX_TENSOR:
        raise OperandError(f"outputs of {recorded} bytes were recorded, more than this program computes ({MAX_TENSOR})")
    return 2 * recorded + (1 << 20)


def operands_to_wire(operands: Sequence[Operand]) -> list[object]:
    """Plain lists for msgpack; `operands_from_wire` is the inverse."""
    return [
        [o.key, [o.spec.dtype, list(o.spec.shape)], None if o.bytes is None else list(o.bytes), o.persistent]
        for o in operands
    ]


def operands_from_wire(wire: Sequence[Sequence[object]]) -> tuple[Operand, ...]:
    """Inverse of `operands_to_wire`."""
    return tuple(
        Operand(key, TensorSpec(spec[0], tuple(spec[1])), None if place is None else Bytes(*place), persistent)  # type: ignore
        for key, spec, place, persistent in wire
    )


def request_to_wire(request: Execute) -> dict[str, object]:
    """What the executing workers need of a request, the unit left out."""
    return {
        "operands": operands_to_wire(request.operands),
        "result_keys": list(request.result_keys),
        "fetch_limit": request.fetch_limit,
        "fresh": request.fresh,
    }


def read_operand(operand: Operand) -> np.ndarray:
    """The tensor, read out of its file.

    Read, not mapped: a file that is cut while it is mapped would kill the process.

    Raises:
        OperandError: If the file is not there, is too short, or does not fit the shape.
    """
    if operand.bytes is None:
        raise OperandError(f"the value {operand.key[:40]} came without its bytes")
    spec, (file, offset, nbytes) = operand.spec, operand.bytes
    expected = spec_bytes(spec)
    if expected > MAX_TENSOR:
        raise OperandError(f"an input of {expected} bytes is more than this program moves ({MAX_TENSOR})")
    if nbytes != expected:
        raise OperandError(f"{spec.dtype} {list(spec.shape)} takes {expected} bytes, {nbytes} were given")
    array = np.empty(spec.shape, dtype=array_dtype(spec.dtype))
    if not expected:
        return array
    view = array.reshape(-1).view(np.uint8).data
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
        try:
            done = 0
            while done < expected:
                count = os.preadv(descriptor, [view[done:]], offset + done)
                if not count:
                    raise OperandError(f"{file} ends before byte {offset + expected}: was it cut?")
                done += count
        finally:
            os.close(descriptor)
    except OSError as error:
        raise OperandError(f"cannot read {file}: {error.strerror}") from None
    return array


class TensorStore(Generic[T]):
    """Tensors by key, the least recently used ones dropped above a budget in bytes.

    Weights have a budget of their own, so that activations never push them out.
    """

    def __init__(self, *, budget: int, persistent_budget: int) -> None:
        """Make an empty store; budgets in bytes."""
        self._parts: dict[bool, OrderedDict[str, tuple[T, int]]] = {True: OrderedDict(), False: OrderedDict()}
        self._budgets = {True: persistent_budget, False: budget}
        self._held = {True: 0, False: 0}

    def get(self, key: str) -> T | None:
        """The tensor of a key, or None."""
        for part in self._parts.values():
            if key in part:
                part.move_to_end(key)
                return part[key][0]
        return None

    def put(self, key: str, tensor: T, nbytes: int, *, persistent: bool = False) -> None:
        """Keep a tensor, in place of the one that had the key; one above the budget until the next comes."""
        for kind, part in self._parts.items():
            if key in part:
                self._held[kind] -= part.pop(key)[1]
        part, budget = self._parts[persistent], self._budgets[persistent]
        part[key] = (tensor, nbytes)
        self._held[persistent] += nbytes
        while self._held[persistent] > budget and len(part) > 1:
            _, (_, dropped) = part.popitem(last=False)
            self._held[persistent] -= dropped

    def drop_results(self) -> bool:
        """Let go of everything but weights; whether there was anything."""
        results, self._parts[False] = self._parts[False], OrderedDict()
        self._held[False] = 0
        return bool(results)

    def fetch(self, operands: Sequence[Operand], load: Callable[[Operand], tuple[T, int]]) -> tuple[list[T], int]:
        """The tensors of operands: those held here, the others loaded out of their files and kept.

        Args:
            operands: In order.
            load: Makes a tensor out of an operand's bytes; also says how many those are.

        Returns:
            The tensors, and how many bytes were loaded.

        Raises:
            MissingOperands: If some are neither held nor come with bytes. Nothing is loaded then.
        """
        held = [self.get(operand.key) for operand in operands]
        missing = [i for i, operand in enumerate(operands) if held[i] is None and operand.bytes is None]
        if missing:
            raise MissingOperands(missing)
        tensors: list[T] = []
        loaded = 0
        for tensor, operand in zip(held, operands, strict=True):
            if tensor is None:
                # Again by key: one operand may be there twice.
                tensor = self.get(operand.key)
            if tensor is None:
                tensor, nbytes = load(operand)
                loaded += nbytes
                self.put(operand.key, tensor, nbytes, persistent=operand.persistent)
            tensors.append(tensor)
        return tensors, loaded
