"""The suite is as large as it is said to be, and its tables count right."""

from __future__ import annotations

import dataclasses
import json
import random
import re
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from tests.faults import table
from tests.faults.arithmetic import FREEDOM, benign, of_name
from tests.faults.faults import KINDS
from tests.faults.peers import CRITERIA
from tests.faults.records import BENIGN, EIGHTFOLD, GROSS, Record, faults, largest_error, within

HERE = Path(__file__).parent


def record(**changes: object) -> Record:
    """A gross fault that we find."""
    found = Record("isolated", "aten.linear", "float32", "scale", GROSS, True, 9.0, frozenset(), 100.0, "scale")
    return dataclasses.replace(found, **changes)  # type: ignore[arg-type]


def test_every_kind_has_a_kernel_and_there_are_enough() -> None:
    made = {name for file in ("damaged", "miscomputed") for name in _functions(HERE / f"{file}.py")}
    assert made == set(KINDS) and len(KINDS) >= 16
    operators = set(re.findall(r'^    "([a-z_.0-9]+)": [a-z0-9_]+,$', (HERE / "operators.py").read_text(), re.M))
    assert operators == set(FREEDOM)


def _functions(file: Path) -> list[str]:
    return re.findall(r"^def ([a-z]\w+)\(making: Making\)", file.read_text(), re.M)


def test_there_are_200_benign_variants_and_their_names_are_understood() -> None:
    draw, count = random.Random(0), 0
    for operator in FREEDOM:
        for dtype in ("float32", "float16", "bfloat16"):
            names = benign(operator, dtype, draw)
            assert len(set(names)) == len(names)
            count += len(names)
            for name in names:
                assert name == "plain" or of_name(name, dtype) != of_name("", dtype)
    assert count >= 200


def test_a_goal_that_is_missed_is_said() -> None:
    assert table.missed_goals([record(), record(strength=BENIGN, kind="plain", found=False)]) == []
    assert "50.00%" in table.missed_goals([record(), record(found=False)])[0]
    assert "1 false alarms" in table.missed_goals([record(), record(strength=BENIGN, kind="plain")])[0]
    rival = frozenset([next(iter(CRITERIA))])
    assert "does as well" in table.missed_goals([record(peers=rival)])[0]
    assert "diagnoses" in table.missed_goals([record(diagnosis="offset")])[0]


def test_what_lies_within_the_benign_envelope_is_no_fault() -> None:
    assert faults([record(), record(envelopes=1.0), record(strength=BENIGN, kind="plain")]) == [record()]


def test_the_diagnosis_of_a_faint_sign_is_a_scale() -> None:
    assert table.diagnosed(record(kind="sign", diagnosis="sign")) == "right"
    assert table.diagnosed(record(kind="sign", strength=EIGHTFOLD, diagnosis="scale")) == "right"
    assert table.diagnosed(record(kind="sign", diagnosis="")) == "none"
    assert table.diagnosed(record(kind="stale", strength=EIGHTFOLD, diagnosis="scale")) == ""


def test_a_record_is_written_down_and_read_again() -> None:
    written = record(peers=frozenset(["MSE 1e-4"]), envelopes=float("inf"), factor=np.float64(2.5))
    assert Record.from_json(json.loads(json.dumps(written.to_json()))) == written


def test_what_is_between_healthy_results_or_next_to_one_is_within() -> None:
    one = np.array([1.0, -2.0, 0.0], np.float16)
    more = one + np.float16(0.1)
    up = np.nextafter(one, np.float16(9))
    assert within(one, one, one) and within(one, one, up) and within(up, up, one)
    assert not within(one, one, np.nextafter(up, np.float16(9)))
    assert within(one, more, one + np.float16(0.05)) and within(one, more, np.nextafter(more, np.float16(9)))
    assert not within(one, more, one - np.float16(0.01))
    assert not within(one, more, np.array([np.nan, -2.0, 0.0], np.float16))
    assert within(*(array.astype(ml_dtypes.bfloat16) for array in (one, more, one)))


def test_the_largest_error() -> None:
    one = np.array([1.0, -2.0, 0.0], np.float16)
    assert largest_error(one, one + np.float16(0.5)) == 0.5
    assert largest_error(one, np.array([np.nan, -2.0, 0.0], np.float16)) == np.inf


@pytest.mark.torch  # Polygraphy imports it
def test_criteria_of_others_miss_what_they_are_known_to_miss() -> None:
    """The table of injected bugs that averages and constants do not see."""
    reference = (0.05 * np.random.default_rng(0).standard_normal((64, 4096))).astype(np.float32)
    tail = reference.copy()
    tail[:, -32:] = 0.0
    assert not {name for name, agree in CRITERIA.items() if not agree(reference, reference)}
    missed = {name for name, agree in CRITERIA.items() if agree(reference, tail)}
    assert missed == {"mlc debug_compare", "cosine 0.99", "PCC 0.99", "SNR 20 dB", "MSE 1e-4"}
    missed = {name for name, agree in CRITERIA.items() if agree(reference, reference * np.float32(1.5))}
    assert missed == {"mlc debug_compare", "cosine 0.99", "PCC 0.99"}
