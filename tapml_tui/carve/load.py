"""Running the user's model file and calling the function in it."""

from __future__ import annotations

import importlib.util
import sys
import traceback
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import torch

from tapml_tui.carve.errors import CarveError
from tapml_tui.carve.workload import Workload, WorkloadCase

_RETURNS = "FUNC must return (module, args), (module, args, kwargs) or a tapml_tui.carve.Workload"


def load(function: str) -> tuple[Workload, Path]:
    """Execute FILE.py of `FILE.py:FUNC` as the user's own code, with its folder on sys.path, and call FUNC.

    Returns:
        What it builds, and the file.

    Raises:
        CarveError: No such file or function, or it gives something else, or raises.
    """
    name, colon, attribute = function.rpartition(":")
    if not colon or not name or not attribute.isidentifier():
        raise CarveError(f"{function} does not name a function", remedy="write FILE.py:FUNC", usage=True)
    path = Path(name)
    if not path.is_file():
        raise CarveError(f"there is no file {name}", remedy="check the name", usage=True)
    build = _function(path.absolute(), attribute)
    try:
        built = build()
    except Exception as error:
        raise CarveError(
            f"{attribute}() raised {type(error).__name__}: {_first_line(error)}",
            why=_place(error, path),
            remedy="call it in Python to see more; the whole message is in the log named below",
        ) from error
    return as_workload(built, attribute), path.absolute()


def as_workload(built: Any, name: str) -> Workload:
    """What FUNC returned, as a workload.

    Raises:
        CarveError: If it is none of the three forms.
    """
    match built:
        case Workload():
            return built
        case (torch.nn.Module() as module, tuple() | list() as args):
            return Workload(module, (WorkloadCase("input", tuple(args)),))
        case (torch.nn.Module() as module, tuple() | list() as args, Mapping() as kwargs):
            return Workload(module, (WorkloadCase("input", tuple(args), kwargs),))
        case (torch.nn.Module(), torch.Tensor()):
            found = "a module and a tensor; put the tensor into a tuple: (module, (x,))"
        case tuple() | list():
            found = f"a tuple of {', '.join(type(item).__name__ for item in built[:6]) or 'nothing'}"
        case torch.nn.Module():
            found = "a module without arguments; return (module, args)"
        case _:
            found = "None" if built is None else f"a {type(built).__name__}"
    raise CarveError(f"{name}() returned {found}", remedy=_RETURNS, usage=True)


def _function(path: Path, attribute: str) -> Any:
    sys.path.insert(0, str(path.parent))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise CarveError(f"{path.name} is no Python file", remedy="give it the ending .py", usage=True)
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # dataclasses and pickled classes look their module up by name
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise CarveError(
            f"{path.name} could not be executed: {type(error).__name__}: {_first_line(error)}",
            why=_place(error, path),
            remedy="run it with python first",
        ) from error
    if not callable(build := getattr(module, attribute, None)):
        functions = [n for n, v in vars(module).items() if callable(v) and getattr(v, "__module__", "") == path.stem]
        near = get_close_matches(attribute, functions, n=1)
        raise CarveError(
            f"{path.name} has no function {attribute}",
            why=f"it defines {', '.join(functions[:8])}" if functions else "it defines no function",
            remedy=f"did you mean {near[0]}?" if near else _RETURNS,
            usage=True,
        )
    return build


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or ["no message"])[0][:300]


def _place(error: BaseException, path: Path) -> str:
    """The last line of the user's file that took part."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if Path(f.filename).name == path.name]
    if isinstance(error, SyntaxError):
        return f"{path.name}, line {error.lineno}: {(error.text or '').strip()}"
    return f"{path.name}, line {frames[-1].lineno}: {frames[-1].line}" if frames else ""
