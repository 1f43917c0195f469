"""Diagnosis in words: what kind of wrong a result is. numpy and ml_dtypes only."""

from tapml_tui.compare.diagnosis.arbiter import diagnose
from tapml_tui.compare.diagnosis.result import Diagnosis, Kind

__all__ = ["Diagnosis", "Kind", "diagnose"]
