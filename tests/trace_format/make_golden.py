"""Makes the golden files of the present version. Run once per version, never again after its release.

    python -m tests.trace_format.make_golden

Old files open for ever: `test_golden.py` reads every version that was ever released.
"""

from __future__ import annotations

import dataclasses
import json
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np

from tests.trace_format.samples import everything, small_trace, write_safetensors
from trace_format import Case, Floor, InputRef, RunOutput, RunRecord, TraceWriter, Value, open_run, open_trace, read_run
from trace_format.records import MAJOR, MINOR

GOLDEN = Path(__file__).with_name("golden")


def plain(item: Any) -> Any:
    """Anything that a trace says, as JSON can hold it, with field names."""
    if isinstance(item, Enum):
        return item.value
    if dataclasses.is_dataclass(item) and not isinstance(item, type):
        return {field.name: plain(getattr(item, field.name)) for field in dataclasses.fields(item)}
    if isinstance(item, Value | Floor | RunRecord | RunOutput):
        return {name: plain(value) for name, value in item._asdict().items()}
    if isinstance(item, dict):
        return {repr(key): plain(value) for key, value in item.items()}
    if isinstance(item, tuple) and hasattr(item, "_fields"):
        return {type(item).__name__: [plain(part) for part in item]}
    if isinstance(item, list | tuple):
        return [plain(part) for part in item]
    if isinstance(item, bytes):
        return item.hex()
    return item if item is None or isinstance(item, bool | int | str) else repr(item)


def contents(name: str) -> Any:
    """What the golden files of a version say: the trace, the one with weights beside it, the run."""
    said = {}
    for kind in ("", ".weights"):
        with open_trace(GOLDEN / f"{name}{kind}.trace") as trace:
            said[f"trace{kind}"] = plain(everything(trace))
    with read_run(GOLDEN / f"{name}.run") as run:
        said["run"] = [plain(record) for record in run.records()]
        said["run arrays"] = [
            run.array(output).tobytes().hex() for record in run.records() for output in record.outputs if output.digest
        ]
    return said


def main() -> None:
    """Write the files, and what they say."""
    name = f"v{MAJOR}.{MINOR}"
    GOLDEN.mkdir(exist_ok=True)
    small_trace(GOLDEN / f"{name}.trace")
    data = np.arange(6, dtype=np.float16)
    path = write_safetensors(GOLDEN / f"{name}.safetensors", {"w": ("F16", [2, 3], data.tobytes())})
    with TraceWriter(GOLDEN / f"{name}.weights.trace") as writer:
        digests = writer.add_weights(path)
        with open_trace(GOLDEN / f"{name}.trace") as trace:
            writer.add_graph("g", trace.graphs[0].inputs, (), ())
        writer.add_case(Case("c", 0))
        writer.add_value(0, InputRef(1), Value("float16", (2, 3), (3, 1), digests["w"]))
    (GOLDEN / f"{name}.run").unlink(missing_ok=True)
    with open_run(GOLDEN / f"{name}.run", "ab" * 32) as run:
        record = RunRecord("key", "node", "case", "target", "", ("cd",), (RunOutput("int64", (2,)),), ms=0.5)
        run.append(record, [np.array([1, 2])])
        run.append(RunRecord("other", "node", "case", "target", status="error", stage="run", reason="no", detail="why"))
    (GOLDEN / f"{name}.json").write_text(json.dumps(contents(name), indent=1) + "\n")


if __name__ == "__main__":
    main()
