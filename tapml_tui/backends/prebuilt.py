"""Kernels out of a library that somebody else compiled (`--lib`), in place of `Kernels`.

The library is one of Relax's virtual machine. A function is looked up by the names of `names_of`, from the particular
to the general. A Relax function takes the unit's inputs and gives its output; a PrimFunc, as mlc-llm's libraries have
them, takes the outputs to write to after the inputs.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from tapml_tui.backends.kernel_cache import Kernel, NoKernel
from tapml_tui.backends.kernels import KernelEvents
from tapml_tui.backends.process import WorkerProcess
from tapml_tui.backends.protocol import Stage, Unit
from tapml_tui.backends.settings import CompilerSettings


def names_of(unit: Unit, label: str) -> list[str]:
    """What the kernel of a node may be called: by signature, by node, by operator.

    "unit_c0ffee...", "layers_0_mlp_aten_gelu_default_0", "aten_gelu_default", "gelu".
    """
    names = [f"unit_{unit.signature}", *filter(None, [_identifier(label)])]
    if len(unit.calls) == 1:
        op = unit.calls[0].op
        names += [_identifier(op), _identifier(op.split(".")[1] if op.count(".") else op)]
    return names


def _identifier(text: str) -> str:
    return re.sub(r"\W+", "_", text).strip("_")


class Prebuilt:
    """The kernels of one library; what `Kernels` offers, without a compiler."""

    begun = True

    def __init__(self, library: str, events: KernelEvents) -> None:
        """Use a library; whether it is there is seen when it is used."""
        self._library, self._events = library, events

    def begin(self, settings: CompilerSettings) -> None:
        """Nothing has to be known."""

    def get(self, signature: str) -> Kernel | NoKernel:
        """Of any signature; the device finds out whether the library has it."""
        if not Path(self._library).is_file():
            reason = f"the library {self._library} is not there: check --lib"
            return NoKernel(False, Stage.UPLOAD, reason, reason)
        return Kernel(self._library, f"unit_{signature}")

    def forget_lost(self, signature: str) -> bool:
        """Nothing can be compiled again."""
        return False

    def want(self, units: Sequence[Unit], *, urgent: bool = False) -> None:
        """Everything is there already."""
        self._events.progress(len(units), len(units))

    def describe(self, unit: Unit) -> None:
        """The names it may have; its text stays with whoever compiled it."""
        names = "\n".join(names_of(unit, ""))
        self._events.text(unit.signature, (("Prebuilt", f"{self._library}, the first of\n{names}"),))

    def interrupt(self) -> None:
        """Nothing is under way."""

    def retry(self) -> None:
        """Nothing is remembered."""

    def stop(self) -> WorkerProcess | None:
        """Nothing runs."""
        return None
