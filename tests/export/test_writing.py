"""What is written: a test that Python takes, data without pickle, and nothing of a hostile trace but text."""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from tapml_tui.backends.protocol import (
    Call,
    CallArgument,
    CallResult,
    NamedConstant,
    TensorSpec,
    Unit,
    UnitInput,
)
from tapml_tui.export import CannotExport, Exhibit, Output, file_name, write_test

ARRAY = np.arange(6).reshape(2, 3).astype(ml_dtypes.bfloat16)


def exhibit(op: str = "aten.add.Tensor", *args: CallArgument, array: np.ndarray = ARRAY, **more: Any) -> Exhibit:
    spec = TensorSpec(array.dtype.name, array.shape)
    call = Call(op, args or (UnitInput(0), UnitInput(0)), (("alpha", 0.5),))
    unit = Unit((call,), (spec,), (spec,), (CallResult(0),))
    output = Output(0, array, np.full(array.shape, 0.25))
    given: dict[str, Any] = {"node": "layers.0/aten.add.Tensor#0", "case": "one", "target": "llvm"} | more
    return Exhibit(unit=unit, inputs=(array,), outputs=(output,), **given)


def case_of(path: Path) -> dict[str, Any]:
    for statement in ast.parse(path.read_text()).body:
        if isinstance(statement, ast.AnnAssign) and ast.unparse(statement.target) == "CASE":
            assert statement.value is not None
            return dict(ast.literal_eval(statement.value))
    raise AssertionError("no CASE")


def loaded(test: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(test.stem, test)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["bool", "int8", "uint64", "float16", "bfloat16", "float32", "float64", "complex64",
                                  "float8_e4m3fn", "int4"])  # fmt: skip
@pytest.mark.parametrize("shape", [(), (0, 3), (1,), (2, 3), (8, 8), (5, 13)])
def test_data_keeps_its_bits_and_small_arrays_are_in_the_test(
    tmp_path: Path, name: str, shape: tuple[int, ...]
) -> None:
    dtype = np.dtype(getattr(ml_dtypes, name, name))
    array = (10 * np.random.default_rng(0).normal(size=shape)).astype(np.int64 if name == "uint64" else np.float32)
    array = np.asarray(np.abs(array) % 8 if name == "int4" else array).astype(dtype)
    test, data = write_test(exhibit(array=array), tmp_path / "test_it.py")
    read = loaded(test).recorded("input0", dtype.name, list(shape))
    assert read.dtype == dtype
    assert read.shape == shape
    assert read.tobytes() == array.tobytes()
    assert (data is None) == (array.size <= 64)
    assert (tmp_path / "test_it.npz").exists() == (data is not None)


def test_numbers_are_as_short_as_they_can_be(tmp_path: Path) -> None:
    shown = exhibit(array=np.float32([[0.1, -0.0], [3e38, 1e-45]]))
    test, _ = write_test(shown, tmp_path / "test_it.py")
    assert "[[0.1, -0.0], [3e+38, 1e-45]]" in test.read_text()


@pytest.mark.parametrize("bits", [0x7FC00000, 0x7FC00001, 0x7F800000])
def test_what_python_has_no_number_for_goes_into_the_file(tmp_path: Path, bits: int) -> None:
    array = np.uint32([bits, 0]).view(np.float32)
    test, data = write_test(exhibit(array=array), tmp_path / "test_it.py")
    assert data is not None
    assert loaded(test).recorded("input0", "float32", [2]).tobytes() == array.tobytes()


def test_a_file_of_an_earlier_test_does_not_stay(tmp_path: Path) -> None:
    _, data = write_test(exhibit(array=np.zeros(100, np.float32)), tmp_path / "test_it.py")
    assert data is not None
    write_test(exhibit(), tmp_path / "test_it.py")
    assert not data.exists()


@pytest.mark.parametrize(
    "argument",
    [1, True, None, "mean", 0.5, float("-inf"), float("nan"), 1 + 2j, (1, (2, UnitInput(0)), None),
     NamedConstant("dtype", "float32"), NamedConstant("device", "cuda:0"),
     NamedConstant("memory_format", "channels_last")],
)  # fmt: skip
def test_every_argument_is_a_literal(tmp_path: Path, argument: CallArgument) -> None:
    test, _ = write_test(exhibit("aten.add.Tensor", UnitInput(0), argument), tmp_path / "test_it.py")
    assert len(case_of(test)["args"]) == 2


@pytest.mark.parametrize(
    "text",
    ['"""', "'''\nimport os\n", "\\", 'a"b', "\x1b[31m", "{x}", "TITLE FILE", "CASE: dict[str, Any] = {}",
     "\N{SNOWMAN}", "\ud800"],
)  # fmt: skip
def test_text_out_of_a_trace_stays_text(tmp_path: Path, text: str) -> None:
    shown = exhibit(node=text, case=text, reason=text, diagnosis=text, target=text)
    test, _ = write_test(shown, tmp_path / "test_it.py")
    template = ast.parse(Path(write_test.__code__.co_filename).with_name("exported_test.py").read_text())
    written = ast.parse(test.read_text())
    assert [type(one) for one in written.body] == [type(one) for one in template.body]
    assert "\x1b" not in test.read_text()


@pytest.mark.parametrize(
    "op", ["aten.from_file.default", "os.system.default", "aten.add", "aten.__class__.x.y", "mylib.op.default", ""]
)
def test_what_is_no_operator_on_tensors_is_refused(tmp_path: Path, op: str) -> None:
    with pytest.raises(CannotExport):
        write_test(exhibit(op), tmp_path / "test_it.py")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("allowed", ["mylib", "mylib.op", "mylib.op.default"])
def test_an_operator_of_the_users_is_called_where_it_is_allowed(tmp_path: Path, allowed: str) -> None:
    shown = exhibit("mylib.op.default", allow_ops=(allowed,))
    assert case_of(write_test(shown, tmp_path / "test_it.py")[0])["op"] == "mylib.op.default"
    with pytest.raises(CannotExport, match="--allow-ops mylib"):
        write_test(exhibit("mylib.op.default", allow_ops=("mylib2", "mylib.o")), tmp_path / "test_it.py")


def test_the_users_files_and_what_they_import_are_beside_the_test(tmp_path: Path) -> None:
    home, away = tmp_path / "home", tmp_path / "away"
    for path, text in (
        ("lower.py", "import times, kit.parts\n"),
        ("times.py", "two = 2\n"),
        ("kit/__init__.py", ""),
        ("kit/parts.py", "three = 3\n"),
        ("other.py", ""),
        ("ops/times.py", "two = 4\n"),
        ("ops/load.py", "from times import two\n"),
    ):
        (home / path).parent.mkdir(parents=True, exist_ok=True)
        (home / path).write_text(text)
    away.mkdir()
    shown = exhibit(lower=str(home / "lower.py"), load=(str(home / "ops" / "load.py"),))
    test, _ = write_test(shown, away / "test_it.py")
    case = case_of(test)
    lower, load = Path(case["lower"]), Path(*case["load"])
    written = {path.relative_to(away).as_posix() for path in away.rglob("*.py")}
    assert written == {
        "test_it.py",
        *(f"{lower.parent}/{name}" for name in ("lower.py", "times.py", "kit/__init__.py", "kit/parts.py")),
        *(f"{load.parent}/{name}" for name in ("load.py", "times.py")),
    }
    assert str(tmp_path) not in test.read_text()
    assert Path(loaded(test).beside(case["lower"])).read_text() == "import times, kit.parts\n"
    (home / "times.py").write_text("two = 5\n")
    again, _ = write_test(shown, away / "test_it.py")
    assert case_of(again)["lower"] != case["lower"] and case_of(again)["load"] == case["load"]


def test_a_file_of_the_users_that_is_gone_is_no_half_test(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"gone\.py"):
        write_test(exhibit(lower="gone.py"), tmp_path / "test_it.py")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("constant", [NamedConstant("dtype", "save('x')"), NamedConstant("module", "os")])
def test_a_constant_that_is_none_is_refused(tmp_path: Path, constant: NamedConstant) -> None:
    with pytest.raises(CannotExport):
        write_test(exhibit("aten.add.Tensor", UnitInput(0), constant), tmp_path / "test_it.py")


@pytest.mark.parametrize(
    ("node", "name"),
    [
        ("layers.0.mlp/aten.linear.default#0", "test_layers_0_mlp_linear_0.py"),
        ("/aten.add.Tensor#3", "test_add_Tensor_3.py"),
        ("../../etc/passwd", "test_etc_passwd.py"),
        ("", "test_kernel.py"),
        ("x" * 500, f"test_{'x' * 120}.py"),
    ],
)
def test_names_of_files_are_plain(node: str, name: str) -> None:
    assert file_name(node) == name
