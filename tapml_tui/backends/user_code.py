"""Python of the user's own, executed because an option names the file: never because a trace does."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from modulefinder import ModuleFinder
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
    except BaseException as error:  # the user's code may raise anything, SystemExit too
        reason, detail = messages.of_exception(error)
        raise NotExecuted(f"the {option} file {path.name}: {reason}", detail) from error
    return module


class UserFiles:
    """What such files say, and what of their folders they import: what they gave holds as long as this does.

    Attributes:
        said: All of it, as one short string; "" where there are no files.
    """

    def __init__(self, lower: str | None, load: Sequence[str]) -> None:
        """Read the file of `--lower` and those of `--load`; what cannot be read is told of by who executes it."""
        self._lower, self._load = lower, tuple(load)
        found = {option: with_imports(files) for option, files in (("lower", [lower] if lower else []), ("load", load))}
        self._stamps = {path: _stamp(path) for paths in found.values() for path in paths}
        self.said = "\n".join(" ".join([option, *map(_digest, paths)]) for option, paths in found.items() if paths)

    @property
    def changed(self) -> str:
        """The names of those that were written since; "" if none was. Nothing is read."""
        return ", ".join(path.name for path, stamp in self._stamps.items() if _stamp(path) != stamp)

    def again(self) -> UserFiles:
        """As they are now."""
        return UserFiles(self._lower, self._load)


def refuse_changed(lower: str | None, load: Sequence[str], said: str) -> None:
    """For who executes files that somebody else has read.

    Raises:
        NotExecuted: If they say something else by now: what they give would be taken for what they gave before.
    """
    if UserFiles(lower, load).said != said:
        names = ", ".join(Path(file).name for file in (lower, *load) if file)
        reason = f"{names} changed while the session was open; R takes it up"
        raise NotExecuted(reason, reason)


def with_imports(files: Iterable[str]) -> list[Path]:
    """Each file, what of its folder it imports, and what that imports. Nothing is executed."""
    found: dict[Path, None] = {}
    for file in files:
        found[Path(file)] = None
        finder = ModuleFinder([str(Path(file).parent)])
        with suppress(Exception):  # no Python: it is said when it is executed
            finder.run_script(file)
            imported = [getattr(one, "__file__", None) for one in finder.modules.values()]
            found |= dict.fromkeys(sorted(map(Path, filter(None, imported))))
    return list(found)


def _stamp(path: Path) -> tuple[int, int]:
    try:
        info = path.stat()
    except OSError:
        return 0, 0
    return info.st_mtime_ns, info.st_size


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""
