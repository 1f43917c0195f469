"""Several runs side by side: each goes on as soon as what it waits for is there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tapml_tui.engine.executor import Awaited, Waiting


@dataclass(frozen=True, slots=True)
class AnyOf:
    """What is waited for as one job is: the first of several."""

    jobs: Sequence[Awaited]

    @property
    def done(self) -> bool:
        """Whether one of them was answered."""
        return any(job.done for job in self.jobs)


def together(runs: Sequence[Waiting[object]]) -> Waiting[None]:
    """Drive runs that need nothing of each other, until all have ended."""
    awaited: dict[Waiting[object], Awaited | None] = dict.fromkeys(runs)
    while awaited:
        able = [run for run, job in awaited.items() if job is None or job.done]
        for run in able:
            try:
                awaited[run] = next(run)
            except StopIteration:
                del awaited[run]
        yield None if able else AnyOf([job for job in awaited.values() if job is not None])
