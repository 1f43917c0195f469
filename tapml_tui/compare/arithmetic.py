"""What a kernel computes, as far as the rounding of its result depends on it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from tapml_tui.compare.noise import HIDDEN


class Arithmetic(NamedTuple):
    """Arguments of `compare` that an operator answers.

    Attributes:
        terms: How many terms an element sums; None where nobody knows.
        functions: Whether it computes more than sums and products.
        hidden: Size of intermediates behind a smaller result, in rms of the result.
    """

    terms: float | None = None
    functions: bool = True
    hidden: float = HIDDEN


def terms_of(inputs: Sequence[tuple[int, ...]], output: tuple[int, ...]) -> float:
    """How many terms an element of the output of an unknown operator sums: the largest input over the output."""
    result = math.prod(output)
    largest = max(map(math.prod, inputs), default=0)
    return max(1.0, largest / result) if result else 1.0


def attention(queries: tuple[int, ...], keys: tuple[int, ...], scores: float | None) -> Arithmetic:
    """Softmax(Q K^T) V: a score sums over a head, a result over the keys, one after the other.

    Args:
        queries: Shape [..., tokens, head].
        keys: Shape [..., tokens, head].
        scores: Root mean square of the scaled scores, where it is known. A score that is rounded errs by u * |score|,
            which its weight then errs relative to itself; those that have weight are the largest, four times the rms.
    """
    terms = float(queries[-1] + keys[-2]) if queries and len(keys) > 1 else 1.0
    return Arithmetic(terms, True, max(HIDDEN, 4.0 * (scores or 0.0)))
