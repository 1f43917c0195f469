"""`make bench-verdict`: how many wrong kernels we find and how many alarms are false, beside the criteria of others.

    python -m tests.bench.verdict [--model NAME ...] [--dtype NAME ...] [--seed N] [--kinds N] [--chained N]

All nine traces (three models, three dtypes) take about an hour on an idle machine, a trace of the demo model five
minutes. Each is written down when it is through: with the seed that is printed first, a later call goes on after
the last one, and says again at once what is known.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from tests import sampling
from tests.bench.models import FOLDER
from tests.faults import carving, table
from tests.faults.records import Record, faults
from tests.faults.suite import Amount, run

SHOWN = 40
"""Findings of each sort that are listed one by one."""


def main() -> int:
    """Run the suite, print the tables; 1 if a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", nargs="+", choices=carving.MODELS, default=carving.MODELS)
    parser.add_argument("--dtype", nargs="+", choices=carving.DTYPES, default=carving.DTYPES)
    parser.add_argument("--seed", default=str(sampling.SEED))
    parser.add_argument("--chained", type=int, default=Amount.chained, help="faults of each trace in the chain")
    parser.add_argument("--kinds", type=int, default=Amount.kinds, help="kinds of fault at each place, drawn")
    asked = parser.parse_args()
    print(f"seed {asked.seed} (make bench-verdict SEED={asked.seed} goes on where this is stopped)", flush=True)
    amount = Amount(tuple(asked.model), tuple(asked.dtype), kinds=asked.kinds, chained=asked.chained)
    return report([record for records in _by_trace(asked.seed, amount) for record in records])


def _by_trace(seed: str, amount: Amount) -> Iterator[list[Record]]:
    """The records of each trace: those of an earlier run with this seed, or new ones."""
    kept = FOLDER / "verdict" / f"{seed}-{amount.kinds}-{amount.chained}"
    kept.mkdir(parents=True, exist_ok=True)
    for model in amount.models:
        for dtype in amount.dtypes:
            file = kept / f"{model}-{dtype}.json"
            if file.exists():
                yield [Record.from_json(record) for record in json.loads(file.read_text())]
                continue
            started = time.monotonic()
            with tempfile.TemporaryDirectory(prefix="tapml-verdict-") as folder:
                records = run(seed, Path(folder), replace(amount, models=(model,), dtypes=(dtype,)), say=_say)
            _say(f"{model} {dtype}: {len(records)} kernels in {(time.monotonic() - started) / 60:.1f} minutes")
            unfinished = file.with_suffix(".new")
            unfinished.write_text(json.dumps([record.to_json() for record in records]))
            unfinished.rename(file)
            yield records


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def report(records: list[Record]) -> int:
    """Print the tables; 1 if a goal is missed."""
    kinds = {record.kind for record in records if not record.benign}
    benign = {(record.operator, record.dtype, record.kind) for record in records if record.benign}
    print(table.by(records, lambda record: f"{record.mode} {record.operator} {record.dtype}"), end="\n\n")
    print(table.by(faults(records), lambda record: record.kind), end="\n\n")
    print(table.diagnoses(records)[0], end="\n\n")
    for title, found in (
        ("missed", [record for record in faults(records) if not record.found]),
        ("false alarms", [record for record in records if record.benign and record.found]),
        ("diagnosed wrongly", [record for record in faults(records) if table.diagnosed(record) == "wrong"]),
    ):
        print(f"{title}: {len(found)}")
        for record in found[:SHOWN]:
            print(f"  {record} {record.diagnosis}")
    print(f"\n{len(kinds)} kinds of fault, {len(benign)} benign variants, {len(records)} kernels judged\n")
    print(table.by(records, lambda record: f"{record.mode} {record.dtype}"), end="\n\n")
    print(table.detection(records))
    missed = table.missed_goals(records)
    print("\n".join(f"MISSED {line}" for line in missed) if missed else "every goal is met")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
