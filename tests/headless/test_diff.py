"""Two runs side by side: what is printed is safe for a terminal, and damage is never passed over."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tapml_tui.headless.diff import diff
from trace_format import BlockDamaged, RunOutput, RunRecord, open_run

BASE = "00" * 32


def write_run(path: Path, *, nodes: int = 1, value: float = 1.0, backend: str = "target", status: str = "ok") -> Path:
    with open_run(path, BASE) as run:
        for node in range(nodes):
            array = np.full(8, value + node, np.float32)
            record = RunRecord(
                f"{backend}{node}", f"n{node}", "c", backend, status=status, outputs=(RunOutput("float32", (8,)),)
            )
            run.append(record, (array,))
    return path


def test_no_escape_sequence_of_a_run_reaches_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    evil = "\x1b[31m"
    a = write_run(tmp_path / "a.run", backend=evil, status=evil)
    b = write_run(tmp_path / "b.run", backend=evil, status=f"{evil}other", value=2.0)
    assert diff(str(a), str(b), as_json=False) == 1
    out = capsys.readouterr().out
    assert "\x1b" not in out and "\\e[31m -> \\e[31mother" in out


def test_the_torn_end_of_a_run_is_no_damage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = write_run(tmp_path / "a.run", nodes=3), write_run(tmp_path / "b.run", nodes=3)
    for path in (a, b):
        path.write_bytes(path.read_bytes()[:-20])
    assert diff(str(a), str(b), as_json=True) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["torn"] == [str(a), str(b)]
    assert json.loads(out)["damage"] == {str(a): [], str(b): []}
    assert f"{b} ends in half a record" in err
    write_run(tmp_path / "whole.run", nodes=3)
    assert diff(str(tmp_path / "whole.run"), str(b), as_json=False) == 1


def test_a_damaged_run_is_named_and_nothing_is_called_equal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = write_run(tmp_path / "a.run", nodes=3), write_run(tmp_path / "b.run", nodes=3)
    whole = bytearray(b.read_bytes())
    whole[-20] ^= 1
    b.write_bytes(whole)
    assert diff(str(a), str(b), as_json=True) == 4
    out, err = capsys.readouterr()
    damage = json.loads(out)["damage"]
    assert not damage[str(a)] and damage[str(b)]
    assert f"{b} is damaged" in err and f"{a} is damaged" not in err


def test_damaged_bytes_are_said_to_be_of_one_file(tmp_path: Path) -> None:
    a, b = write_run(tmp_path / "a.run"), write_run(tmp_path / "b.run", value=3.0)
    whole = bytearray(b.read_bytes())
    place = whole.index(np.full(8, 3.0, np.float32).tobytes())
    whole[place] ^= 1
    b.write_bytes(whole)
    with pytest.raises(BlockDamaged, match=r"b\.run: bytes 0 to 32"):
        diff(str(a), str(b), as_json=False)
