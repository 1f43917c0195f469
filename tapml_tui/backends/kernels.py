"""The kernels of one target: known, in the cache, or being compiled by the compiler worker.

Lives on its backend's actor. The worker is started when the first kernel is missing, so that a
session with a warm cache never waits for it.
"""

from __future__ import annotations

import importlib.util
import sqlite3
import tempfile
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tapml_tui.backends.actor import Actor, Timer
from tapml_tui.backends.frames import Header
from tapml_tui.backends.kernel_cache import Kernel, KernelCache, NoKernel
from tapml_tui.backends.process import WorkerProcess, describe_exit
from tapml_tui.backends.protocol import Deadlines, Stage, Unit
from tapml_tui.backends.settings import CompilerSettings

COMPILER_MISSING = "compiling needs PyTorch and TVM: pip install 'tapml-tui[all]'"
# The first batches are small, so that the first verdict comes early; then few, large ones; towards the
# end smaller again, so that both builders end at about the same time.
_FIRST_BATCH = 2
_LARGEST_BATCH = 16
_SMALL_BATCH = 6
_IN_FLIGHT = 2
# It may have been killed from outside: once is no proof.
_FAILED_STARTS = 1
_CRASHES = 2


@dataclass
class _Batch:
    units: dict[str, Unit]  # not answered yet, by signature
    suspect: bool  # one of them may have crashed the compiler
    stage: Stage = Stage.CONVERT
    signature: str = ""  # of the unit that is being converted
    timer: Timer | None = None
    overdue: bool = False


@dataclass
class KernelEvents:
    """Whom to tell, on the actor's thread."""

    known: Callable[[], None]  # something more is known
    progress: Callable[[int, int], None]  # done, total of what was asked for since it was idle
    text: Callable[[str, tuple[tuple[str, str], ...]], None]
    log: Callable[[str, str], None]  # level, line
    trouble: Callable[[str], None]  # what is wrong with the compiler, "" if nothing is any more


class Kernels:
    """Kernels by signature."""

    def __init__(
        self,
        actor: Actor,
        *,
        cache_folder: Path,
        deadlines: Deadlines,
        events: KernelEvents,
    ) -> None:
        """Make it; nothing is started. What is wanted before `begin` waits."""
        self._actor, self._events, self._deadlines = actor, events, deadlines
        self._settings: CompilerSettings | None = None
        self._cache_folder = cache_folder
        self._cache: KernelCache | None = None
        self._scratch: tempfile.TemporaryDirectory[str] | None = None
        self._known: dict[str, Kernel | NoKernel] = {}
        self._wanted: OrderedDict[str, Unit] = OrderedDict()
        self._suspects: deque[dict[str, Unit]] = deque()  # groups compiled one at a time after a crash
        self._batches: dict[int, _Batch] = {}
        self._numbers = 0
        self._batch_size = _FIRST_BATCH
        self._asked = self._done = 0
        self._describing: dict[str, Unit] = {}
        self._worker: WorkerProcess | None = None
        self._ready = False
        self._unusable: NoKernel | None = None
        self._start_timer: Timer | None = None
        self._failed_starts = 0
        self._crashes: Counter[str] = Counter()  # how often the worker died with nothing but this unit

    @property
    def begun(self) -> bool:
        """Whether it is known what is compiled for."""
        return self._settings is not None

    def begin(self, settings: CompilerSettings) -> None:
        """Open the cache; without one, kernels are compiled into a folder that goes with the session."""
        self._settings = settings
        try:
            self._cache = KernelCache(
                self._cache_folder, settings.context, on_log=lambda line: self._events.log("warning", line)
            )
        except (OSError, sqlite3.Error) as error:
            self._events.log("warning", f"no kernel cache in {self._cache_folder} ({error}): every kernel is compiled")
            self._scratch = tempfile.TemporaryDirectory(prefix="tapml-tui-kernels-")
        early, self._wanted = list(self._wanted.values()), OrderedDict()
        self.want(early)

    def get(self, signature: str) -> Kernel | NoKernel | None:
        """What is known of a signature; None if it has to be compiled."""
        known = self._known.get(signature)
        if known is None and self._cache is not None:
            known = self._cache.get(signature)
            if known is not None:
                self._known[signature] = known
        return known

    def forget_lost(self, signature: str) -> bool:
        """Whether the library of a kernel is gone, evicted by another session; then it is compiled again."""
        known = self._known.get(signature)
        if not isinstance(known, Kernel) or not known.library or Path(known.library).exists():
            return False
        if self._cache is not None:
            self._cache.forget(signature)
        self._known = {s: k for s, k in self._known.items() if not isinstance(k, Kernel) or k.library != known.library}
        return True

    def want(self, units: Sequence[Unit], *, urgent: bool = False) -> None:
        """Have units compiled; urgent ones before all others."""
        asked = self._asked
        for unit in units:
            signature = unit.signature
            if signature in self._wanted:
                if urgent:
                    self._wanted.move_to_end(signature, last=False)
            elif self.get(signature) is None and not self._under_way(signature):
                self._wanted[signature] = unit
                self._wanted.move_to_end(signature, last=not urgent)
                self._asked += 1
        if self._asked > asked:
            self._events.progress(self._done, self._asked)
        self._feed()

    def describe(self, unit: Unit) -> None:
        """Have the text of a unit's kernel made."""
        known = self.get(unit.signature)
        if isinstance(known, NoKernel) and known.unsupported:
            self._events.text(unit.signature, (("Error", f"{known.reason}\n\n{known.detail}"),))
            return
        self._describing[unit.signature] = unit
        if self._ready and self._worker is not None:
            self._send_description(unit)
        self._feed()

    def interrupt(self) -> None:
        """Compile no more ahead; what is being compiled goes on, and is there later."""
        self._wanted.clear()
        self._asked = self._done = 0

    def retry(self) -> None:
        """Forget that the compiler was unusable, and failures that may have been chance."""
        self._unusable = None
        self._known = {key: known for key, known in self._known.items() if isinstance(known, Kernel)}

    def stop(self) -> WorkerProcess | None:
        """Let go of everything; the worker, which is killed, is returned to be waited for."""
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.kill()
        if self._cache is not None:
            self._cache.close()
            self._cache = None
        if self._scratch is not None:
            self._scratch.cleanup()
        return worker

    def _under_way(self, signature: str) -> bool:
        return any(signature in batch.units for batch in self._batches.values()) or any(
            signature in group for group in self._suspects
        )

    # The worker.

    def _start(self) -> None:
        if self._worker is not None:
            return
        if missing := [name for name in ("torch", "tvm") if importlib.util.find_spec(name) is None]:
            self._give_up(f"{' and '.join(missing)} cannot be imported; {COMPILER_MISSING}")
            return
        self._ready = False
        try:
            self._worker = worker = WorkerProcess(
                "tapml_tui.backends.worker_compiler",
                on_frame=lambda header, _: self._actor.post(self._frame, worker, header),
                on_exit=lambda code: self._actor.post(self._exit, worker, code),
                on_log=lambda line: self._events.log("info", line),
            )
        except OSError as error:
            self._give_up(f"the compiler could not be started: {error.strerror}")
            return
        folder = self._cache.folder if self._cache is not None else Path(self._scratch.name)  # type: ignore[union-attr]
        settings = self._settings
        assert settings is not None
        worker.send(
            {
                "op": "settings",
                "target": settings.target,
                "lower": settings.lower,
                "allow": list(settings.allow),
                "load": list(settings.load),
                "users": settings.users,
                "suffix": settings.suffix,
                "host": settings.host,
                "linker": settings.linker,
                "limits": dict(settings.limits),
                "folder": str(folder),
            }
        )
        self._start_timer = self._actor.later(self._deadlines.start, worker.kill)

    def _feed(self) -> None:
        """Give the worker as many batches as it works on at a time."""
        if self._settings is None or not (self._wanted or self._suspects or self._describing):
            return
        if self._unusable is not None:
            self._give_up(self._unusable.reason, self._unusable.detail)
            return
        self._start()
        while self._ready and len(self._batches) < _IN_FLIGHT:
            # After a crash, one at a time: otherwise a second crash would not say which of two it was.
            if any(batch.suspect for batch in self._batches.values()):
                return
            if self._suspects:
                if not self._batches:
                    self._send(self._suspects.popleft(), suspect=True)
                return
            if not self._wanted:
                return
            share = max(_SMALL_BATCH, len(self._wanted) // (2 * _IN_FLIGHT))
            count = min(self._batch_size, share, len(self._wanted))
            self._batch_size = min(2 * self._batch_size, _LARGEST_BATCH)
            self._send(dict(self._wanted.popitem(last=False) for _ in range(count)))

    def _send(self, units: dict[str, Unit], *, suspect: bool = False) -> None:
        assert self._worker is not None
        self._numbers += 1
        self._batches[self._numbers] = batch = _Batch(units, suspect)
        self._watch(batch)
        wire = [[signature, unit.to_wire()] for signature, unit in units.items()]
        self._worker.send({"op": "compile", "batch": self._numbers, "units": wire})

    def _send_description(self, unit: Unit) -> None:
        assert self._worker is not None
        self._worker.send({"op": "describe", "signature": unit.signature, "unit": unit.to_wire()})

    def _watch(self, batch: _Batch) -> None:
        if batch.timer is not None:
            batch.timer.cancel()
        seconds = self._deadlines.convert if batch.stage is Stage.CONVERT else self._deadlines.compile
        batch.timer = self._actor.later(seconds, lambda: self._overdue(batch))

    def _overdue(self, batch: _Batch) -> None:
        batch.overdue = True
        if self._worker is not None:
            self._worker.kill()

    def _frame(self, worker: WorkerProcess, header: Header) -> None:
        if worker is not self._worker:
            return
        match header["op"]:
            case "ready":
                self._ready = True
                self._failed_starts = 0
                self._cancel_start_timer()
                self._events.trouble("")
                for unit in self._describing.values():
                    self._send_description(unit)
            case "unusable":
                self._unusable = NoKernel(False, Stage.COMPILE, header["reason"], header["detail"])
            case "stage":
                if (batch := self._batches.get(header["batch"])) is not None:
                    batch.stage, batch.signature = Stage(header["stage"]), header["signature"]
                    self._watch(batch)
            case "compiled":
                kernel = Kernel(header["library"], header["function"], tuple(header["identity"]))
                self._learn(header["signature"], kernel)
            case "not_compiled":
                why = NoKernel(header["unsupported"], Stage(header["stage"]), header["reason"], header["detail"])
                self._learn(header["signature"], why)
            case "batch_done":
                self._end(header["batch"])
            case "text":
                self._describing.pop(header["signature"], None)
                self._events.text(header["signature"], tuple((title, text) for title, text in header["sections"]))
        self._feed()

    def _learn(self, signature: str, known: Kernel | NoKernel, *, keep: bool = True) -> None:
        self._known[signature] = known
        for batch in self._batches.values():
            batch.units.pop(signature, None)
        if keep and self._cache is not None:
            self._cache.put(signature, known)
        self._done += 1
        self._events.progress(self._done, self._asked)
        self._events.known()

    def _end(self, number: int) -> None:
        batch = self._batches.pop(number, None)
        if batch is not None and batch.timer is not None:
            batch.timer.cancel()
        if not (self._batches or self._wanted or self._suspects):
            self._asked = self._done = 0
            self._batch_size = _FIRST_BATCH

    def _exit(self, worker: WorkerProcess, code: int) -> None:
        if worker is not self._worker:
            return
        was_ready, self._worker, self._ready = self._ready, None, False
        self._cancel_start_timer()
        batches, self._batches = list(self._batches.values()), {}
        for batch in batches:
            if batch.timer is not None:
                batch.timer.cancel()
        words = f"the compiler {describe_exit(code)}"
        for signature in list(self._describing):
            del self._describing[signature]
            self._events.text(signature, (("Error", f"{words} before it could say"),))
        if not was_ready:
            self._failed_starts += 1
            if self._unusable is not None or self._failed_starts > _FAILED_STARTS:
                self._give_up(f"{words} while it loaded PyTorch and TVM")
            else:
                self._feed()
            return
        self._events.log("warning", words)
        self._events.trouble(f"{words}; it is started again")
        guilty = [batch for batch in batches if batch.overdue] or batches
        for batch in batches:
            if batch not in guilty:
                self._requeue(batch.units)
        for batch in guilty:
            self._suspect(batch, words, alone=len(guilty) == 1)
        self._feed()

    def _suspect(self, batch: _Batch, words: str, *, alone: bool) -> None:
        """Find the culprit of a crash or a hang: at once if there is no doubt, else by halves."""
        if not batch.units:
            return
        culprit = ""
        if alone and batch.stage is Stage.CONVERT and batch.signature in batch.units:
            culprit = batch.signature
        elif alone and len(batch.units) == 1:
            (culprit,) = batch.units
        if culprit:
            self._crashes[culprit] += 1
            if not batch.overdue and self._crashes[culprit] < _CRASHES:
                unit = batch.units.pop(culprit)
                self._requeue(batch.units)
                self._suspects.appendleft({culprit: unit})
                return
            unit = batch.units.pop(culprit)
            name = unit.calls[0].op if unit.calls else "the unit"
            done, limit = "converted", self._deadlines.convert
            if batch.stage is Stage.COMPILE:
                done, limit = "compiled", self._deadlines.compile
            reason = f"{words} while it {done} {name}"
            if batch.overdue:
                reason = f"{name} was not {done} within {limit:.0f} s"
            # Not kept on disk: it may have been killed from outside, or for want of memory.
            self._learn(culprit, NoKernel(False, batch.stage, reason, reason), keep=False)
            self._requeue(batch.units)
            return
        items = list(batch.units.items())
        middle = (len(items) + 1) // 2
        for half in (items[middle:], items[:middle]):
            if half:
                self._suspects.appendleft(dict(half))

    def _requeue(self, units: dict[str, Unit]) -> None:
        for signature, unit in reversed(units.items()):
            self._wanted[signature] = unit
            self._wanted.move_to_end(signature, last=False)

    def _give_up(self, reason: str, detail: str = "") -> None:
        """Answer all that was asked: there is no compiler."""
        self._unusable = self._unusable or NoKernel(False, Stage.COMPILE, reason, detail or reason)
        waiting = [*self._wanted, *(s for group in self._suspects for s in group)]
        self._wanted.clear()
        self._suspects.clear()
        for signature in waiting:
            self._learn(signature, self._unusable, keep=False)
        for signature in list(self._describing):
            del self._describing[signature]
            self._events.text(signature, (("Error", f"{self._unusable.reason}\n\n{self._unusable.detail}"),))
        self._asked = self._done = 0
        self._events.trouble(self._unusable.reason)

    def _cancel_start_timer(self) -> None:
        if self._start_timer is not None:
            self._start_timer.cancel()
            self._start_timer = None
