"""The kernel cache: bounded, shared, and never a reason to stop."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tapml_tui.backends.kernel_cache import Kernel, KernelCache, NoKernel, versions
from tapml_tui.backends.protocol import Stage
from tapml_tui.backends.user_code import NotExecuted, UserFiles, refuse_changed


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the cache is; not there yet."""
    return tmp_path / "deep" / "kernels"


def _open(folder: Path, context: str = "llvm", budget: int = 1 << 20) -> tuple[KernelCache, list[str]]:
    log: list[str] = []
    return KernelCache(folder, context, budget=budget, on_log=log.append), log


def _library(cache: KernelCache, name: str, size: int = 1000) -> str:
    path = cache.folder / name
    path.write_bytes(name.encode().ljust(size, b"."))
    return str(path)


def test_what_is_put_is_found_again_by_another_process(folder: Path) -> None:
    cache, _ = _open(folder)
    kernel = Kernel(_library(cache, "a.so"), "unit_a")
    failure = NoKernel(True, Stage.CONVERT, "refused", "all\nof it")
    cache.put("a", kernel)
    cache.put("identity", Kernel("", "", (0,)))
    cache.put("bad", failure)
    cache.close()
    again, log = _open(folder)
    assert [again.get(s) for s in ("a", "identity", "bad", "new")] == [kernel, Kernel("", "", (0,)), failure, None]
    assert not log


def test_private(folder: Path) -> None:
    folder.mkdir(parents=True, mode=0o777)
    cache, _ = _open(folder)
    assert stat.S_IMODE(cache.folder.stat().st_mode) == 0o700


def test_other_context_other_kernels(folder: Path) -> None:
    cache, _ = _open(folder, "llvm")
    cache.put("a", Kernel(_library(cache, "a.so"), "unit_a"))
    assert _open(folder, "cuda")[0].get("a") is None


def test_versions_change_with_what_a_kernel_depends_on(tmp_path: Path) -> None:
    lower = tmp_path / "lower.py"
    said = []
    for text in ("1", "2", "import beside", "import nowhere", "no Python"):
        lower.write_text(text)
        said += [UserFiles(str(lower), ()).said, UserFiles(None, (str(lower),)).said]
    lower.write_text("import beside")
    (tmp_path / "beside.py").write_text("import further")
    said.append(UserFiles(str(lower), ()).said)
    (tmp_path / "further.py").write_text("1")
    said.append(UserFiles(str(lower), ()).said)
    assert UserFiles(None, ()).said == ""
    found = {versions("llvm", users, ()) for users in said}
    assert len({*found, versions("c", "", ()), versions("c", "", ("x",))}) == len(said) + 2


def test_files_that_were_written_since_are_named(tmp_path: Path) -> None:
    lower = tmp_path / "lower.py"
    lower.write_text("import beside")
    (tmp_path / "beside.py").write_text("a = 1")
    files = UserFiles(str(lower), ())
    assert files.changed == ""
    refuse_changed(str(lower), (), files.said)
    (tmp_path / "beside.py").write_text("a = 22")
    assert files.changed == "beside.py"
    with pytest.raises(NotExecuted, match=r"lower\.py changed while the session was open; R takes it up"):
        refuse_changed(str(lower), (), files.said)
    assert files.again().changed == ""
    lower.unlink()
    assert files.again().said != files.said


@pytest.mark.parametrize("damage", [b"", b"other", b"a.so".ljust(999, b".") + b"!"])
def test_damaged_library_is_compiled_again(folder: Path, damage: bytes) -> None:
    cache, _ = _open(folder)
    cache.put("a", Kernel(_library(cache, "a.so"), "unit_a"))
    cache.close()
    (folder / "a.so").write_bytes(damage)
    again, log = _open(folder)
    assert again.get("a") is None
    assert "damaged" in log[0]
    again.put("a", Kernel(_library(again, "b.so"), "unit_a"))
    assert _open(folder)[0].get("a") == Kernel(str(folder / "b.so"), "unit_a")


def test_missing_library_is_compiled_again(folder: Path) -> None:
    cache, _ = _open(folder)
    cache.put("a", Kernel(_library(cache, "a.so"), "unit_a"))
    cache.close()
    (folder / "a.so").unlink()
    assert _open(folder)[0].get("a") is None


@pytest.mark.parametrize("damage", [b"not a database at all" * 100, b"SQLite format 3\0" + b"\xff" * 5000])
def test_damaged_index_is_made_anew(folder: Path, damage: bytes) -> None:
    cache, _ = _open(folder)
    cache.put("a", Kernel(_library(cache, "a.so"), "unit_a"))
    cache.close()
    for file in folder.glob("index.sqlite*"):
        file.unlink()
    (folder / "index.sqlite").write_bytes(damage)
    again, log = _open(folder)
    assert again.get("a") is None
    assert "made anew" in log[0]
    assert not list(folder.glob("*.so")), "libraries that nobody finds any more"
    again.put("a", Kernel("", "", (0,)))
    assert again.get("a") == Kernel("", "", (0,))


def test_body_that_is_nonsense_is_forgotten(folder: Path) -> None:
    cache, _ = _open(folder)
    cache.put("a", Kernel("", "", (0,)))
    with sqlite3.connect(folder / "index.sqlite") as index:
        index.execute("update kernels set body = ?", (b"\xc1nonsense",))
    assert cache.get("a") is None


def test_least_recently_used_go_first(folder: Path) -> None:
    for name in "abc":
        cache, _ = _open(folder, budget=2500)
        cache.put(name, Kernel(_library(cache, f"{name}.so"), f"unit_{name}"))
        if name == "b":
            assert cache.get("a") is not None
        cache.close()
    left = _open(folder, budget=2500)[0]
    assert sum(file.stat().st_size for file in folder.glob("*.so")) <= 2500
    assert left.get("c") is not None


def test_what_this_session_uses_is_not_evicted(folder: Path) -> None:
    cache, _ = _open(folder, budget=1500)
    kernels = [Kernel(_library(cache, f"{name}.so"), name) for name in "abc"]
    for kernel in kernels:
        cache.put(kernel.function, kernel)
    assert [cache.get(name) for name in "abc"] == kernels


def test_what_a_killed_compiler_left_is_removed(folder: Path) -> None:
    cache, _ = _open(folder)
    cache.put("a", Kernel(_library(cache, "a.so"), "unit_a"))
    (folder / "build-old").mkdir()
    _library(cache, "orphan.so")
    _library(cache, "new.so")
    cache.close()
    for name in ("build-old", "orphan.so", "a.so"):
        os.utime(folder / name, (0, 0))
    assert _open(folder)[0].get("a") is not None
    assert {path.name for path in folder.iterdir() if not path.name.startswith("index.")} == {"a.so", "new.so"}


def test_many_processes_at_once(folder: Path) -> None:
    script = (
        "import sys\nfrom pathlib import Path\n"
        "from tapml_tui.backends.kernel_cache import *\n"
        "cache = KernelCache(Path(sys.argv[1]), 'llvm', on_log=lambda line: sys.exit(line))\n"
        "for i in range(100):\n"
        "    cache.put(f'{sys.argv[2]}-{i}', Kernel('', '', (i,)))\n"
        "    assert cache.get(f'{sys.argv[2]}-{i}') == Kernel('', '', (i,))\n"
    )
    root = Path(__file__).parents[2]
    writers = [
        subprocess.Popen([sys.executable, "-c", script, str(folder), str(i)], cwd=root, stderr=subprocess.PIPE)
        for i in range(3)
    ]
    for writer in writers:
        _, errors = writer.communicate()
        assert writer.returncode == 0, errors.decode()
    cache, _ = _open(folder)
    assert all(cache.get(f"{w}-{i}") == Kernel("", "", (i,)) for w in range(3) for i in range(100))


def test_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        _open(tmp_path / "file" / "kernels")
