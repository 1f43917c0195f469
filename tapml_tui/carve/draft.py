"""A trace that is begun before it has a graph: its weights are written while torch.export works."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Future, wait
from contextlib import suppress
from types import TracebackType
from typing import Self

import torch

from tapml_tui.carve.ahead import Ahead, Weight
from tapml_tui.operators import to_numpy
from trace_format import TraceError, TraceWriter

NEEDLESS = 0.01
"""Of the weights: as much may turn out to be read by no operator. Above it, the file is begun anew."""


class Draft:
    """The file of a trace to be. A context manager: leaving it throws the file away, unless it was taken."""

    def __init__(self, begin: Callable[[], TraceWriter], ahead: Ahead) -> None:
        """Nothing is written yet.

        Args:
            begin: Begins the file.
            ahead: Knows the weights.
        """
        self._begin = begin
        self._ahead = ahead
        self._given_up = False
        self._writing: Future[TraceWriter] | None = None
        self._writer: TraceWriter | None = None

    def write_weights(self) -> None:
        """Have them written, beside whatever is done until the draft is taken."""
        self._writing = self._ahead.then(self._write)

    def _write(self) -> TraceWriter:
        writer = self._writer = self._begin()
        try:
            for weight in self._ahead.weights():
                if self._given_up:
                    break
                _add(writer, weight)
            writer.sync_early()
        except BaseException:
            writer.abort()
            raise
        return writer

    @property
    def written(self) -> int:
        """Bytes of the disk that it has by now."""
        return 0 if self._writer is None else self._writer.size_bytes

    def take(self, used: Iterable[torch.Tensor]) -> TraceWriter:
        """The file, for whoever writes the rest; it holds no values yet.

        Args:
            used: The weights that the trace is to hold.

        Raises:
            CannotOpen, DiskFull, SizeLimit: As `TraceWriter` does.
        """
        if self._writing is not None:
            # Where there was no room for all, the trace is begun anew: with a graph first, it can be read later.
            with suppress(TraceError, OSError):
                writer = self._writing.result()
                needless = self._ahead.needless(used)
                if self._ahead.unchanged and needless <= NEEDLESS * writer.size_bytes:
                    self._writing = None
                    return writer
        self._discard()
        return self._begin()

    def _discard(self) -> None:
        self._given_up = True
        if self._writing is not None:
            wait([self._writing])
            if self._writing.exception() is None:
                self._writing.result().abort()
            self._writing = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._discard()


def _add(writer: TraceWriter, weight: Weight) -> None:
    known = weight.found
    writer.add_tensor(to_numpy(weight.recorded), digest=lambda: known.digest, sums=lambda: known.sums)
