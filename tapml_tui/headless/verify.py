"""`tapml-tui verify` and `recover`: is a trace intact, and what can be saved of one that is not."""

from __future__ import annotations

import sys

import trace_format
from tapml_tui.headless import strict_json
from tapml_tui.headless.exits import Exit
from trace_format.text import printable


def verify(path: str, *, as_json: bool) -> int:
    """Print every finding about the trace at `path`; damage is exit code 4.

    Raises:
        OSError: If the file cannot be opened: that says nothing about the trace.
    """
    with open(path, "rb"):
        pass
    findings = trace_format.verify(path)
    damaged = any(finding.severity == "error" for finding in findings)
    if as_json:
        listed = [{"severity": f.severity, "offset": f.offset, "message": f.message} for f in findings]
        print(strict_json.dumps({"path": path, "intact": not damaged, "findings": listed}, indent=2))
    else:
        for finding in findings:
            where = "" if finding.offset is None else f"byte {finding.offset}: "
            print(f"{finding.severity}: {where}{printable(finding.message, limit=400)}")
        print(f"{printable(path)}: {'damaged' if damaged else 'intact'}")
        if damaged:
            print("`tapml-tui recover FILE -o NEW` saves what is whole", file=sys.stderr)
    return Exit.BAD_TRACE if damaged else Exit.OK


def recover(broken: str, out: str) -> int:
    """Write what is whole of `broken` to `out`; exit code 4 if something was lost."""
    report = trace_format.recover(broken, out)
    kept = f"{report.nodes} nodes, {report.values} values, {report.tensors} tensors"
    print(f"{printable(out)}: {kept} kept, {len(report.lost)} lost", file=sys.stderr)
    for loss in report.lost:
        print(f"lost: {printable(loss, limit=400)}", file=sys.stderr)
    return Exit.BAD_TRACE if report.lost else Exit.OK
