"""Python of the user's own, executed because an option names the file: never because a trace does."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from types import ModuleType

from tapml_tui.backends import messages


class NotExecuted(Exception):
    """A file of the user's raised. `reason` is one line, `detail` the whole message."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason)
        self.reason, self.detail = reason, detail


def execute(file: str, option: str) -> ModuleType:
    """Execute a file as a module of its own, with its folder on sys.path.

    Args:
        file: FILE.py.
        option: That named it, for the message.

    Raises:
        NotExecuted: If it is no Python file, or raises.
    """
    path = Path(file)
    name = f"tapml_tui_user_{path.stem}"
    sys.path.insert(0, str(path.parent))
    try:
        spec = importlib.util.spec_from_file_location(name, path)
        if spec is None or spec.loader is None:
            raise ImportError(f"{file} is no Python file")
        module = sys.modules[name] = importlib.util.module_from_spec(spec)  # dataclasses look their module up
        spec.loader.exec_module(module)
    except Exception as error:  # the user's code may raise anything
        reason, detail = messages.of_exception(error)
        raise NotExecuted(f"the {option} file {path.name}: {reason}", detail) from error
    return module


def digest(files: Iterable[str]) -> str:
    """What such files say, as one short string: what they gave is no longer known when they change; "" of none."""
    said = []
    for file in files:
        with suppress(OSError):
            said.append(hashlib.sha256(Path(file).read_bytes()).hexdigest())
    return " ".join(said)
