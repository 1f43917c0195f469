"""PyTorch models recorded as traces."""

from tapml_tui.carve.carving import Progress, Report, carve, carve_workload
from tapml_tui.carve.errors import CarveError
from tapml_tui.carve.workload import Handed, Workload, WorkloadCase

__all__ = [
    "CarveError",
    "Handed",
    "Progress",
    "Report",
    "Workload",
    "WorkloadCase",
    "carve",
    "carve_workload",
]
