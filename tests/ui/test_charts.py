"""The pictures of the Compare tab: right, of the size that there is, and readable without colour."""

from __future__ import annotations

import numpy as np
import pytest

from tapml_tui.ui import charts
from tapml_tui.ui.lines import length, text_of


def shown(blocks: np.ndarray, rows: int, width: int) -> list[str]:
    return text_of(charts.error_map(blocks, rows, width)).splitlines()


def test_blocks_within_their_floor_are_light_and_others_darker_by_magnitude() -> None:
    blocks = np.full((2, 8), 0.5)
    blocks[1, 5:] = [2.0, 50.0, 1000.0]
    picture = shown(blocks, 2, 8)
    assert picture == ["░" * 8, "░░░░░▒▓█"]


def test_one_wrong_row_of_many_is_in_the_picture() -> None:
    blocks = np.zeros((24, 64))
    blocks[17] = 3.0
    picture = shown(blocks, 4, 35)
    assert len(picture) == 4 and sum("█" in line for line in picture) == 1
    assert all(len(line) == 35 for line in picture)


def test_what_is_not_finite_is_dark() -> None:
    blocks = np.zeros((1, 3))
    blocks[0, 1], blocks[0, 2] = np.inf, np.nan
    assert shown(blocks, 1, 3) == ["░██"]


@pytest.mark.parametrize("shape", [(1, 1), (1, 64), (24, 1), (3, 5), (24, 64)])
@pytest.mark.parametrize("room", [(2, 20), (4, 35), (8, 55), (8, 200)])
def test_a_map_fits(shape: tuple[int, int], room: tuple[int, int]) -> None:
    picture = charts.error_map(np.ones(shape) * 7, *room)
    assert 1 <= len(picture) <= max(room[0], 2)
    assert all(length(line) <= room[1] for line in picture)


def test_a_short_histogram_marks_the_floor_and_shows_one_element_among_a_million() -> None:
    (line,) = charts.histogram({-9: 10**6, -8: 10**5, -1: 1}, 60, 1, equal=0, allowed=3e-8)
    assert text_of([line]).startswith("|error| 1e-09 █") and "│" in text_of([line])
    assert "▂ 1e+00" in text_of([line])


def test_a_tall_histogram_says_how_many_and_where_the_floor_is() -> None:
    drawn = text_of(charts.histogram({-9: 1234567, -8: 10, -7: 3}, 55, 30, equal=42, allowed=3e-8)).splitlines()
    assert "42 are equal" in drawn[0]
    assert "1,234,567" in drawn[1] and drawn[2].rstrip().endswith("← floor")
    assert len({len(line) <= 55 for line in drawn}) == 1


def test_what_is_far_below_the_floor_shares_a_line_where_there_is_no_room() -> None:
    counts = dict.fromkeys(range(-14, 1), 10)
    drawn = text_of(charts.histogram(counts, 55, 9, equal=0, allowed=3e-6)).splitlines()
    assert len(drawn) == 9 and drawn[1].startswith("≤1e-07") and drawn[1].rstrip().endswith(" 80")
    assert drawn[2].rstrip().endswith("← floor") and drawn[-1].startswith("1e+00 ")
    assert len(charts.histogram(counts, 55, 9, equal=0, allowed=3e-10)) == 1, "the floor itself is to be seen"


def test_where_nothing_differs_there_is_no_histogram() -> None:
    assert charts.histogram({}, 40, 30, equal=5, allowed=1.0) == []
