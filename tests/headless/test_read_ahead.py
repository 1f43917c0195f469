"""Reading ahead: nobody waits for what never comes, and who looks sees what is there."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tapml_tui.headless.read_ahead import Arrival, read_ahead


def test_reading_ahead_waits_for_nobody(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path / "nothing", tmp_path, Path("/dev/zero")):
        with read_ahead(str(path), __file__):
            pass
    paths = (tmp_path / "pipe", tmp_path / "nothing", "no\0name", __file__, __file__)
    with read_ahead(*map(str, paths)) as arrivals:
        assert [arrival.wait(sys.maxsize) for arrival in reversed(arrivals)] == [sys.maxsize] * len(paths)


def test_reading_ahead_leaves_python_as_it_was() -> None:
    before = sys.getswitchinterval()
    with pytest.raises(ZeroDivisionError), read_ahead(__file__):
        assert sys.getswitchinterval() < before
        raise ZeroDivisionError
    assert sys.getswitchinterval() == before


def test_something_is_done_while_nothing_has_arrived_and_no_longer() -> None:
    arrival, done = Arrival(), []

    def work() -> Iterator[None]:
        for step in range(9):
            done.append(step)
            if step == 3:
                arrival.reached(100)
            yield

    meanwhile = work()
    assert arrival.wait(50, meanwhile) == 100 and done == [0, 1, 2, 3]
    assert arrival.wait(100, meanwhile) == 100 and done == [0, 1, 2, 3]
