"""The debugger without a screen: graph, placement, stepping, judging, one thread that owns it all."""

from tapml_tui.engine.engine import Engine

__all__ = ["Engine"]
