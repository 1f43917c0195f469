"""A wrong kernel in the making: its healthy result, and what it can be made wrong with."""

from __future__ import annotations

import inspect
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from tests.faults.arithmetic import Arithmetic
from tests.faults.kit import COMPUTE, Kit
from tests.faults.operators import number, sizes

Element: TypeAlias = Callable[..., Any]


@dataclass(frozen=True)
class Making:
    """A wrong kernel in the making.

    Attributes:
        operator: The function of `OPERATORS`.
        values: Its arguments, `named` those by name.
        good: The healthy result, float32.
        memory: What lay in the output's memory before, in the output's dtype.
        numbers: [strength, root mean square of the recorded result, a level of its magnitudes, share of the elements].
        dtype: Of the output.
        draw: Where it draws from.
    """

    operator: Callable[..., Any]
    values: Sequence[Any]
    named: dict[str, Any]
    good: Any
    memory: Any
    numbers: Any
    dtype: str
    draw: random.Random

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the output."""
        return sizes(self.good)

    def bound(self) -> dict[str, Any]:
        """The operator's arguments by name."""
        return self._bound(None).arguments

    def again(self, how: Arithmetic | None = None, **edits: Any) -> Element:
        """The operator with another arithmetic, or with other arguments."""
        bound = self._bound(Kit(how or Arithmetic()))
        bound.arguments.update(edits)
        return wide(self.operator(*bound.args, **bound.kwargs))

    def _bound(self, kit: Kit | None) -> inspect.BoundArguments:
        bound = inspect.signature(self.operator).bind(kit, *self.values, **self.named)
        bound.apply_defaults()
        return bound

    def old(self, *index: Any) -> Any:
        """What lay there before."""
        return self.memory(*index).astype(COMPUTE)

    def background(self) -> Element:
        """What an element has that was never written: zeros, or what lay there before."""
        return self.draw.choice([lambda *i: number(0), self.old])


def wide(tensor: Any) -> Element:
    """A tensor as a function to float32."""
    return lambda *i: tensor(*i).astype(COMPUTE)
