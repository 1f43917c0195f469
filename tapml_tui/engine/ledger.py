"""The ledger of a migration: which signatures run on which target, and what keeps the others from it.

A JSON file beside the runs, keyed by target and signature, so that it outlives a new carving. Each entry says
on what evidence it stands (compiler, kernel, tolerance, recorded data): what stands on the same is not tried again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from tapml_tui.regular_file import read_regular

SCHEMA = 1
LEDGER = "ledger.json"
"""Its name, beside the runs."""
_LARGEST = 64 << 20  # bytes that a ledger may have


class Migration(StrEnum):
    """How far a signature is."""

    SOURCE = "source"  # not tried yet
    CARVED_PASS = "carved-pass"  # its carved tests pass on the target, the answer was not tried with it
    MIGRATED = "migrated"  # it runs on the target, and the answer holds
    BLOCKED = "blocked"  # it stays on the source: `reason` says why


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """One signature on one target.

    Attributes:
        signature: Digest that all nodes with this kernel share.
        op: Their operator.
        nodes: Their ids.
        status: How far it is.
        reason: What blocks it, or "".
        factor: Worst error of its carved tests, in noise floors.
        evidence: Digest of all that the status depends on.
    """

    signature: str
    op: str
    nodes: tuple[str, ...]
    status: Migration
    reason: str = ""
    factor: float = 0.0
    evidence: str = ""


class Ledger:
    """The entries of all targets that a trace was ever run on."""

    def __init__(self, path: Path | None = None) -> None:
        """Read what is in the file; nothing, if there is none or it is damaged.

        Args:
            path: Where to keep it; None: in memory alone.
        """
        self._path = path
        self._targets: dict[str, dict[str, LedgerEntry]] = _read(path) if path is not None else {}

    def get(self, target: str, signature: str) -> LedgerEntry | None:
        """What is known of a signature on a target."""
        return self._targets.get(target, {}).get(signature)

    def put(self, target: str, entry: LedgerEntry) -> None:
        """Write an entry down; it is on disk when this returns.

        Raises:
            OSError: If it cannot be written.
        """
        if self.get(target, entry.signature) != entry:
            self._targets.setdefault(target, {})[entry.signature] = entry
            self.save()

    def save(self) -> None:
        """Replace the file as a whole, so that it is the one before or this one whatever happens."""
        if self._path is not None:
            write_atomically(self._path, json.dumps(self.document(), indent=1))

    def entries(self, target: str) -> tuple[LedgerEntry, ...]:
        """All entries of a target, in the order in which they were first written."""
        return tuple(self._targets.get(target, {}).values())

    def document(self) -> dict[str, Any]:
        """All of it as plain data: `{"schema", "targets": {target: [entry, ...]}}`."""
        targets = {name: [asdict(entry) for entry in entries.values()] for name, entries in self._targets.items()}
        return {"schema": SCHEMA, "targets": targets}


def write_atomically(path: Path, text: str) -> None:
    """Write a file so that a reader, also after a crash, sees the old one or the new one.

    Raises:
        OSError: If it cannot be written.
    """
    partial = path.with_name(f".{path.name}.partial")  # one name: what a crash leaves is the next one's to replace
    partial.unlink(missing_ok=True)
    with partial.open("x", encoding="utf-8") as stream:  # no link of somebody else's is followed
        stream.write(text)
    os.replace(partial, path)


def _read(path: Path) -> dict[str, dict[str, LedgerEntry]]:
    try:
        document = json.loads(read_regular(path, _LARGEST))
        return {
            str(target): {entry.signature: entry for entry in _entries(entries)}
            for target, entries in document["targets"].items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError):
        return {}


def _entries(rows: list[dict[str, Any]]) -> Iterator[LedgerEntry]:
    for row in rows:
        yield LedgerEntry(
            signature=str(row["signature"]),
            op=str(row["op"]),
            nodes=tuple(map(str, row["nodes"])),
            status=Migration(row["status"]),
            reason=str(row["reason"]),
            factor=float(row["factor"]),
            evidence=str(row["evidence"]),
        )
