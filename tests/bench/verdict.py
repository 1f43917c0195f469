"""`make bench-verdict`: how many wrong kernels we find and how many alarms are false, beside the criteria of others.

python -m tests.bench.verdict [--model NAME ...] [--dtype NAME ...] [--seed N] [--kinds N] [--chained N]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests import sampling
from tests.faults import carving, table
from tests.faults.records import faults
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
    print(f"seed {asked.seed}", flush=True)
    amount = Amount(tuple(asked.model), tuple(asked.dtype), kinds=asked.kinds, chained=asked.chained)
    with tempfile.TemporaryDirectory(prefix="tapml-verdict-") as folder:
        records = run(asked.seed, Path(folder), amount, say=lambda line: print(line, file=sys.stderr, flush=True))

    kinds = {record.kind for record in records if not record.benign}
    benign = {(record.operator, record.dtype, record.kind) for record in records if record.benign}
    print(f"\n{len(kinds)} kinds of fault, {len(benign)} benign variants, {len(records)} kernels judged\n")
    print(table.detection(records))
    print(table.by(records, lambda record: f"{record.mode} {record.dtype}"), end="\n\n")
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
    missed = table.missed_goals(records)
    print("\n".join(["", *(f"MISSED {line}" for line in missed)] if missed else ["", "every goal is met"]))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
