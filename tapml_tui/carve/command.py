"""`tapml-tui carve FILE.py:FUNC -o TRACE`."""

from __future__ import annotations


def run(
    function: str,
    out: str,
    *,
    floors: bool = True,
    max_size: int | None = None,
    include: str | None = None,
    dtype: str | None = None,
    weights: str | None = None,
    strict: bool = False,
) -> int:
    """Carve the model that `FILE.py:FUNC` builds; talk goes to stderr.

    Returns:
        0 if the trace is written and whole; 1 if the model or the disk did not let it be; 2 if the
        request was wrong. Raises only what is a fault of this program, or what the model's own code raises on import.
    """
    raise NotImplementedError
