"""What happens to a file while it is open: an error with a name, never the death of the process."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.trace_format.samples import small_trace, write_safetensors
from trace_format import FileChanged, InputRef, TraceError, open_trace
from trace_format.safetensors_file import SafetensorsFile

# In a process of its own: a page that is not there any more kills whoever touches it.
CUT = """
import sys
from tests.trace_format.samples import everything
from trace_format import InputRef, TraceError, open_trace
trace = open_trace(sys.argv[1])
graph = trace.graphs[0]
held = trace.array(trace.value(0, InputRef(1)))
with open(sys.argv[1], "r+b") as file:
    file.truncate(int(sys.argv[2]))
print([graph.op(node) + graph.path(node) for node in range(len(graph))], graph.outline.tobytes())
for read in (lambda: trace.array(trace.value(0, InputRef(0))), lambda: trace.block(trace.value(0, InputRef(1))),
             lambda: everything(trace)):
    try:
        read()
        print("read")
    except TraceError as error:
        print(type(error).__name__)
"""


@pytest.mark.parametrize("length", [0, 700])
def test_cut_while_it_is_open(tmp_path: Path, length: int) -> None:
    trace = small_trace(tmp_path / "a.trace")
    done = subprocess.run(
        [sys.executable, "-c", CUT, str(trace), str(length)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    outline, *errors = done.stdout.splitlines()
    assert "aten.mm.default" in outline
    assert set(errors) <= {"FileChanged", "Truncated"}
    assert len(errors) == 3


@pytest.mark.parametrize("how", ["removed", "replaced"])
def test_another_process_is_not_sent_to_another_file(tmp_path: Path, how: str) -> None:
    path = small_trace(tmp_path / "a.trace")
    with open_trace(path) as trace:
        value = trace.value(0, InputRef(1))
        block = trace.block(value)
        assert block is not None
        if how == "removed":
            path.unlink()
        else:
            shutil.copy(path, tmp_path / "b")
            os.replace(tmp_path / "b", path)
        with pytest.raises(FileChanged, match="replaced while it was open"):
            trace.block(value)
        assert trace.array(value).shape == (2, 3)  # what is mapped is still what it was


def test_weights_know_what_file_they_are(tmp_path: Path) -> None:
    path = write_safetensors(tmp_path / "w.safetensors", {"a": ("F32", [1], b"\0" * 4)})
    assert SafetensorsFile(tmp_path, path.name).identity == (path.stat().st_dev, path.stat().st_ino)


def test_it_is_an_error_of_the_format() -> None:
    assert issubclass(FileChanged, TraceError)
