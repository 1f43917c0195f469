"""The lines of the user's model that made a node, out of the stack that torch.export kept."""

from __future__ import annotations

import os
import re
from functools import lru_cache
from pathlib import PurePath

from trace_format.model import SourceLine

MAX_LINES = 8

_FRAME = re.compile(r'^\s*File "(?P<file>[^"\n]+)", line (?P<line>\d+), in (?P<function>.+)$')
_PACKAGES = re.compile(r".*[/\\](?:site|dist)-packages[/\\]")


@lru_cache(maxsize=4096)
def source_lines(stack_trace: str, folder: str) -> tuple[SourceLine, ...]:
    """Frames of a stack trace, innermost first; those inside torch itself come after the model's own.

    Args:
        stack_trace: As `traceback.format_list` writes it, outermost frame first.
        folder: Where the model file lies: paths below it are written relative to it, so that a trace
            says nothing about the machine that it was carved on.
    """
    frames: list[SourceLine] = []
    lines = stack_trace.splitlines()
    for i, line in enumerate(lines):
        if match := _FRAME.match(line):
            code = lines[i + 1].strip() if i + 1 < len(lines) and not _FRAME.match(lines[i + 1]) else ""
            frames.append(SourceLine(_short(match["file"], folder), int(match["line"]), match["function"], code))
    frames.reverse()
    return tuple(sorted(frames, key=lambda f: f.file.startswith("torch/"))[:MAX_LINES])


def _short(file: str, folder: str) -> str:
    if _PACKAGES.match(file):
        return PurePath(_PACKAGES.sub("", file)).as_posix()
    if folder and file.startswith(folder + os.sep):
        return PurePath(os.path.relpath(file, folder)).as_posix()
    return PurePath(file).name
