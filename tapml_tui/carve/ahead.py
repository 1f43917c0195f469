"""What is found out about large tensors on a thread of its own, before their turn to be written comes.

Weights are begun with before torch.export, which works on one core for seconds and does not change them.
"""

from __future__ import annotations

import hashlib
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain
from types import TracebackType
from typing import NamedTuple, Self

import torch

from tapml_tui.carve.bits import as_recorded, recordable
from tapml_tui.carve.measure import Array, measure
from tapml_tui.compare.forecast import Size
from tapml_tui.operators import to_numpy
from trace_format.tensors import checksums, plain_bytes

_LARGE = 1 << 17  # bytes: hashing them takes longer than handing them over


class Known(NamedTuple):
    """What is known of the bytes of a tensor."""

    digest: bytes
    sums: bytes
    size: Size


class Ahead:
    """Hashes and measures large tensors. A context manager: leaving it gives up what is not done."""

    def __init__(self, module: torch.nn.Module) -> None:
        """Begin with the parameters and buffers of a module."""
        self._pool = ThreadPoolExecutor(1, "carve-ahead")
        self._weights: dict[tuple[int, int, torch.dtype], tuple[int, Future[Known]]] = {}
        for weight in chain(module.parameters(), module.buffers()):
            if weight.device.type == "cpu" and weight.layout is torch.strided and recordable(weight.dtype):
                plain = weight.detach()
                if as_recorded(plain) is plain and (known := self.begin(to_numpy(plain))) is not None:
                    self._weights[_place(plain)] = plain._version, known

    def begin(self, array: Array) -> Future[Known] | None:
        """Begin with an array that nobody will change; None if it is not worth it."""
        return self._pool.submit(_know, array) if array.nbytes >= _LARGE else None

    def weight(self, weight: torch.Tensor) -> Future[Known] | None:
        """What was begun with a weight; None if it is another tensor, or was written to since."""
        version, known = self._weights.get(_place(weight), (-1, None))
        return known if version == weight._version else None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(cancel_futures=True)


def _place(tensor: torch.Tensor) -> tuple[int, int, torch.dtype]:
    return tensor.data_ptr(), tensor.numel() * tensor.itemsize, tensor.dtype


def _know(array: Array) -> Known:
    peak, rms, _ = measure(array)
    return Known(sha256(array), checksums(plain_bytes(array)), Size(array.size, peak, rms))


def sha256(array: Array) -> bytes:
    """What a trace knows the bytes of an array by."""
    return hashlib.sha256(plain_bytes(array)).digest()
