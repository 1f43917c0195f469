"""Checking all of a trace: every byte of it, every reference in it, and its footer against both."""

from __future__ import annotations

import hashlib
import os
from typing import NamedTuple

from trace_format.contents import Contents, Footer
from trace_format.errors import BlockDamaged, SizeMismatch, TensorMissing, TraceError, Truncated
from trace_format.file import TraceFile
from trace_format.index import TensorIndex, check_outputs
from trace_format.load import read_footer
from trace_format.records import Op, Record, op_name
from trace_format.run_codec import decode_result
from trace_format.scan import Scan
from trace_format.storage import Stored, Tensors, check_size
from trace_format.text import printable
from trace_format.value_codec import decode_value

ERROR = "error"
WARNING = "warning"


class Finding(NamedTuple):
    """One thing that verify found. Severity "error": something is damaged, missing or wrong."""

    severity: str
    offset: int | None
    message: str


def verify(path: str | os.PathLike[str]) -> list[Finding]:
    """Everything wrong with a trace or a run, in file order where it has a place.

    Reads the whole file, and the weights beside it. Never raises `TraceError`: a file that cannot be
    opened is one finding.
    """
    try:
        file = TraceFile(path)
    except TraceError as error:
        return [Finding(ERROR, error.offset, error.message)]
    try:
        return _Verification(file).findings()
    finally:
        file.close()


class _Verification(Scan):
    """A scan that reads the bytes of tensors too."""

    def __init__(self, file: TraceFile) -> None:
        super().__init__(file, self._complain)
        self._found: list[Finding] = []
        self._weight_records: list[int] = []
        self._takers[Op.RESULT] = self._result

    def findings(self) -> list[Finding]:
        """Check everything."""
        contents = self.run()
        for record in self.skipped:
            self._warn(f"a record of an unknown kind ({op_name(record.opcode)}) was skipped", record.offset)
        self._check_weights(contents)
        self._check_graphs(contents)
        if self._file.head.kind == "trace":
            self._check_footer(contents)
        return sorted(self._found, key=lambda finding: finding.offset or 0)

    def _complain(self, error: TraceError) -> None:
        if isinstance(error, Truncated) and self._file.head.kind == "run":
            self._warn(f"a torn end, dropped when the run is next opened: {error.message}", error.offset)
        else:
            self._found.append(Finding(ERROR, error.offset, error.message))

    def _warn(self, message: str, offset: int | None) -> None:
        self._found.append(Finding(WARNING, offset, message))

    def _tensor(self, record: Record, body: bytes) -> None:
        super()._tensor(record, body)
        self._check_bytes(
            Stored("", self._file.data, record.bulk, record.bulk_size, body[32:]), body[:32], record.offset
        )

    def _check_bytes(self, stored: Stored, digest: bytes, offset: int, what: str = "a tensor") -> None:
        """Every block, and all of it together."""
        try:
            stored.check(0, stored.nbytes)
            if hashlib.sha256(stored.view()).digest() != digest:
                raise BlockDamaged(f"the SHA-256 of {what} does not match", offset)
        except TraceError as error:
            self._complain(error)

    def _weights(self, record: Record, body: bytes) -> None:
        super()._weights(record, body)
        self._weight_records.append(record.offset)

    def _value(self, record: Record, body: bytes) -> None:
        super()._value(record, body)
        value = decode_value(body).value
        if value.tensor is not None:
            known = self.contents.tensors.get(value.tensor)
            if known is None:
                raise TensorMissing(f"the tensor {value.tensor.hex()[:16]} of a value is not in the trace")
            check_size(value.dtype, value.shape, known[1])

    def _result(self, record: Record, body: bytes) -> None:
        for output in decode_result(body).outputs:
            known = self.contents.tensors.get(output.digest) if output.digest else None
            if output.digest and known is None:
                raise TensorMissing(f"the tensor {output.digest.hex()[:16]} of a result is not in the run")
            if known is not None:
                check_size(output.dtype, output.shape, known[1])

    def _check_weights(self, contents: Contents) -> None:
        tensors = Tensors(self._file, TensorIndex(TensorIndex.pack(contents.tensors), self._file.size))
        try:
            for offset in self._weight_records:
                weights = tensors.weights(offset)
                try:
                    for weight in weights.tensors:
                        name = f"the weight {printable(weight.name)!r}"
                        self._check_bytes(tensors.locate(weights, weight), weight.digest, offset, name)
                except TraceError as error:
                    self._complain(type(error)(error.message, offset))
        finally:
            tensors.close()

    def _check_graphs(self, contents: Contents) -> None:
        for graph in contents.graphs:
            head = graph.head
            if len(graph) != head.nodes:
                name = printable(head.name)
                self._complain(Truncated(f"graph {name!r} has {len(graph)} of {head.nodes} nodes", graph.offset))
                continue
            try:
                check_outputs(head.outputs, graph)
            except TraceError as error:
                self._complain(type(error)(error.message, graph.offset))

    def _check_footer(self, contents: Contents) -> None:
        try:
            stored = read_footer(self._file)
        except TraceError as error:
            self._complain(type(error)(f"the footer: {error.message}", error.offset))
            return
        if stored is None:
            if not self._found:
                self._complain(Truncated("there is no footer: writing was cut off", self._file.size))
            return
        if stored.stopped:
            self._warn(stored.stopped, None)
        self._compare(stored, contents.footer())

    def _compare(self, stored: Footer, found: Footer) -> None:
        if self._found and any(finding.severity == ERROR for finding in self._found):
            return  # it would only say the same again
        for field in ("content_id", "graphs", "cases", "tensors", "sources", "notes"):
            if getattr(stored, field) != getattr(found, field):
                self._complain(SizeMismatch(f"the footer's {field.replace('_', ' ')} are not what the records say"))
