"""One value on its way into the trace: what the thread that computes hands to the one that writes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from tapml_tui.carve.ahead import Known
from tapml_tui.carve.measure import Against, Array, Yardstick, measure
from tapml_tui.compare.forecast import Size
from trace_format import TraceWriter
from trace_format.model import InputRef, NodeRef, Value

UNKNOWN: tuple[Yardstick, Yardstick] = (None, None)


class Stored:
    """The bytes of a tensor that several values may have.

    Attributes:
        ahead: Gives what is being found out about them already, if anything is.
        requested: Whether an entry brings them.
        written: Whether they are in the trace; what follows is known then at the latest.
        digest: Their SHA-256.
        size: How many elements, and how large.
    """

    __slots__ = ("ahead", "digest", "requested", "size", "written")

    def __init__(self, ahead: Callable[[], Known] | None = None) -> None:
        self.ahead = ahead
        self.requested = self.written = False
        self.digest: bytes | None = None
        self.size: Size | None = None

    def known_digest(self) -> bytes:
        """Their SHA-256; waits for it if it is being computed."""
        if self.digest is None:
            assert self.ahead is not None
            self.digest = self.ahead().digest
        return self.digest

    @property
    def known_sums(self) -> Callable[[], bytes] | None:
        """Gives their checksums; None if nobody is computing them."""
        ahead = self.ahead
        return None if ahead is None else lambda: ahead().sums


class Form(NamedTuple):
    """A value without its bytes: the fields of `Value` that are known before it is looked at."""

    dtype: str
    shape: tuple[int, ...] = ()
    strides: tuple[int, ...] = ()
    reproducible: bool | None = None
    note: str = ""
    scalar: int | float | bool | str | None = None


@dataclass(slots=True)
class Entry:
    """A value, and what is still to be found out about it.

    Attributes:
        case: Number of the case.
        ref: Which value.
        form: What is known of it already.
        stored: Its bytes, if they are recorded.
        array: The bytes, which nobody may change any more.
        yardsticks: What its isolated and its chained floor are measured against.
    """

    case: int
    ref: NodeRef | InputRef
    form: Form
    stored: Stored | None = None
    array: Array | None = None
    yardsticks: tuple[Yardstick, Yardstick] = UNKNOWN

    @property
    def nbytes(self) -> int:
        """Memory that waits with it."""
        if self.yardsticks is UNKNOWN:
            return 0 if self.array is None or self.stored is None or self.stored.written else self.array.nbytes
        arrays = [self.array, *(y.replayed for y in self.yardsticks if type(y) is Against)]
        return sum(array.nbytes for array in arrays if array is not None)

    def write(self, writer: TraceWriter) -> None:
        """Write the bytes, if they are not there yet, and the value."""
        if self.stored is not None and self.array is not None:
            value = self._finish(writer, self.stored, self.array)
        else:
            dtype, shape, strides, reproducible, note, scalar = self.form
            value = Value(dtype, shape, strides, None, scalar, reproducible, note=note)
        writer.add_value(self.case, self.ref, value)

    def _finish(self, writer: TraceWriter, stored: Stored, array: Array) -> Value:
        dtype, shape, strides, reproducible, note, _ = self.form
        if not stored.written:
            writer.add_tensor(array, dtype, stored.known_digest, stored.known_sums)
            stored.written = True
        digest = stored.known_digest()
        if stored.ahead is not None:
            stored.size, stored.ahead = stored.ahead().size, None
        floors = tuple(y.floor if isinstance(y, Against) else y for y in self.yardsticks)
        if stored.size is None or any(isinstance(y, Against) and y.floor is None for y in self.yardsticks):
            peak, rms, floors = measure(array, self.yardsticks)
            stored.size = Size(array.size, peak, rms)
        isolated, chained = floors
        size = stored.size
        return Value(
            dtype, shape, strides, digest, None, reproducible, isolated, chained, note, size.peak, size.rms
        )  # fmt: skip
