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
        share: How much of the relative error of its functions arrives in a large result.
        steps: Whether it has steps, between which a narrow type may be rounded to.
    """

    terms: float | None = None
    functions: bool = True
    hidden: float = HIDDEN
    share: float = 1.0
    steps: bool = True


def terms_of(inputs: Sequence[tuple[int, ...]], output: tuple[int, ...]) -> float:
    """How many terms an element of the output of an unknown operator sums: the largest input over the output."""
    result = math.prod(output)
    largest = max(map(math.prod, inputs), default=0)
    return max(1.0, largest / result) if result else 1.0


def normalisation(terms: float) -> Arithmetic:
    """(x - mean) / deviation * weight + bias, with both taken over `terms` elements.

    What hides behind the last sum is a product, whose tail is heavier. Of the relative error of the variance a
    square root leaves half, as of a sum of a quarter of the terms.
    """
    return Arithmetic(max(1.0, terms / 4), True, 1.5 * HIDDEN)


def exponentials(terms: float) -> float:
    """As how many terms a sum of `terms` exponentials counts.

    One of them is often as large as all others together. What is then less than half a ULP of the running sum is
    lost, always to the same side, so that the error grows like n. Of logits that are spread out far enough for
    that, at most about an eighth lies within a factor of e of the half ULP; n / 8 roundoffs are what the rule allows
    for (n / 16)**2 terms.
    """
    return max(terms, (terms / 16) ** 2)


def attention(queries: tuple[int, ...], keys: tuple[int, ...], scores: float | None) -> Arithmetic:
    """Softmax(Q K^T) V: a score sums over a head, a result over the keys, one after the other.

    Args:
        queries: Shape [..., tokens, head].
        keys: Shape [..., tokens, head].
        scores: Root mean square of the scaled scores, where it is known. A score that is rounded errs by u * |score|,
            which its weight then errs relative to itself; those that have weight are the largest, four times the rms.
    """
    terms = queries[-1] + exponentials(keys[-2]) if queries and len(keys) > 1 else 1.0
    return Arithmetic(terms, True, max(HIDDEN, 4.0 * (scores or 0.0)))
