"""Who made a trace, from what, with which versions."""

from __future__ import annotations

import hashlib
import platform
import sys
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from trace_format.model import Provenance

_LIBRARIES = ("numpy", "ml_dtypes", "transformers")


def provenance(
    *,
    command: str,
    model_file: Path | None,
    seed: int | None,
    module: torch.nn.Module,
    strict: bool,
    notes: Sequence[str],
) -> Provenance:
    """What can be known about this carving. Nothing in it names the machine, its user or its folders."""
    tensor = next((t for t in (*module.parameters(), *module.buffers()) if t.is_floating_point()), None)
    versions = [("python", platform.python_version()), ("torch", torch.__version__)]
    with suppress(PackageNotFoundError):  # run out of a source tree
        versions.append(("tapml-tui", version("tapml-tui")))
    # Those that are loaded know their version; looking into their metadata takes milliseconds.
    versions += [(name, str(sys.modules[name].__version__)) for name in _LIBRARIES if name in sys.modules]
    return Provenance(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        command=command,
        versions=tuple(versions),
        model_file=model_file.name if model_file is not None else "",
        model_sha256=hashlib.sha256(model_file.read_bytes()).hexdigest() if model_file is not None else "",
        seed=seed,
        dtype="" if tensor is None else str(tensor.dtype).removeprefix("torch."),
        device="cpu" if tensor is None else str(tensor.device),
        export_options=(
            ("strict", str(strict)),
            ("decompositions", "none (functional only)"),
            # Sums are split by threads: who wants the same bits must compute with as many.
            ("threads", str(torch.get_num_threads())),
        ),
        notes=tuple(notes),
    )
