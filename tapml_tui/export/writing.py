"""From an exhibit to files: a pytest that stands alone, with its data in it, or beside it where that is large."""

from __future__ import annotations

import math
import pprint
import re
from collections.abc import Collection, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tapml_tui.backends.protocol import Call, CallArgument, CallResult, NamedConstant, UnitInput
from tapml_tui.export.exhibit import CannotExport, Exhibit
from tapml_tui.export.user_files import Taken, take
from tapml_tui.regular_file import spare_traces
from trace_format.text import printable

_NAME = re.compile(r"([A-Za-z0-9_]+)\.([A-Za-z0-9_]+)\.[A-Za-z0-9_]+")
_OURS = frozenset({"aten", "prims"})
_WORD = re.compile(r"[A-Za-z0-9_]+")
_PATH_LIKE = re.compile(r"file|path|dir|url|uri", re.IGNORECASE)
_READABLE = 64  # elements
_EMPTY = "CASE: dict[str, Any] = {}\n"


def write_test(exhibit: Exhibit, path: Path) -> tuple[Path, Path | None]:
    """Write a test, and beside it what data is too large to be read in it (.npz, no pickle), and the user's files.

    Returns:
        The test, and its data if there is such a file.

    Raises:
        CannotExport: If the operator cannot be called out of a test, or the test not be there.
        OSError: If it cannot be written, or a file of the user's not be read.
    """
    check_place(path)
    data = path.with_suffix(".npz")
    for place in (path, data):
        spare_traces(place)
    arrays = _arrays(exhibit)
    literals = {name: literal for name, array in arrays.items() if (literal := _literal(array)) is not None}
    large = {name: _bits(array) for name, array in arrays.items() if name not in literals}
    taken = {file: take(file) for file in filter(None, (exhibit.lower, *exhibit.load))}
    text = _text(exhibit, path.name, data.name if large else "", literals, taken)
    if large:
        with data.open("wb") as file:
            np.savez_compressed(file, allow_pickle=False, **large)
    else:
        data.unlink(missing_ok=True)  # of an earlier test of this name
    for one in taken.values():
        one.write(path.parent)
    path.write_text(text, encoding="utf-8")
    return path, data if large else None


def check_place(path: Path) -> None:
    """Refuse a place where no test can be; to be asked before anything is run for it.

    Raises:
        CannotExport: If Python would not take the name, or there is no such folder.
    """
    if path.suffix != ".py":
        raise CannotExport(f"the name of a test ends in .py: that of {path.name} does not")
    if not path.parent.is_dir():
        raise CannotExport(f"there is no folder {path.parent}: make it, or choose another")


def file_name(node: str) -> str:
    """A name for the test of a node: `test_layers_0_mlp_linear_0.py`."""
    path, _, rest = node.rpartition("/")
    operator, _, ordinal = rest.partition("#")
    parts = [path, operator.removeprefix("aten.").removesuffix(".default"), ordinal]
    words = re.sub(r"[^A-Za-z0-9]+", "_", "_".join(filter(None, parts))).strip("_")
    return f"test_{words[:120] or 'kernel'}.py"


def _text(exhibit: Exhibit, name: str, data: str, arrays: Mapping[str, object], taken: Mapping[str, Taken]) -> str:
    """The test as text.

    Args:
        exhibit: What it shows.
        name: Of its file.
        data: Of the file with its data, "" if there is none.
        arrays: What of the data is in the text, as literals.
        taken: What goes along, by the files that the user named.
    """
    template = (files(__package__) / "exported_test.py").read_text(encoding="utf-8")
    said = {**_case(exhibit, {file: one.name for file, one in taken.items()}), "data": data, "arrays": arrays}
    case = f"CASE: dict[str, Any] = {pprint.pformat(said, width=110, sort_dicts=False)}\n"
    if template.count(_EMPTY) != 1:
        raise AssertionError("the template has no place for the case")
    title = "\n".join(map(_quoted, _title(exhibit, sorted({one.folder for one in taken.values()}))))
    head, body = template.split(_EMPTY)
    return head.replace("FILE", _quoted(name), 1).replace("TITLE", title, 1) + case + body


def _title(exhibit: Exhibit, folders: Sequence[str]) -> list[str]:
    (call,) = exhibit.unit.calls
    inputs = ", ".join(f"{spec.dtype}{list(spec.shape)}" for spec in exhibit.unit.inputs)
    lines = [f"{exhibit.node}, in the case {exhibit.case!r}:", f"{call.op}({inputs})"]
    if exhibit.reason:
        lines += ["", f"On {exhibit.target}: {exhibit.reason}"]
    if exhibit.diagnosis:
        lines.append(exhibit.diagnosis)
    if folders:
        lines += ["", f"Beside it: {', '.join(folders)}, the files of --lower and --load and what they import."]
    return lines


def _quoted(line: str) -> str:
    """A line of a docstring out of text that somebody else wrote."""
    return printable(line, 2000).replace("\\", "\\\\").replace('"', "'")


def _case(exhibit: Exhibit, along: Mapping[str, str]) -> dict[str, Any]:
    if len(exhibit.unit.calls) != 1:
        raise CannotExport("a fused unit cannot be exported yet")
    (call,) = exhibit.unit.calls
    _refuse_dangerous(call, exhibit.allow_ops)
    choice = dict(zip(("output", "values", "dim"), exhibit.choice, strict=True)) if exhibit.choice else None
    return {
        "node": printable(exhibit.node, 2000),
        "op": call.op,
        "args": [_argument(value) for value in call.args],
        "kwargs": [[key, _argument(value)] for key, value in call.kwargs],
        "inputs": [spec.dtype for spec in exhibit.unit.inputs],
        "shapes": [list(spec.shape) for spec in exhibit.unit.inputs],
        "outputs": [
            {
                "index": output.index,
                "dtype": spec.dtype,
                "shape": list(spec.shape),
                "judged": output.expected is not None,
                "allowed": output.allowed is not None,
            }
            for output, spec in zip(exhibit.outputs, exhibit.unit.outputs, strict=True)
        ],
        "choice": choice,
        "nan_too": exhibit.nan_too,
        "target": exhibit.target,
        "device": exhibit.device,
        "lower": along.get(exhibit.lower, ""),
        "load": [along[file] for file in exhibit.load],
        "said": printable(f" ({exhibit.diagnosis})", 2000) if exhibit.diagnosis else "",
    }


def _refuse_dangerous(call: Call, allow: Collection[str]) -> None:
    """A trace is somebody else's file; what it calls must be an operator on tensors, or one that the user allowed."""
    match = _NAME.fullmatch(call.op)
    if match is None or (match[1] in _OURS and _PATH_LIKE.search(call.op)):
        raise CannotExport(f"{printable(call.op, 60)} is not called out of a test: only operators on tensors are")
    if match[1] not in _OURS and not {match[1], f"{match[1]}.{match[2]}", call.op} & set(allow):
        raise CannotExport(f"{call.op} is not from aten or prims: allow it with --allow-ops {match[1]}")
    if not all(_WORD.fullmatch(key) for key, _ in call.kwargs):
        raise CannotExport("an argument has a name that is none")


def _argument(value: CallArgument) -> object:
    match value:
        case UnitInput(index):
            return ["input", index]
        case CallResult():
            raise CannotExport("a fused unit cannot be exported yet")
        case NamedConstant(kind, name):
            if kind not in ("dtype", "device", "layout", "memory_format") or not _WORD.fullmatch(name.split(":")[0]):
                raise CannotExport(f"there is no constant {printable(name, 60)} of the kind {printable(kind, 60)}")
            return [kind, name]
        case tuple():
            return ["list", [_argument(item) for item in value]]
        case complex():
            return ["number", repr(value)]
        case float() if not math.isfinite(value):
            return ["number", repr(value)]
    return value


def _arrays(exhibit: Exhibit) -> dict[str, npt.NDArray[Any]]:
    arrays = {f"input{i}": array for i, array in enumerate(exhibit.inputs)}
    for i, output in enumerate(exhibit.outputs):
        if output.expected is not None:
            arrays[f"output{i}"] = output.expected
        if output.allowed is not None:
            arrays[f"allowed{i}"] = output.allowed
    return arrays


def _literal(array: npt.NDArray[Any]) -> object | None:
    """The elements as numbers of Python, as short as they can be; None if that is not for a reader, or not exact."""
    if array.size > _READABLE:
        return None
    literal: object = array.tolist()
    if array.dtype.kind not in "biuc":  # as its own dtype writes it: 0.1, where float32 is 0.10000000149011612
        number = int if "int" in array.dtype.name else float
        literal = np.array([number(str(element)) for element in array.reshape(-1)]).reshape(array.shape).tolist()
    again = np.array(literal, array.dtype)
    finite = array.dtype.kind in "biu" or np.isfinite(again.astype(np.complex128)).all()
    return literal if finite and again.tobytes() == array.tobytes() else None


def _bits(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The dtypes of numpy as they are, others (bfloat16, float8) as integers of their width."""
    return array if array.dtype.kind in "biufc" else array.view(f"u{array.itemsize}")
