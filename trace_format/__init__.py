"""The trace format: see SPEC.md beside this file.

What reading does not need is imported when it is first asked for: opening a trace must be quick.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from trace_format.errors import (
    BlockDamaged,
    CannotOpen,
    DanglingReference,
    DiskFull,
    DuplicateName,
    FileChanged,
    GraphCycle,
    IndexInvalid,
    LimitExceeded,
    Malformed,
    NotATrace,
    RecordDamaged,
    RunLocked,
    SizeLimit,
    SizeMismatch,
    TensorMissing,
    TraceError,
    Truncated,
    UnknownDtype,
    UnsupportedVersion,
    Unwritable,
    WeightsChanged,
    WeightsMissing,
    WeightsUnsafe,
    WrongBase,
)
from trace_format.graph import Graph
from trace_format.model import (
    Argument,
    Block,
    Case,
    Floor,
    FromCase,
    GraphInput,
    GraphOutput,
    InputKind,
    InputRef,
    Named,
    Node,
    NodeRef,
    OutputKind,
    Provenance,
    RunOutput,
    RunRecord,
    SourceLine,
    Value,
)
from trace_format.reader import Trace, open_trace
from trace_format.text import printable

if TYPE_CHECKING:
    from trace_format.recovering import RecoverReport, recover
    from trace_format.runs import Run, open_run, read_run
    from trace_format.verifying import Finding, verify
    from trace_format.writer import TraceWriter

_LATE = {
    "RecoverReport": "recovering",
    "recover": "recovering",
    "Run": "runs",
    "open_run": "runs",
    "read_run": "runs",
    "Finding": "verifying",
    "verify": "verifying",
    "TraceWriter": "writer",
}

__all__ = [
    "Argument",
    "Block",
    "BlockDamaged",
    "CannotOpen",
    "Case",
    "DanglingReference",
    "DiskFull",
    "DuplicateName",
    "FileChanged",
    "Finding",
    "Floor",
    "FromCase",
    "Graph",
    "GraphCycle",
    "GraphInput",
    "GraphOutput",
    "IndexInvalid",
    "InputKind",
    "InputRef",
    "LimitExceeded",
    "Malformed",
    "Named",
    "Node",
    "NodeRef",
    "NotATrace",
    "OutputKind",
    "Provenance",
    "RecordDamaged",
    "RecoverReport",
    "Run",
    "RunLocked",
    "RunOutput",
    "RunRecord",
    "SizeLimit",
    "SizeMismatch",
    "SourceLine",
    "TensorMissing",
    "Trace",
    "TraceError",
    "TraceWriter",
    "Truncated",
    "UnknownDtype",
    "UnsupportedVersion",
    "Unwritable",
    "Value",
    "WeightsChanged",
    "WeightsMissing",
    "WeightsUnsafe",
    "WrongBase",
    "open_run",
    "open_trace",
    "printable",
    "read_run",
    "recover",
    "verify",
]


def __getattr__(name: str) -> Any:
    module = _LATE.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{module}"), name)
