"""Questions that take many runs: who is to blame, and what can be migrated. Kept, until they are asked again."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from tapml_tui.engine.answering import Answers
from tapml_tui.engine.blaming import BlameReport, blame_placement
from tapml_tui.engine.commands import Mode
from tapml_tui.engine.executor import SOURCE, Executor, Waiting
from tapml_tui.engine.ledger import Ledger, LedgerEntry
from tapml_tui.engine.migrating import Migrator
from tapml_tui.engine.placement import REFERENCE
from tapml_tui.engine.probing import Prober
from tapml_tui.engine.views import Views
from trace_format import Trace

Progress: TypeAlias = Callable[[int, int], None]


class Investigator:
    """Asks a session's trace under many placements.

    Attributes:
        blame: What was found last, or None.
        ledger: What is known of each signature on each target.
        migrated: The entries of the last migration, in graph order.
    """

    def __init__(self, trace: Trace, executor: Executor, views: Views, answers: Answers) -> None:
        """Nothing asked yet; the ledger is in memory until another is set."""
        self.blame: BlameReport | None = None
        self.ledger = Ledger()
        self.migrated: tuple[LedgerEntry, ...] = ()
        self._trace = trace
        self._executor = executor
        self._views = views
        self._prober = Prober(trace, executor, views.backend_ids, answers)

    def find_blame(self, case: int, on_progress: Progress) -> Waiting[BlameReport]:
        """Who breaks the answer of a case, as everything is placed now.

        Raises:
            NothingJudged: If no output could be judged.
        """
        view = self._views.get(case, Mode.CHAINED)
        self.blame = None
        self.blame = yield from blame_placement(view, self._executor, self._prober, on_progress)
        return self.blame

    def target(self) -> str | None:
        """The backend that is migrated to: the first that is not the source."""
        return next((one for one in self._views.backend_ids if one not in (SOURCE, REFERENCE)), None)

    def migrator(self, target: str) -> Migrator:
        """One that moves the whole trace to `target`, beside the session."""
        return Migrator(self._trace, self._executor, self._prober, self._views.backend_ids, target)
