"""Nothing of a trace reaches the terminal raw, and everything has the width that it should."""

from __future__ import annotations

import unicodedata

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.style import Style

from tapml_tui.ui import lines, numbers

ANY = st.text(st.characters(codec="utf-8"), max_size=60)
MARKUP = ("[/red]", "[bold]x", "a\nb")
ESCAPES = ("\x1b[31mred", "\x1b]52;c;aGk=\x07", "\u202eabc", "\x9b31m", "\ud800")
HOSTILE = (*MARKUP, *ESCAPES, "x" * 10_000, "日本語" * 50)


def is_text(shown: str) -> bool:
    """Nothing that moves the cursor, hides, reorders, or is no text."""
    return not {unicodedata.category(c) for c in shown} & {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


@given(ANY, st.integers(1, 40))
def test_fit_fills_exactly(text: str, width: int) -> None:
    assert cell_len(lines.fit(text, width)) == width


@given(ANY, st.integers(1, 40))
def test_shorten_stays_within_and_is_harmless(text: str, width: int) -> None:
    short = lines.shorten(text, width)
    assert cell_len(short) <= width
    assert is_text(short)


@given(st.lists(ANY, max_size=4), st.integers(1, 50), st.integers(0, 10))
def test_paint_has_the_width_and_no_control_characters(texts: list[str], width: int, scroll: int) -> None:
    strip = lines.paint([(text, Style()) for text in texts], width, Style(), scroll=scroll)
    assert strip.cell_length == width
    assert is_text(strip.text)


@given(ANY, ANY, st.integers(10, 50))
def test_spread_has_the_width(left: str, right: str, width: int) -> None:
    line = lines.spread([(left, Style())], [(lines.shorten(right, 8), Style())], width)
    assert lines.length(line) == width


@given(st.text(st.characters(categories=["L", "Zs", "N"]), max_size=300), st.integers(8, 40))
def test_wrap_keeps_every_word_and_the_width(text: str, width: int) -> None:
    wrapped = lines.wrap(text, width, Style(), limit=1000)
    assert all(lines.length(line) <= width for line in wrapped)
    shown = "".join("".join(piece for piece, _ in line) for line in wrapped)
    assert "".join(shown.split()) == "".join(lines.harmless(text).split()) or not text.isprintable()


def test_hostile_names_come_out_as_text() -> None:
    for name in HOSTILE:
        strip = lines.paint([(name, Style())], 60, Style())
        assert is_text(strip.text)
        assert strip.cell_length == 60
    assert "[/red]" in lines.paint([("[/red]", Style())], 20, Style()).text


def test_factors_have_at_most_six_cells() -> None:
    for value in (0.0, 1e-9, 0.04, 0.4, 9.96, 10.2, 812.4, 99_999.4, 1e5, 3.2e38, float("inf"), float("nan")):
        assert len(numbers.factor(value)) <= 6, value
    assert numbers.factor(812.4) == "812"
    assert numbers.factor(0.0) == "0"
    assert numbers.factor(1.25e9) == "1.2e9"


def test_numbers_say_what_they_are() -> None:
    assert numbers.number(True) == "true"
    assert numbers.number(float("nan")) == "nan"
    assert numbers.number(float("-inf")) == "-inf"
    assert numbers.number(1 + 2j) == "1+2j"
    assert numbers.exact(0.1) == "0.1"
    assert numbers.shape(()) == "[]"
    assert numbers.milliseconds(203.4) == "203 ms"
