"""What a model function gives to be carved: a module, and the cases to run it on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch


class Handed(NamedTuple):
    """Stands in a case's arguments for output `output` of the earlier case `case`.

    `output` counts the tensors that the model returns, flattened, from 0. This is how prefill
    hands its cache to decode.
    """

    case: str
    output: int = 0


@dataclass(frozen=True)
class WorkloadCase:
    """One input to the model: tensors, numbers, and `Handed` placeholders, nested as the model takes them."""

    name: str
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Workload:
    """A model with named cases. Cases may have inputs of different shapes.

    Every case starts from the buffers that `module` has now; what a case leaves in a buffer is
    recorded as an output and not carried over. What shall be carried over is `Handed`.

    Attributes:
        module: In the mode (`eval()`) in which it shall run.
        cases: In order; at least one, with names of their own.
        seed: What the weights or inputs were made from, for the record.
    """

    module: torch.nn.Module
    cases: tuple[WorkloadCase, ...]
    seed: int | None = None

    def __post_init__(self) -> None:
        """Check what can be checked before anything is exported.

        Raises:
            ValueError: No case, equal names, or a state taken from a case that does not come before.
        """
        if not self.cases:
            raise ValueError("a workload needs at least one case")
        names = [case.name for case in self.cases]
        for i, case in enumerate(self.cases):
            if case.name in names[:i]:
                raise ValueError(f"two cases are called {case.name!r}")
            for leaf in torch.utils._pytree.tree_leaves((case.args, dict(case.kwargs)), is_leaf=is_handed):
                if is_handed(leaf) and leaf.case not in names[:i]:
                    raise ValueError(
                        f"case {case.name!r} takes state from {leaf.case!r}, which does not come before it"
                    )


def is_handed(leaf: object) -> bool:
    """Whether this argument is a placeholder for an earlier case's output."""
    return isinstance(leaf, Handed)
