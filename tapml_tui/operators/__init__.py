"""Operators by name: look-up in torch's registry, checked arguments, execution.

Needs torch: imported by `tapml_tui.carve` and by the worker processes, by nobody else.
"""

from tapml_tui.operators.call import CallRefused, OutputTooLarge, call_unit, flat_outputs
from tapml_tui.operators.dtypes import dtype_name, from_numpy, numpy_dtype, seen_as, to_numpy, torch_dtype
from tapml_tui.operators.registry import OperatorRefused, operator_name, resolve

__all__ = [
    "CallRefused",
    "OperatorRefused",
    "OutputTooLarge",
    "call_unit",
    "dtype_name",
    "flat_outputs",
    "from_numpy",
    "numpy_dtype",
    "operator_name",
    "resolve",
    "seen_as",
    "to_numpy",
    "torch_dtype",
]
