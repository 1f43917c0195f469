"""The peer of first paint: a Textual app with the same widgets, empty, that also imports numpy."""

import os

os.environ.setdefault("TEXTUAL_ANIMATIONS", "none")

import numpy  # noqa: F401
from textual.app import App, ComposeResult
from textual.widgets import Footer, Header, Static, TabbedContent, TabPane, Tree


class Empty(App[None]):
    """Header, tree, six tabs, footer."""

    BINDINGS = (("q", "quit", "quit"),)

    def compose(self) -> ComposeResult:
        yield Header()
        yield Tree("operators")
        with TabbedContent():
            for name in ("Compare", "Inputs", "Output", "Code", "Kernel", "Log"):
                with TabPane(name):
                    yield Static(name)
        yield Footer()


if __name__ == "__main__":
    Empty().run()
