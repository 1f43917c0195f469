from pathlib import Path

import numpy as np
import pytest

from tapml_tui.compare import compare
from tapml_tui.compare.overrides import MAX_BYTES, Override, OverridesError, load_overrides, parse_overrides
from trace_format.model import Floor

RULES = """
# what we live with
[[tolerance]]
operator = "aten.softmax.*"
times = 4
reason = "fast exp is accepted"

[[tolerance]]
node = "layers.0/*"
dtype = "float1?"
atol = 1e-3

[[tolerance]]
node = "layers.0/aten.softmax*"
ignore = true
reason = "known, TICKET-7"
"""
EXACT = Floor(0.0, 0.0, "exact")


def test_the_last_rule_that_fits_counts_alone() -> None:
    overrides = parse_overrides(RULES, "rules.toml")
    softmax = ("aten.softmax.int", "float32")
    assert overrides.find("layers.1/aten.softmax.int#0", *softmax).times == 4
    assert overrides.find("layers.0/aten.softmax.int#0", *softmax).ignore
    assert overrides.find("layers.0/aten.add.Tensor#0", "aten.add.Tensor", "float16").atol == 1e-3
    assert overrides.find("layers.0/aten.add.Tensor#0", "aten.add.Tensor", "bfloat16") is None
    assert overrides.find("head/aten.add.Tensor#0", "aten.add.Tensor", "float16") is None


def test_a_rule_says_what_it_does_to_what_why_and_where() -> None:
    times, fixed, ignored = parse_overrides(RULES, "rules.toml").rules
    assert times.words == (
        "4 times the floor is allowed for operator aten.softmax.*: fast exp is accepted (rules.toml, line 3)"
    )
    assert fixed.words == ("allowed is 0.001 + 0 x |reference| for node layers.0/*, dtype float1? (rules.toml, line 8)")
    assert ignored.words == "ignored for node layers.0/aten.softmax*: known, TICKET-7 (rules.toml, line 13)"
    assert Override(times=2.0).words == "2 times the floor is allowed everywhere"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("tolerances = 1", '"tolerances" is not known; rules are tables [[tolerance]]'),
        ("[tolerance]\ntimes = 1", "write [[tolerance]], with two brackets"),
        ("\n[[tolerance]]\ntims = 4", 'f.toml, line 2: "tims" is not known; known are node, operator, dtype, times'),
        ("[[tolerance]]", "say one of times, atol and rtol, or ignore = true"),
        ("[[tolerance]]\ntimes = 2\natol = 1", "say one of"),
        ("[[tolerance]]\nignore = false", "say one of"),
        ("[[tolerance]]\nignore = true", "needs a reason"),
        ("[[tolerance]]\nignore = 1", "ignore must be true or false"),
        ('[[tolerance]]\natol = "1"', "atol must be a number"),
        ("[[tolerance]]\nrtol = -1", "rtol must be a number that is not negative"),
        ("[[tolerance]]\natol = nan", "atol must be a number"),
        ("[[tolerance]]\ntimes = inf", "times must be a number"),
        (f"[[tolerance]]\ntimes = {'9' * 400}", "times must be a number"),
        (f"[[tolerance]]\ntimes = {'9' * 5000}", "f.toml is no TOML:"),
        ("[[tolerance]]\ntimes = true", "times must be a number"),
        ("[[tolerance]]\ntimes = 0", "would let nothing pass"),
        ("[[tolerance]]\ntimes = 2\nnode = 3", 'node must be a text, like node = "*"'),
        ("[[tolerance]]\ntimes = 2\nnode = ''", "node must be a text"),
        ("[[tolerance]\ntimes = 2", "f.toml is no TOML:"),
        ("tolerance = " + "[" * 5000, "f.toml is no TOML:"),
    ],
)
def test_what_nobody_understands_is_an_error_that_says_where(text: str, words: str) -> None:
    with pytest.raises(OverridesError) as raised:
        parse_overrides(text, "f.toml")
    assert words in str(raised.value) and str(raised.value).startswith("f.toml")


def test_a_file_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    with pytest.raises(OverridesError, match="cannot be read: No such file"):
        load_overrides(tmp_path / "none.toml")
    path = tmp_path / "rules.toml"
    path.write_bytes(b"\xff")
    with pytest.raises(OverridesError, match="no text in UTF-8"):
        load_overrides(path)
    path.write_bytes(b"#" * (MAX_BYTES + 1))
    with pytest.raises(OverridesError, match="larger than"):
        load_overrides(path)
    path.write_text(RULES)
    assert len(load_overrides(path).rules) == 3


def test_no_rules_are_fine() -> None:
    assert parse_overrides("", "f.toml").rules == ()


def test_times_the_floor() -> None:
    reference = np.ones(8, np.float32)
    actual = reference + np.float32(1e-5)
    alone = compare(reference, actual, floor=Floor(1e-6, 1e-7), terms=1.0)
    more = compare(reference, actual, floor=Floor(1e-6, 1e-7), terms=1.0, override=Override(times=4.0))
    assert not alone.passed and more.passed
    assert more.factor == pytest.approx(alone.factor / 4) and more.floor == pytest.approx(alone.floor * 4)
    assert more.override.startswith("4 times the floor") and alone.override == ""


def test_a_tolerance_of_the_user_takes_the_place_of_the_rule() -> None:
    reference, actual = np.array([100.0, 1.0], np.float16), np.array([101.0, 1.0], np.float16)
    assert compare(reference, actual, floor=EXACT, override=Override(rtol=0.02)).passed
    result = compare(reference, actual, floor=EXACT, override=Override(atol=0.5))
    assert not result.passed and result.factor == 2.0 and result.floor_origin == "override"
    counts = np.array([3, 5])
    assert compare(counts, counts + 1, override=Override(atol=1.0)).passed
    assert not compare(counts, counts + 2, override=Override(atol=1.0)).passed
    assert not compare(reference, np.array([np.nan, 1], np.float16), override=Override(atol=9.0)).passed
    assert not compare(reference, actual, override=Override(atol=0.0)).passed


def test_times_of_equal_bits_are_equal_bits() -> None:
    result = compare(np.array([3]), np.array([4]), override=Override(times=100.0))
    assert not result.passed and result.override == ""


def test_what_is_ignored_is_not_compared_and_no_pass() -> None:
    result = compare(np.ones(3), np.ones(3), override=Override(ignore=True, reason="known"))
    assert not result.passed and result.compared == 0 and result.reason == "ignored everywhere: known"
