"""What a test takes along of the user's own Python, so that it runs where that is not."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from tapml_tui.backends.user_code import with_imports


@dataclass(frozen=True, slots=True)
class Taken:
    """A file of --lower or --load, and what of its folder it imports.

    Attributes:
        name: Of the file, relative to the test.
        contents: Of all of them, by name relative to the test.
    """

    name: str
    contents: dict[str, bytes]

    @property
    def folder(self) -> str:
        """Beside the test; its name tells other contents apart, as tests of several files share a folder."""
        return self.name.partition("/")[0]

    def write(self, beside: Path) -> None:
        """Write all of them beside a test."""
        for name, content in self.contents.items():
            path = beside / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


def take(file: str) -> Taken:
    """Read a file of the user's and what it imports.

    Raises:
        OSError: If one cannot be read.
    """
    root = Path(file).parent
    read = {path.relative_to(root).as_posix(): path.read_bytes() for path in with_imports([file])}
    folder = f"user_files_{hashlib.sha256(repr(sorted(read.items())).encode()).hexdigest()[:8]}"
    return Taken(f"{folder}/{Path(file).name}", {f"{folder}/{name}": content for name, content in read.items()})
