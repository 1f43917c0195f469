"""Tests that leave home: one kernel with its data, as a pytest that needs nothing of this project."""

from tapml_tui.export.exhibit import CannotExport, Exhibit, Output
from tapml_tui.export.writing import check_place, file_name, write_test

__all__ = ["CannotExport", "Exhibit", "Output", "check_place", "file_name", "write_test"]
