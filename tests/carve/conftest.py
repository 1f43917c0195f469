"""What the tests of carving share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from trace_format import Trace, open_trace


@pytest.fixture
def carved(tmp_path: Path) -> Iterator[Callable[..., Trace]]:
    """Carve a workload, or (module, args), into a file of its own and open it."""
    from tapml_tui.carve import Workload, carve, carve_workload

    with ExitStack() as stack:

        def open_carved(*what, name: str = "model.trace", **options) -> Trace:
            out = tmp_path / name
            if isinstance(what[0], Workload):
                carve_workload(what[0], out=out, **options)
            else:
                carve(*what, out=out, **options)
            return stack.enter_context(open_trace(out))

        yield open_carved
