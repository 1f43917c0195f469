"""`tapml-tui migrate`: operators move to the target, signature by signature, as long as the answer holds."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TextIO

from rich.console import Console
from rich.text import Text

from tapml_tui.backends.protocol import Backend
from tapml_tui.compare.overrides import Overrides
from tapml_tui.engine import Engine
from tapml_tui.engine.answering import Answer
from tapml_tui.engine.commands import Migrate, RunNodes, SelectCase
from tapml_tui.engine.comparing import NO_OVERRIDES
from tapml_tui.engine.events import Snapshot
from tapml_tui.engine.ledger import LEDGER, LedgerEntry, Migration
from tapml_tui.headless import strict_json
from tapml_tui.headless.answers import answer_document, measures_of
from tapml_tui.headless.conversation import Conversation
from tapml_tui.headless.exits import CommandError, Exit
from tapml_tui.headless.outputs import STDOUT, whole
from tapml_tui.headless.progress import progress_of
from trace_format import Trace, open_trace
from trace_format.text import printable

WHOLE = 1 << 62
_STYLES = {Migration.MIGRATED: "green", Migration.BLOCKED: "red", Migration.CARVED_PASS: "yellow", Migration.SOURCE: ""}


@dataclass(frozen=True, slots=True)
class MigrateRequest:
    """What was asked for on the command line.

    Attributes:
        trace: The file.
        json: File of the ledger and the answers, "-" for stdout, or None.
        again: Whether to try also what the ledger knows.
        run: File that keeps the computed values; None: in TRACE.runs/.
        names: What the ledger calls backends, by id.
        overrides: The user's own tolerances.
    """

    trace: str
    json: str | None = None
    again: bool = False
    run: str | None = None
    names: Mapping[str, str] = field(default_factory=dict)
    overrides: Overrides = NO_OVERRIDES


def migrate(request: MigrateRequest, make_backends: Callable[[], Sequence[Backend]]) -> int:
    """Migrate a trace; what was reached is kept however it ends.

    Returns:
        The exit code: 0 if something runs on the target and the answer holds.

    Raises:
        TraceError: If the trace cannot be read.
        CommandError: If it cannot begin, or nothing can be held on to.
        OSError: If the JSON cannot be written.
    """
    begun = time.monotonic()
    with ExitStack() as stack:
        trace = stack.enter_context(open_trace(request.trace))
        if not trace.cases:
            raise CommandError("this trace has no cases", why="nothing was recorded", remedy="carve the model again")
        file = stack.enter_context(whole(request.json)) if request.json is not None else None
        show = stack.enter_context(progress_of(trace))
        talk = stack.enter_context(
            Conversation(
                lambda on_event: Engine(
                    trace,
                    make_backends(),
                    on_event=on_event,
                    run_path=Path(request.run) if request.run is not None else None,
                    fetch_limit=WHOLE,
                    initial="source",
                    names=request.names,
                    overrides=request.overrides,
                ),
                show,
            )
        )
        ledger = talk.engine.run_path.with_name(LEDGER)
        done = _migrated(talk, request.again, ledger)
        answers = list(_answers(talk, trace))
        seconds = time.monotonic() - begun
        if file is not None:
            print(strict_json.dumps(_document(request, done, answers, seconds), indent=1), file=file)
        _print(done, answers, seconds, ledger, sys.stderr if request.json == STDOUT else sys.stdout)
    holds = all(answer.passed is not False for _, answer in answers)
    moved = any(entry.status is Migration.MIGRATED for entry in done.migrated)
    return Exit.OK if holds and moved else Exit.FAILED


def _migrated(talk: Conversation, again: bool, ledger: Path) -> Snapshot:
    try:
        return talk.must(Migrate(again=again))
    except KeyboardInterrupt:
        raise CommandError(
            "interrupted",
            why=f"what was settled until now is kept in {printable(str(ledger))}",
            remedy="run it again: it goes on from there",
            code=Exit.INTERRUPTED,
        ) from None


def _answers(talk: Conversation, trace: Trace) -> Iterator[tuple[str, Answer]]:
    """The answer of each case under the placement that was reached: everything was computed already."""
    for case, recorded in enumerate(trace.cases):
        talk.must(SelectCase(case))
        answer = talk.must(RunNodes()).answer
        if answer is not None:
            yield recorded.name, answer


def _document(
    request: MigrateRequest, done: Snapshot, answers: Sequence[tuple[str, Answer]], seconds: float
) -> dict[str, Any]:
    return {
        "schema": 1,
        "trace": request.trace,
        "message": done.message,
        "seconds": seconds,
        "summary": summary_of(done.migrated),
        "answers": [answer_document(case, answer) for case, answer in answers],
        "ledger": [asdict(entry) for entry in done.migrated],
    }


def summary_of(entries: Sequence[LedgerEntry]) -> dict[str, int]:
    """How many signatures have which status."""
    counts = Counter(entry.status for entry in entries)
    return {"signatures": len(entries), **{status.value: counts[status] for status in Migration}}


def _print(done: Snapshot, answers: Sequence[tuple[str, Answer]], seconds: float, ledger: Path, stream: TextIO) -> None:
    console = Console(file=stream, markup=False, highlight=False, emoji=False, soft_wrap=True)
    for entry in done.migrated:
        line = Text(f"{entry.status.value:11}", _STYLES[entry.status])
        line.append(f" {printable(entry.op.removeprefix('aten.')):32.32} {len(entry.nodes):4} nodes")
        line.append(f"  {entry.factor:.3g} x floor" if not entry.reason and entry.factor else "", "dim")
        console.print(line)
        if entry.reason:
            console.print(Text(f"            {printable(entry.reason, 400)}", "dim"))
    for case, answer in answers:
        verdict = {True: "right", False: "WRONG", None: "not judged"}[answer.passed]
        said = measures_of(answer) or printable(answer.reason)
        console.print(Text(f"answer of case {printable(case, 60)}: {verdict}  {said}"))
    console.print(Text(f"{done.message} ({seconds:.1f} s)", "bold"))
    console.print(Text(f"the ledger: {printable(str(ledger))}", "dim"))
