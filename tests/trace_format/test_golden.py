"""Old files open for ever, and say what they said."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.trace_format.example import example_text
from tests.trace_format.make_golden import GOLDEN, contents, plain
from tests.trace_format.samples import everything
from trace_format import limits, open_trace, verify

VERSIONS = sorted(path.stem for path in GOLDEN.glob("v*.json"))
SPEC = Path(limits.__file__).with_name("SPEC.md")


def assert_says(now: Any, then: Any, where: str = "") -> None:
    """Everything said then is said now. More may be: fields are added."""
    if isinstance(then, dict):
        for key, value in then.items():
            assert_says(now[key], value, f"{where}.{key}")
    elif isinstance(then, list):
        assert len(now) == len(then), where
        for index, (one, other) in enumerate(zip(now, then, strict=True)):
            assert_says(one, other, f"{where}[{index}]")
    else:
        assert now == then, where


@pytest.mark.parametrize("version", VERSIONS)
def test_golden_files_say_what_they_said(version: str) -> None:
    assert_says(contents(version), json.loads((GOLDEN / f"{version}.json").read_text()))


@pytest.mark.parametrize("version", VERSIONS)
def test_golden_files_are_whole(version: str) -> None:
    for name in (f"{version}.trace", f"{version}.weights.trace", f"{version}.run"):
        assert verify(GOLDEN / name) == []


@pytest.mark.parametrize("version", VERSIONS)
def test_golden_files_need_no_footer(version: str, tmp_path: Path) -> None:
    copy = shutil.copy(GOLDEN / f"{version}.trace", tmp_path)
    Path(copy).write_bytes(Path(copy).read_bytes()[:-1])
    with open_trace(GOLDEN / f"{version}.trace") as whole, open_trace(copy) as cut:
        assert not cut.complete
        assert plain(everything(cut)) == plain(everything(whole))


def test_there_are_golden_files() -> None:
    assert {"v1", "v1.1"} <= set(VERSIONS)


def test_the_example_of_the_spec_is_what_is_written() -> None:
    assert example_text() in SPEC.read_text()


def test_the_spec_names_every_limit_with_its_value() -> None:
    spec = SPEC.read_text()
    for name, value in vars(limits).items():
        if name.isupper():
            assert f"| `{name}` | {value} |" in spec, name
