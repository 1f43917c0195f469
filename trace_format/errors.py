"""One named error per cause, `TraceError` at the root.

Whatever the bytes of a file are, reading it raises nothing else. Messages may quote strings
out of the file; they have been through `trace_format.text.printable`.
"""

from __future__ import annotations


class TraceError(Exception):
    """Root of every error of the format. `offset` is the byte in the file, where there is one."""

    def __init__(self, message: str, offset: int | None = None) -> None:
        """Keep the place beside the message.

        Args:
            message: What happened, why, and what to do.
            offset: Byte offset in the file.
        """
        super().__init__(message if offset is None else f"{message} (at byte {offset})")
        self.message = message
        self.offset = offset


class CannotOpen(TraceError):
    """The file is not there, or may not be read."""


class NotATrace(TraceError):
    """The file does not begin as a trace does."""


class UnsupportedVersion(TraceError):
    """A later major version of the format."""


class Truncated(TraceError):
    """The file ends before what it promises."""


class FileChanged(TraceError):
    """The file was cut, or another took its place, while it was open."""


class RecordDamaged(TraceError):
    """A record's checksum does not match."""


class BlockDamaged(TraceError):
    """The checksum of a block of tensor bytes does not match."""


class Malformed(TraceError):
    """A record whose checksum is right does not hold what the format says."""


class IndexInvalid(TraceError):
    """A table of the footer contradicts itself or the records."""


class LimitExceeded(TraceError):
    """A size, count or depth is above a limit of the format (`trace_format.limits`)."""


class GraphCycle(TraceError):
    """A node reads a value that is made at or after it."""


class DuplicateName(TraceError):
    """Two nodes of a graph have one id, or a value was recorded twice."""


class DanglingReference(TraceError):
    """A reference to a graph, node, output, input or case that does not exist."""


class TensorMissing(TraceError):
    """The bytes of a tensor are not in the file."""


class SizeMismatch(TraceError):
    """Dtype and shape of a value do not make the number of bytes that are stored."""


class UnknownDtype(TraceError):
    """A dtype that this version does not know."""


class WeightsUnsafe(TraceError):
    """A reference to weights that is not a plain .safetensors file in the trace's own folder."""


class WeightsMissing(TraceError):
    """The .safetensors file beside the trace is not there."""


class WeightsChanged(TraceError):
    """The .safetensors file is not the one that the trace was made with."""


class Unwritable(TraceError):
    """The writer was given something that the format cannot hold, or out of order."""


class Stopped(TraceError):
    """Writing ended early. `readable` says whether what was written is a readable trace, or gone."""

    readable = False


class DiskFull(Stopped):
    """The disk is full."""


class SizeLimit(Stopped):
    """The trace reached `max_bytes`."""


class RunLocked(TraceError):
    """Another process appends to this run."""


class WrongBase(TraceError):
    """The run belongs to another trace."""
