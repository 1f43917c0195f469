"""Reading a trace from its first record to its last, when there is no footer to go by."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from trace_format import codec
from trace_format.codec import GraphHead
from trace_format.contents import Contents
from trace_format.errors import LimitExceeded, Malformed, RecordDamaged, TraceError, Truncated
from trace_format.file import TraceFile
from trace_format.model import Case
from trace_format.records import (
    FOOTER_OPS,
    HEADER,
    MAGIC,
    MARKER,
    TRAILER,
    Op,
    Record,
    block_count,
    read_body,
    read_header,
    read_trailer,
)
from trace_format.value_codec import decode_value

Report = Callable[[TraceError], None]


def walk(file: TraceFile, start: int, size: int, report: Report) -> Iterator[Record]:
    """Every record whose header is intact, in file order, finding the way again behind damage.

    Args:
        file: The file.
        start: Where the first record is.
        size: Size of the file, without a trailer.
        report: Told of damage: that the file is cut, or what was skipped.
    """
    offset = start
    while offset < size:
        try:
            record = read_header(file.data, offset, size)
        except Truncated as error:
            report(error)
            return
        except (RecordDamaged, LimitExceeded) as error:
            found = _next_header(file, offset + 1, size)
            lost = (found or size) - offset
            report(type(error)(f"{error.message}; {lost} bytes skipped", offset))
            if found is None:
                return
            offset = found
            continue
        yield record
        offset = record.end


def _next_header(file: TraceFile, offset: int, size: int) -> int | None:
    """Where the next intact header is. A header knows its offset, so bytes that look like one are none."""
    while (offset := file.find(MARKER, offset, size)) >= 0:
        try:
            return read_header(file.data, offset, size).offset
        except TraceError:
            offset += 1
    return None


class Scan:
    """Collects the contents of a file. What is wrong with it goes to `report`, and is left out."""

    def __init__(self, file: TraceFile, report: Report) -> None:
        """Prepare; `run` does it.

        Args:
            file: An open trace.
            report: Told of each thing wrong. May raise, which ends the scan.
        """
        self.contents = Contents()
        self.footer_begins = 0  # 0: no record of a footer was met
        self.skipped: list[Record] = []  # of kinds that this version does not know
        self._file = file
        self._report = report
        self._damaged = False
        self._lost_bytes = 0
        self._takers: dict[int, Callable[[Record, bytes], None]] = {
            Op.TENSOR: self._tensor,
            Op.WEIGHTS: self._weights,
            Op.SOURCE: self._source,
            Op.GRAPH: self._graph,
            Op.NODE: self._node,
            Op.CASE: self._case,
            Op.VALUE: self._value,
            Op.NOTE: self._note,
        }

    def _problem(self, error: TraceError) -> None:
        self._damaged = True
        self._report(error)

    def run(self) -> Contents:
        """Read every record up to the footer."""
        data, size = self._file.data, self._file.size
        if read_trailer(data, size) is not None:
            size -= TRAILER.size
        end = self._file.header_end
        if end > len(MAGIC):
            head = read_header(data, len(MAGIC), size)
            self.contents.hash(head, read_body(data, head))
        for record in walk(self._file, end, size, self._problem):
            self._lost_bytes += record.offset - end
            end = record.end
            try:
                if record.opcode not in FOOTER_OPS:
                    self._take(record)
                else:
                    self.footer_begins = self.footer_begins or record.offset
            except TraceError as error:
                self._lost_bytes += record.end - record.offset
                self._problem(error if error.offset is not None else type(error)(error.message, record.offset))
        return self.contents

    def _take(self, record: Record) -> None:
        body = read_body(self._file.data, record)
        take = self._takers.get(record.opcode)
        if take is not None:
            take(record, body)
        else:
            self.skipped.append(record)
        self.contents.hash(record, body)

    def _tensor(self, record: Record, body: bytes) -> None:
        if len(body) != 32 + 4 * block_count(record.bulk_size):
            raise Malformed("a tensor has another number of checksums than blocks")
        self.contents.tensors.setdefault(body[:32], (record.offset, record.bulk_size, -1))

    def _weights(self, record: Record, body: bytes) -> None:
        self.contents.add_weights(record.offset, codec.decode_weights(body))

    def _source(self, record: Record, body: bytes) -> None:
        first, lines = codec.decode_source(body)
        missing = first - self.contents.lines
        if self._damaged and 0 < missing <= self._lost_bytes:
            self.contents.lines = first
        self.contents.check_source(first, len(lines))
        self.contents.add_source(record.offset, len(lines))

    def _graph(self, record: Record, body: bytes) -> None:
        head = codec.decode_graph(body)
        for number in self._gap(len(self.contents.graphs), head.number):
            self.contents.add_graph(0, GraphHead(number, f"lost#{number}", (), (), 0))
        self.contents.check_graph(head)
        self.contents.add_graph(record.offset, head)

    def _node(self, record: Record, body: bytes) -> None:
        stored = codec.decode_node(body)
        if stored.graph < len(self.contents.graphs):
            graph = self.contents.graphs[stored.graph]
            for _ in self._gap(len(graph), stored.index):
                graph.add_lost()
        reads = self.contents.check_node(stored)
        self.contents.graphs[stored.graph].add(record.offset, stored.node, reads)

    def _case(self, record: Record, body: bytes) -> None:
        number, case = codec.decode_case(body)
        if self.contents.graphs:
            for lost in self._gap(len(self.contents.cases), number):
                self.contents.add_case(0, Case(f"lost#{lost}", 0))
            if case.graph < len(self.contents.graphs):
                graph = self.contents.graphs[case.graph]
                for _ in self._gap(len(graph), graph.head.nodes):
                    graph.add_lost()
        self.contents.check_case(number, case)
        self.contents.add_case(record.offset, case)

    def _value(self, record: Record, body: bytes) -> None:
        stored = decode_value(body)
        key = self.contents.check_value(stored)
        self.contents.values[stored.case][key] = record.offset

    def _note(self, record: Record, body: bytes) -> None:
        codec.decode_note(body)
        self.contents.add_note(record.offset)

    def _gap(self, have: int, number: int) -> range:
        """What is missing before `number`, as long as the bytes that are lost can have held it.

        They are used up by it, so that stand-ins never outnumber the records that can have been there.
        """
        least = (number - have) * (HEADER.size + 8)
        if not self._damaged or not 0 < least <= self._lost_bytes:
            return range(0)
        self._lost_bytes -= least
        return range(have, number)
