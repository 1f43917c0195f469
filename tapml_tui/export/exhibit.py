"""What there is to show of one kernel: its unit, what goes in, what must come out, and how near."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tapml_tui.backends.protocol import Unit
from trace_format.model import Floor


class CannotExport(ValueError):
    """There is nothing to write a test of. The message is for the user."""


@dataclass(frozen=True, slots=True)
class Output:
    """One output of a unit.

    Attributes:
        index: Which of the operator's outputs it is.
        expected: What was recorded, or what the source gives; None if it is not judged.
        allowed: How far each element may be off, of the same shape; None: bits must agree.
    """

    index: int
    expected: npt.NDArray[Any] | None
    allowed: npt.NDArray[np.float64] | None = None


@dataclass(frozen=True, slots=True)
class Exhibit:
    """One kernel with its data.

    Attributes:
        node: Id of the node.
        case: Name of the case.
        unit: What is computed, one call.
        inputs: One per unit input.
        outputs: One per unit output.
        target: TVM target.
        device: Runtime of the device, "" where it follows from the target.
        lower: The user's FILE.py of converters, "" if there is none.
        load: The user's FILE.pys that register operators.
        allow_ops: Operators outside of aten and prims that the user allows: names or namespaces.
        choice: (output, input, dim): this output says where in that input something lies.
        nan_too: Whether a NaN in both is fine, because the inputs were wrong already.
        reason: What is wrong, as the screen says it; "" if it passed.
        diagnosis: What kind of wrong, in words, or "".
        broke: Whether it gave nothing at all: it could not be converted, compiled or run.
        wrong_kind: The same in one word (`compare.diagnosis.Kind`), or "".
        floors: The noise floor of each output, as recorded.
    """

    node: str
    case: str
    unit: Unit
    inputs: tuple[npt.NDArray[Any], ...]
    outputs: tuple[Output, ...]
    target: str
    device: str = ""
    lower: str = ""
    load: tuple[str, ...] = ()
    allow_ops: tuple[str, ...] = ()
    choice: tuple[int, int, int | None] | None = None
    nan_too: bool = False
    reason: str = ""
    diagnosis: str = ""
    broke: bool = False
    wrong_kind: str = ""
    floors: tuple[Floor | None, ...] = ()

    @property
    def nbytes(self) -> int:
        """Bytes of the data: inputs and expected outputs."""
        expected = [output.expected for output in self.outputs if output.expected is not None]
        return sum(array.nbytes for array in (*self.inputs, *expected))
