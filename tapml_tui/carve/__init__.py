"""PyTorch models recorded as traces."""

from tapml_tui.carve.workload import Handed, Workload, WorkloadCase

__all__ = ["Handed", "Workload", "WorkloadCase"]
