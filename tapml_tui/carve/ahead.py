"""What is found out about large tensors on a thread of its own, before their turn to be written comes.

Weights are begun with before torch.export, which works on one core for seconds and does not change them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain
from types import TracebackType
from typing import NamedTuple, Self, TypeAlias, TypeVar

import torch

from tapml_tui.carve.bits import as_recorded, recordable
from tapml_tui.carve.measure import Array, measure
from tapml_tui.compare.forecast import Size
from tapml_tui.operators import to_numpy
from trace_format.tensors import checksums, plain_bytes

T = TypeVar("T")

_LARGE = 1 << 17  # bytes: hashing them takes longer than handing them over

_CHUNK = 1 << 20  # elements: between two pieces torch.export has the interpreter, and does not give it back soon

SWITCH_SECONDS = 5e-4
"""After which torch.export lets go of the interpreter, if it is asked. After Python's 5 ms for every call of the
hundreds that are made here, it would be through before us."""

_Place: TypeAlias = tuple[int, torch.Size, tuple[int, ...], torch.dtype]


class Known(NamedTuple):
    """What is known of the bytes of a tensor."""

    digest: bytes
    sums: bytes
    size: Size


class Weight(NamedTuple):
    """A weight as the trace has it, and what is known of its bytes."""

    recorded: torch.Tensor
    found: Known

    def known(self) -> Known:
        """As what `Ahead.begin` returns."""
        return self.found


class Ahead:
    """Hashes and measures large tensors. A context manager: leaving it gives up what is not done."""

    def __init__(self, module: torch.nn.Module) -> None:
        """Begin with the parameters and buffers of a module."""
        self._pool = ThreadPoolExecutor(1, "carve-ahead")
        self._weights: dict[_Place, tuple[torch.Tensor, int, Future[Weight]]] = {}
        for weight in map(torch.Tensor.detach, chain(module.parameters(), module.buffers())):
            plain = weight.device.type == "cpu" and weight.layout is torch.strided and recordable(weight.dtype)
            if plain and weight.nbytes >= _LARGE and _place(weight) not in self._weights:
                found = self._pool.submit(_know_weight, weight)
                self._weights[_place(weight)] = weight, weight._version, found

    def begin(self, array: Array) -> Callable[[], Known] | None:
        """Begin with an array that nobody will change; what is returned waits. None if it is not worth it."""
        return self._pool.submit(_know, array).result if array.nbytes >= _LARGE else None

    def then(self, job: Callable[[], T]) -> Future[T]:
        """Do something else on that thread when it is through with what was begun."""
        return self._pool.submit(job)

    def weight(self, weight: torch.Tensor) -> Weight | None:
        """What was begun with a weight, when it is known; None if it is another tensor, or was written to since."""
        _, version, found = self._weights.get(_place(weight), (None, -1, None))
        return found.result() if found is not None and version == weight._version else None

    def weights(self) -> Iterator[Weight]:
        """All that was begun with, each as soon as it is known."""
        return (found.result() for _, _, found in self._weights.values())

    @property
    def nbytes(self) -> int:
        """Bytes of all weights that were begun with."""
        return sum(weight.nbytes for weight, _, _ in self._weights.values())

    @property
    def unchanged(self) -> bool:
        """Whether none of them was written to since."""
        return all(weight._version == version for weight, version, _ in self._weights.values())

    def needless(self, used: Iterable[torch.Tensor]) -> int:
        """How many bytes of what was begun with are of no weight that is used."""
        places = set(map(_place, used))
        return sum(weight.nbytes for at, (weight, _, _) in self._weights.items() if at not in places)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(cancel_futures=True)


def _place(tensor: torch.Tensor) -> _Place:
    return tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype


def _know_weight(weight: torch.Tensor) -> Weight:
    recorded = as_recorded(weight)
    return Weight(recorded, _know(to_numpy(recorded)))


def _know(array: Array) -> Known:
    peak, rms, _ = measure(array, chunk=_CHUNK)
    return Known(sha256(array), checksums(plain_bytes(array)), Size(array.size, peak, rms))


def sha256(array: Array) -> bytes:
    """What a trace knows the bytes of an array by."""
    return hashlib.sha256(plain_bytes(array)).digest()
