"""From a path to the tables of a trace: out of its footer, or by a scan."""

from __future__ import annotations

import os
from dataclasses import dataclass

from trace_format import codec
from trace_format.codec import Summary
from trace_format.contents import Footer
from trace_format.errors import IndexInvalid, RecordDamaged, TraceError, Truncated
from trace_format.file import TraceFile
from trace_format.records import TRAILER, Op, read_trailer
from trace_format.scan import Scan

_MOST_MESSAGES = 50


@dataclass(frozen=True)
class Loaded:
    """An open file and its tables. `complete`: they come from its own footer."""

    file: TraceFile
    footer: Footer
    complete: bool
    damage: tuple[str, ...]


def load(path: str | os.PathLike[str]) -> Loaded:
    """Open a file and get its tables.

    Raises:
        TraceError: One of its named kinds.
    """
    file = TraceFile(path)
    try:
        damage: list[str] = []
        try:
            footer = read_footer(file)
            if footer is None and file.head.kind == "trace":
                damage.append("it has no end: writing was cut off, or the file was truncated")
        except (RecordDamaged, Truncated) as error:
            footer = None
            damage.append(f"its footer is damaged: {error}")
        complete = footer is not None
        if footer is None:
            footer = _tolerant_scan(file, damage)
        if footer.stopped:
            damage.append(footer.stopped)
        return Loaded(file, footer, complete, tuple(damage))
    except BaseException:
        file.close()
        raise


def read_footer(file: TraceFile) -> Footer | None:
    """The footer, checked against damage; None if the file does not end as a complete trace does.

    Raises:
        RecordDamaged, Truncated: If a part of it is damaged.
        TraceError: If it is whole and wrong.
    """
    offset = read_trailer(file.data, file.size)
    if offset is None:
        return None
    if file.record(offset, Op.SUMMARY).end != file.size - TRAILER.size:
        raise IndexInvalid("the summary is not at the end", offset)
    summary = codec.decode_summary(file.body(offset, Op.SUMMARY))
    _check_apart(file, summary)
    return Footer(
        summary.content_id,
        summary.stopped,
        tuple((record, file.table(table, Op.GRAPH_INDEX)) for record, table in summary.graphs),
        tuple((record, file.table(table, Op.VALUE_INDEX)) for record, table in summary.cases),
        file.table(summary.tensors, Op.TENSOR_INDEX),
        file.table(summary.sources, Op.SOURCE_INDEX),
        summary.notes,
    )


def _check_apart(file: TraceFile, summary: Summary) -> None:
    """Refuse a summary that names bytes more than once: reading it would take longer than reading the file."""
    tables = [(table, Op.GRAPH_INDEX) for _, table in summary.graphs]
    tables += [(table, Op.VALUE_INDEX) for _, table in summary.cases]
    tables += [(summary.tensors, Op.TENSOR_INDEX), (summary.sources, Op.SOURCE_INDEX)]
    tables += [(note, Op.NOTE) for note in summary.notes]
    end = 0
    for record in sorted(file.record(offset, opcode) for offset, opcode in tables):
        if record.offset < end:
            raise IndexInvalid("two parts of the footer overlap", record.offset)
        end = record.end


def _tolerant_scan(file: TraceFile, damage: list[str]) -> Footer:
    """Scan past damage. What contradicts itself in an undamaged file is an error all the same."""
    damaged = False
    more = 0

    def report(error: TraceError) -> None:
        nonlocal damaged, more
        damaged = damaged or isinstance(error, RecordDamaged | Truncated)
        if not damaged:
            raise error
        if len(damage) < _MOST_MESSAGES:
            damage.append(str(error))
        else:
            more += 1

    footer = Scan(file, report).run().footer()
    if more:
        damage.append(f"and {more} more")
    return footer
