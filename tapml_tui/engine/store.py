"""The run store: what was computed, found again by what decides it. A placement is a view on this."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from tapml_tui.backends.protocol import Bytes, Executed, TensorSpec, Unit
from tapml_tui.engine.values import Held, Outcome, Stored, raw_bytes, spec_of


@dataclass(frozen=True, slots=True)
class Label:
    """Whose unit it is that was executed: the node's id, the case's name, where, with which kernel."""

    node: str
    case: str
    backend: str
    kernel: str | None = None

    def key(self, unit: Unit, inputs: Sequence[str]) -> str:
        """Names the execution on inputs with these digests by everything that decides its result, hex."""
        parts = [self.node, self.case, self.backend, self.kernel or "", unit.signature, *inputs]
        return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()


class Store(Protocol):
    """Keeps results on disk."""

    def find(self, label: Label, unit: Unit, inputs: Sequence[str]) -> Outcome | None:
        """What the execution gave when it was last done, in this session or an earlier one."""

    def keep(
        self, label: Label | None, inputs: tuple[str, ...], executed: Executed, held: Sequence[Held], unit: Unit
    ) -> Outcome:
        """Write a result down. Without a label its bytes are kept, but it is not found again.

        Raises:
            OSError: If the disk is full.
        """

    def close(self) -> None:
        """Let the file go."""


class ScratchStore:
    """A store that is gone with the session."""

    def __init__(self) -> None:
        """Backed by a temporary file."""
        self._file = tempfile.NamedTemporaryFile(prefix="tapml-", suffix=".run", delete=True)  # noqa: SIM115
        self._found: dict[str, Outcome] = {}
        self._end = 0

    def find(self, label: Label, unit: Unit, inputs: Sequence[str]) -> Outcome | None:
        """See `Store`."""
        return self._found.get(label.key(unit, inputs))

    def keep(
        self, label: Label | None, inputs: tuple[str, ...], executed: Executed, held: Sequence[Held], unit: Unit
    ) -> Outcome:
        """See `Store`."""
        name = label.key(unit, inputs) if label is not None else f"again {executed.id}"
        outputs = tuple(
            self._write(array, copy) if array is not None else unfetched(name, i, unit.outputs[i], copy)
            for i, (array, copy) in enumerate(zip(executed.outputs, held, strict=True))
        )
        outcome = Outcome(inputs, outputs, ms=executed.ms, identity=executed.identity)
        if label is not None:
            self._found[name] = outcome
        return outcome

    def _write(self, array: np.ndarray, held: Held) -> Stored:
        raw = raw_bytes(array)
        offset = self._end
        self._file.write(raw)
        self._file.flush()
        self._end += len(raw)
        place = Bytes(self._file.name, offset, len(raw))
        return Stored(hashlib.sha256(raw).hexdigest(), spec_of(array), place, held)

    def close(self) -> None:
        """See `Store`."""
        self._file.close()


def unfetched(execution: str, output: int, spec: TensorSpec, held: Held) -> Stored:
    """An output that stayed on its backend."""
    digest = hashlib.sha256(f"not fetched: {execution} {output}".encode()).hexdigest()
    return Stored(digest, spec, None, held)
