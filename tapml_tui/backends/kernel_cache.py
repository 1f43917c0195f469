"""Compiled kernels on disk: from (signature, tvm target, versions) to (library, function), or to why there is none.

An index in SQLite, which any number of processes may use at a time, and libraries beside it. Nothing
here may stop the program: an index that cannot be read is made anew, a library that is not what the
index says is compiled again.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import sqlite3
import time
import zlib
from collections.abc import Callable, Collection
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import msgpack

from tapml_tui.backends.protocol import Stage

DEFAULT_BUDGET = 2 << 30
_SCHEMA = 1
_TABLES = """
create table if not exists libraries (
    name text primary key, bytes integer not null, crc integer not null, used real not null);
create table if not exists kernels (
    key text primary key, library text, body blob not null, used real not null);
create index if not exists by_library on kernels (library);
"""
_MAX_ROWS = 200_000
_LEFTOVER_AGE = 3600.0  # seconds; what is younger may be in the making


@dataclass(frozen=True, slots=True)
class Kernel:
    """How a unit runs on the device.

    Attributes:
        library: File, "" for an identity.
        function: Name in the library, "" for an identity.
        identity: For each output the input that is handed on; () if something is computed.
    """

    library: str
    function: str
    identity: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class NoKernel:
    """Why a unit cannot run on the device; fields as in `protocol.Failed`."""

    unsupported: bool
    stage: Stage
    reason: str
    detail: str


def versions(target: str, users: str, allow: Collection[str]) -> str:
    """Everything besides the signature that a kernel depends on, as one string."""
    ours = hashlib.sha256()
    for file in sorted((Path(__file__).parent / "compiler").glob("*.py")):
        ours.update(file.read_bytes())
    theirs = [f"{name} {installed_version(name)}" for name in ("apache-tvm", "apache-tvm-ffi", "torch")]
    return "\n".join([target, *theirs, ours.hexdigest(), users, *sorted(allow)])


def installed_version(name: str) -> str:
    """Of a distribution; "none" if it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return "none"


class KernelCache:
    """The kernels of one tvm target. One thread uses it; other processes may use the same folder."""

    def __init__(
        self, folder: Path, context: str, *, budget: int = DEFAULT_BUDGET, on_log: Callable[[str], None]
    ) -> None:
        """Open it, or make it.

        Args:
            folder: Where; made with mode 0700.
            context: From `versions`.
            budget: Bytes of all libraries together; the least recently used go first.
            on_log: Called with a line where something had to be thrown away.

        Raises:
            OSError: If the folder cannot be made or written to.
            sqlite3.Error: If no index can be made in it.
        """
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
        self.folder = folder
        self._context = context
        self._budget = budget
        self._log = on_log
        self._checked: set[str] = set()
        try:
            self._index = self._open()
        except sqlite3.DatabaseError as error:
            on_log(f"the kernel cache's index could not be read ({error}); it is made anew")
            self._remove_index()
            self._index = self._open()

        self._remove_leftovers()

    def close(self) -> None:
        """Let go of the index."""
        self._index.close()

    def get(self, signature: str) -> Kernel | NoKernel | None:
        """What is known of a signature, or None."""
        key = self._key(signature)
        try:
            row = self._index.execute("select library, body from kernels where key = ?", (key,)).fetchone()
            if row is None:
                return None
            found = self._decode(*row)
            if found is None:
                self._index.execute("delete from kernels where key = ?", (key,))
            else:
                self._index.execute("update kernels set used = ? where key = ?", (time.time(), key))
            return found
        except sqlite3.Error as error:
            self._log(f"the kernel cache could not be read: {error}")
            return None

    def put(self, signature: str, kernel: Kernel | NoKernel) -> None:
        """Remember what became of a signature; a library must lie in the cache's folder."""
        library = Path(kernel.library).name if isinstance(kernel, Kernel) and kernel.library else None
        if isinstance(kernel, Kernel):
            body = msgpack.packb([True, kernel.function, list(kernel.identity)])
        else:
            said = [False, kernel.unsupported, str(kernel.stage), kernel.reason, kernel.detail]
            body = msgpack.packb(said, unicode_errors="replace")  # it may name a path that is no UTF-8
        now = time.time()
        try:
            if library is not None and library not in self._checked:
                data = (self.folder / library).read_bytes()
                self._index.execute(
                    "insert or replace into libraries values (?, ?, ?, ?)", (library, len(data), zlib.crc32(data), now)
                )
                self._checked.add(library)
                self._evict()
            self._index.execute(
                "insert or replace into kernels values (?, ?, ?, ?)", (self._key(signature), library, body, now)
            )
        except (sqlite3.Error, OSError) as error:
            self._log(f"a kernel could not be kept in the cache: {error}")

    def forget(self, signature: str) -> None:
        """Drop what is known of a signature, and with it its library."""
        with contextlib.suppress(sqlite3.Error):
            row = self._index.execute("select library from kernels where key = ?", (self._key(signature),)).fetchone()
            if row is not None and row[0] is not None:
                self._forget(row[0])

    def _decode(self, library: str | None, body: bytes) -> Kernel | NoKernel | None:
        try:
            found, *rest = msgpack.unpackb(body)
            if not found:
                unsupported, stage, reason, detail = rest
                return NoKernel(bool(unsupported), Stage(stage), str(reason), str(detail))
            function, identity = rest
        except (ValueError, TypeError, msgpack.UnpackException):
            return None
        if library is None:
            return Kernel("", "", tuple(identity))
        return Kernel(str(self.folder / library), str(function)) if self._is_whole(library) else None

    def _is_whole(self, library: str) -> bool:
        """Whether a library is still, byte for byte, what was put there: a damaged one would crash the device."""
        if library in self._checked:
            return True
        row = self._index.execute("select bytes, crc from libraries where name = ?", (library,)).fetchone()
        try:
            data = (self.folder / library).read_bytes() if row and Path(library).name == library else b""
        except OSError:
            data = b""
        if row is None or len(data) != row[0] or zlib.crc32(data) != row[1]:
            self._log(f"{library} in the kernel cache is damaged; its kernels are compiled again")
            self._forget(library)
            return False
        self._checked.add(library)
        self._index.execute("update libraries set used = ? where name = ?", (time.time(), library))
        return True

    def _evict(self) -> None:
        total = self._index.execute("select coalesce(sum(bytes), 0) from libraries").fetchone()[0]
        rows = self._index.execute("select name, bytes from libraries order by used").fetchall()
        for name, size in rows:
            if total <= self._budget or name in self._checked:
                break
            self._forget(name)
            total -= size
        count = self._index.execute("select count(*) from kernels").fetchone()[0]
        if count > _MAX_ROWS:
            self._index.execute(
                "delete from kernels where key in (select key from kernels order by used limit ?)", (count - _MAX_ROWS,)
            )

    def _remove_leftovers(self) -> None:
        """What a compiler left that was killed before its library was put into the index."""
        with contextlib.suppress(sqlite3.Error, OSError):
            known = {name for (name,) in self._index.execute("select name from libraries")}
            for path in self.folder.iterdir():
                if path.name.startswith("index.") or path.name in known:
                    continue
                if time.time() - path.stat().st_mtime > _LEFTOVER_AGE:
                    if path.is_dir() and not path.is_symlink():
                        shutil.rmtree(path, ignore_errors=True)
                    else:
                        path.unlink()

    def _forget(self, library: str) -> None:
        self._index.execute("delete from kernels where library = ?", (library,))
        self._index.execute("delete from libraries where name = ?", (library,))
        self._checked.discard(library)
        with contextlib.suppress(OSError):
            (self.folder / Path(library).name).unlink()

    def _key(self, signature: str) -> str:
        return hashlib.sha256(f"{signature}\n{self._context}".encode()).hexdigest()

    def _open(self) -> sqlite3.Connection:
        index = sqlite3.connect(self.folder / "index.sqlite", timeout=5, isolation_level=None, check_same_thread=False)
        try:
            index.execute("pragma journal_mode = wal")
            index.execute("pragma synchronous = normal")
            if index.execute("pragma user_version").fetchone()[0] not in (0, _SCHEMA):
                raise sqlite3.DatabaseError("it is of another version")
            index.executescript(_TABLES)
            index.execute(f"pragma user_version = {_SCHEMA}")
        except BaseException:
            index.close()
            raise
        return index

    def _remove_index(self) -> None:
        for suffix in ("", "-wal", "-shm"):
            with contextlib.suppress(OSError):
                os.unlink(self.folder / f"index.sqlite{suffix}")
        for library in (*self.folder.glob("*.so"), *self.folder.glob("*.tar")):  # nobody finds them any more
            with contextlib.suppress(OSError):
                library.unlink()
