"""An operator that hands its input on: right where the source does so too, and a wrong kernel where it computes."""

from __future__ import annotations

from collections.abc import Sequence

from tapml_tui.engine.units import Binding, not_comparable, promised
from tapml_tui.engine.values import Outcome, References, Stored


def as_the_source_does(
    references: References, case: int, binding: Binding, inputs: Sequence[Stored], outcome: Outcome
) -> bool:
    """Whether the recorded outputs are the recorded inputs that were handed on: then there is nothing to judge.

    Args:
        references: The reference run.
        case: Index of the case.
        binding: What was to be computed.
        inputs: What it was to be computed from.
        outcome: Of an execution that handed inputs on.
    """
    recorded = [references.get(case, ref) for ref in binding.operands]
    for place, (value, given) in enumerate(zip(binding.values, outcome.outputs, strict=True)):
        if promised(binding, place) is not None:
            return False
        expected = None if not_comparable(value) else references.stored(value)
        if expected is None:
            continue
        # Of what is too large to be looked at it is not known which input it is.
        same = [one for one, own in zip(recorded, inputs, strict=True) if own.digest == given.digest] or recorded
        if given.spec != expected.spec or all(one is None or one.digest != expected.digest for one in same):
            return False
    return True
