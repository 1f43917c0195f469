"""What the records say, as tables of text, and whether the goals are met."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence

from tests.faults.faults import KINDS
from tests.faults.peers import CRITERIA
from tests.faults.records import GROSS, STRENGTHS, Record, faults

OURS = "tapml-tui"
FOUND = 0.99
RIGHT, WRONG = 0.90, 0.02


def finds(record: Record, who: str) -> bool:
    """Whether somebody raises an alarm about a kernel."""
    return record.found if who == OURS else who in record.peers


def share(part: int, whole: int) -> str:
    """A part of a whole, as 12/13 92.3%."""
    return f"{part}/{whole} {part / whole:.1%}" if whole else "-"


def grid(rows: Sequence[Sequence[str]]) -> str:
    """Columns of equal width."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def detection(records: Sequence[Record]) -> str:
    """Who finds how many faults, in all and by strength, and raises how many false alarms; by mode."""
    lines = []
    for mode in dict.fromkeys(record.mode for record in records):
        here = [record for record in records if record.mode == mode]
        wrong, benign = faults(here), [record for record in here if record.benign]
        weak = sum(record.weak for record in here)
        rows = [[mode, "found", *STRENGTHS, "false alarms"]]
        for who in (OURS, *CRITERIA):
            counts = [_found(wrong, who, lambda record: True)]
            counts += [_found(wrong, who, lambda record, s=strength: record.strength == s) for strength in STRENGTHS]  # type: ignore[misc]
            rows.append([who, *counts, share(sum(finds(r, who) for r in benign), len(benign))])
        lines.append(f"{grid(rows)}\n{weak} wrong kernels lie within the benign envelope and are not counted\n")
    return "\n".join(lines)


def _found(wrong: Iterable[Record], who: str, chosen: Callable[[Record], bool]) -> str:
    asked = [record for record in wrong if chosen(record)]
    return share(sum(finds(record, who) for record in asked), len(asked))


def by(records: Sequence[Record], key: Callable[[Record], str]) -> str:
    """What we find and where we raise false alarms, by some property; and how near to one the factors come."""
    rows = [["", "found", "false alarms", "faults from", "benign up to"]]
    for name in sorted({key(record) for record in records}):
        here = [record for record in records if key(record) == name]
        wrong, benign = faults(here), [record for record in here if record.benign]
        alarms = share(sum(record.found for record in benign), len(benign))
        lowest = min((record.factor for record in wrong), default=0.0)
        highest = max((record.factor for record in benign), default=0.0)
        found = share(sum(record.found for record in wrong), len(wrong))
        rows.append([name, found, alarms, f"{lowest:.3g}", f"{highest:.3g}"])
    return grid(rows)


def diagnosed(record: Record) -> str:
    """One of right, none and wrong; "" if there are no words for it, or it was not found."""
    kind = KINDS[record.kind]
    words = kind.words if record.strength == GROSS else kind.faint
    if not words or not record.found:
        return ""
    return "right" if record.diagnosis in words else "wrong" if record.diagnosis else "none"


def diagnoses(records: Sequence[Record]) -> tuple[str, Counter[str]]:
    """Right, none and wrong by kind, with what was said instead; and in all."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    said: dict[str, Counter[str]] = defaultdict(Counter)
    for record in faults(records):
        outcome = diagnosed(record)
        if outcome:
            counts[record.kind][outcome] += 1
            if outcome == "wrong":
                said[record.kind][record.diagnosis] += 1
    rows = [["diagnosis", "right", "none", "wrong", ""]]
    for kind, outcomes in sorted(counts.items()):
        instead = ", ".join(f"{name} {count}" for name, count in said[kind].most_common())
        rows.append([kind, *(str(outcomes[one]) for one in ("right", "none", "wrong")), instead])
    total = sum(counts.values(), Counter())
    rows.append(["all", *(share(total[one], sum(total.values())) for one in ("right", "none", "wrong")), ""])
    return grid(rows), total


def missed_goals(records: Sequence[Record]) -> list[str]:
    """What the suite promises and these records do not keep."""
    missed = []
    for mode in dict.fromkeys(record.mode for record in records):
        here = [record for record in records if record.mode == mode]
        for who in (OURS, *CRITERIA):
            rate, alarms = _rate(here, who)
            if who == OURS and rate < FOUND:
                missed.append(f"{mode}: {rate:.2%} of the faults found, {FOUND:.0%} promised")
            if who == OURS and alarms:
                missed.append(f"{mode}: {alarms} false alarms")
            if who != OURS and rate >= FOUND and not alarms:
                missed.append(f"{mode}: {who} does as well")
    _, total = diagnoses(records)
    said = sum(total.values())
    if said and total["right"] < RIGHT * said:
        missed.append(f"{total['right'] / said:.1%} of the diagnoses right, {RIGHT:.0%} promised")
    if said and total["wrong"] > WRONG * said:
        missed.append(f"{total['wrong'] / said:.1%} of the diagnoses wrong, {WRONG:.0%} allowed")
    return missed


def _rate(records: Sequence[Record], who: str) -> tuple[float, int]:
    wrong = faults(records)
    found = sum(finds(record, who) for record in wrong)
    return found / max(1, len(wrong)), sum(finds(record, who) for record in records if record.benign)
