import itertools

from tapml_tui.compare.result import Verdict
from tapml_tui.compare.verdict import decide


def test_the_table_of_the_design() -> None:
    assert decide(on_source=False, chained=True) is Verdict.CLEAN
    assert decide(on_source=False, chained=True, inputs_failed=True) is Verdict.HEALED
    assert decide(on_source=False, chained=False, isolated=False) is Verdict.LOCAL
    assert decide(on_source=False, chained=False, isolated=True, live=False) is Verdict.LOCAL
    assert decide(on_source=False, chained=False, isolated=True, live=True) is Verdict.INHERITED
    assert decide(on_source=False, chained=False, isolated=True, live=True, growth=4.1) is Verdict.AMPLIFIED
    assert decide(on_source=True, chained=False, growth=1.0) is Verdict.INHERITED


def test_a_node_on_the_source_is_never_local() -> None:
    for chained, isolated, live, failed in itertools.product((True, False), *[(None, True, False)] * 2, (True, False)):
        verdict = decide(on_source=True, chained=chained, isolated=isolated, live=live, inputs_failed=failed)
        assert verdict is not Verdict.LOCAL


def test_without_evidence_nobody_is_blamed() -> None:
    assert decide(on_source=False, chained=False) is Verdict.NONE
