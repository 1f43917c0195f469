"""From a module and example inputs to a functional graph, and the words for when that fails."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Hashable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils import _pytree as pytree

from tapml_tui.carve.errors import CarveError


def export(module: torch.nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any], *, strict: bool) -> Any:
    """The model as a functional graph of the operators that its author called.

    The *empty* decomposition table makes the graph functional and keeps linear, softmax, attention and
    norms whole; the default table would break them up.

    Returns:
        A `torch.export.ExportedProgram` for these shapes.

    Raises:
        CarveError: With what torch.export said.
    """
    try:
        with _quiet():
            program = torch.export.export(module, args, dict(kwargs), strict=strict)
            return program.run_decompositions({})
    except Exception as error:  # the user's forward runs here: anything can come out
        raise CarveError(
            f"torch.export could not trace {type(module).__name__}",
            why=_cause(error),
            remedy=_remedy(str(error), strict),
        ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Torch logs what it then raises, pages of it; what it raises is kept in the log."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _cause(error: BaseException) -> str:
    """The first line that says something, of the innermost error."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else 'no message'}"[:400]


def _remedy(text: str, strict: bool) -> str:
    if "data-dependent" in text or "GuardOnDataDependent" in text or "Could not guard" in text:
        return "its control flow depends on values of tensors: use torch.where or torch.cond there"
    if "unsupported operand" in text or "positional argument" in text or "unexpected keyword" in text:
        return "check that FUNC returns the arguments as the model's forward takes them"
    if strict:
        return "try without --strict"
    return "check that the model runs on these arguments in eager mode; the whole message is in the log named below"


def shape_key(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Hashable:
    """Cases with equal keys share one graph: same structure, shapes, dtypes, strides and constants."""
    leaves, spec = pytree.tree_flatten((args, dict(kwargs)))
    return str(spec), tuple(
        (leaf.dtype, tuple(leaf.shape), leaf.stride()) if isinstance(leaf, torch.Tensor) else (type(leaf), repr(leaf))
        for leaf in leaves
    )


def cast_floats(tree: Any, dtype: torch.dtype) -> Any:
    """The same nest with its floating tensors in another dtype."""
    return pytree.tree_map_only(torch.Tensor, lambda t: t.to(dtype) if t.is_floating_point() else t, tree)
