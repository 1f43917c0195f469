"""Judging values: comparison with a noise floor, verdicts, summaries. numpy and ml_dtypes only."""

from tapml_tui.compare.elementwise import compare
from tapml_tui.compare.indices import compare_indices
from tapml_tui.compare.result import Comparison, Status, Verdict
from tapml_tui.compare.summary import Summary, summarize

__all__ = ["Comparison", "Status", "Summary", "Verdict", "compare", "compare_indices", "summarize"]
