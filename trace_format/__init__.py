"""The trace format: see SPEC.md beside this file."""

from trace_format.errors import (
    BlockDamaged,
    CannotOpen,
    DiskFull,
    RunLocked,
    SizeLimit,
    TensorMissing,
    TraceError,
    Unwritable,
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
from trace_format.recover import RecoverReport, recover
from trace_format.runs import Run, open_run, read_run
from trace_format.text import printable
from trace_format.verify import Finding, verify
from trace_format.writer import TraceWriter

__all__ = [
    "Argument",
    "Block",
    "BlockDamaged",
    "CannotOpen",
    "Case",
    "DiskFull",
    "Finding",
    "Floor",
    "FromCase",
    "Graph",
    "GraphInput",
    "GraphOutput",
    "InputKind",
    "InputRef",
    "Named",
    "Node",
    "NodeRef",
    "OutputKind",
    "Provenance",
    "RecoverReport",
    "Run",
    "RunLocked",
    "RunOutput",
    "RunRecord",
    "SizeLimit",
    "SourceLine",
    "TensorMissing",
    "Trace",
    "TraceError",
    "TraceWriter",
    "Unwritable",
    "Value",
    "WrongBase",
    "open_run",
    "open_trace",
    "printable",
    "read_run",
    "recover",
    "verify",
]
