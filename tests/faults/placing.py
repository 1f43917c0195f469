"""A target whose nodes may have kernels of their own: a placement's kernel id names a variant of the suite.

The engine sees the operators of the trace. What goes on to the real target is the same unit with the variant's name as
its operator's overload, which `lowering.py` (a file for `--lower`) turns into a kernel.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tapml_tui.backends.launch import TargetOptions, make_backends
from tapml_tui.backends.protocol import Backend, Bytes, Execute, Operand, TensorSpec, Unit, UnitInput

LOWERING = Path(__file__).with_name("lowering.py")


@dataclass(frozen=True)
class Variant:
    """A kernel of the suite: the overload that names it, and the operands that it takes besides the operator's."""

    overload: str
    extras: tuple[Operand, ...] = ()

    def unit(self, unit: Unit) -> Unit:
        """A unit of one call, with this kernel."""
        (call,) = unit.calls
        more = tuple(UnitInput(len(unit.inputs) + i) for i in range(len(self.extras)))
        operator = call.op.rpartition(".")[0]
        return replace(
            unit,
            calls=(replace(call, op=f"{operator}.{self.overload}", args=(*call.args, *more)),),
            inputs=(*unit.inputs, *(extra.spec for extra in self.extras)),
        )


class Placing:
    """The target of `make_backends`, with kernels for single nodes."""

    id = "target"

    def __init__(self, inner: Any, folder: Path) -> None:
        self._inner, self._folder = inner, folder
        self._variants: dict[str, Variant] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    @property
    def fingerprint(self) -> str:
        """Nothing counts in another session."""
        return ""

    def operand(self, array: np.ndarray, dtype: str) -> Operand:
        """An array as an operand."""
        data = array.tobytes()
        digest = hashlib.sha256(data).hexdigest()
        file = self._folder / digest
        if not file.exists():
            file.write_bytes(data)
        return Operand(f"faults {digest}", TensorSpec(dtype, array.shape), Bytes(str(file), 0, array.nbytes))

    def add(self, variant: Variant) -> str:
        """The kernel id of a variant, to be placed."""
        name = "@".join([variant.overload, *(extra.key[-12:] for extra in variant.extras)])
        self._variants[name] = variant
        return name

    def prepare_variants(self, pairs: Sequence[tuple[Unit, Variant]]) -> None:
        """Have kernels compiled ahead."""
        self._inner.prepare([variant.unit(unit) for unit, variant in pairs])

    def execute(self, request: Execute) -> None:
        """As the inner one, with the kernel that is named."""
        if request.kernel is not None:
            variant = self._variants[request.kernel]
            request = replace(
                request,
                unit=variant.unit(request.unit),
                operands=(*request.operands, *variant.extras),
                kernel=None,
            )
        self._inner.execute(request)


def placing_backends(folder: Path) -> tuple[Backend, Placing]:
    """The real source, and the real target with the suite's kernels; `folder` keeps kernels and operands."""
    (folder / "operands").mkdir(exist_ok=True)
    options = TargetOptions(lower=str(LOWERING), allow_ops=("tapml_faults",))
    source, target = make_backends(options, cache_dir=folder / "kernels")
    return source, Placing(target, folder / "operands")
