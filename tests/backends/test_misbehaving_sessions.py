"""Whole sessions of the debugger over a line that misbehaves: no verdict but the undisturbed one.

The engine runs a model in the chain, with all its verdicts, on a real TVM RPC server behind the proxy. Each session
meets one fault, at a random byte of what it moves; a third of the sessions begin on a line that has just been cut, so
that connecting, and weights that go up again, are disturbed as well.
"""

from __future__ import annotations

import queue
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tapml_tui.backends.launch import TargetOptions, make_backends
from tapml_tui.backends.protocol import BackendStatus, Deadlines, Reply, State
from tapml_tui.engine import Engine
from tapml_tui.engine.commands import Mode, RunNodes
from tapml_tui.engine.events import Changed, Event
from tests import sampling
from tests.backends.misbehaving import Fault, MisbehavingProxy, Plan, Way
from tests.backends.servers import KEY, own_server
from tests.bench.backends import Warm
from tests.bench.models import DEMO
from trace_format import open_trace

pytestmark = [pytest.mark.tvm, pytest.mark.torch]

DEADLINES = Deadlines(start=180, connect=4, run=2, transfer=2, reconnect=60)
LONGEST = 120.0
"""Seconds of a session: every deadline may pass twice, and workers load TVM again on a busy machine."""
SESSIONS = sampling.count(3, 60)

# What may be said of the device, and nothing else: whatever happens is one of these.
WORDS = (
    "the connection was lost",
    "did not return within",
    "did not upload within",
    "did not fetch within",
    "no connection to",
    "did not answer within",
    "the device process",
    "an earlier call spoilt the RPC session",
    "the server does not answer: busy",
    "starting again",
    "times in a row",
    "the driver gave the device up",
)

Seen = dict[int, tuple[str, str]]


class _Line(Warm):
    """A target that outlives its sessions, and what it said."""

    def __init__(self, inner: object, scratch: str) -> None:
        super().__init__(inner, scratch)  # type: ignore[arg-type]
        self.said: list[BackendStatus] = []

    def _receive(self, reply: Reply) -> None:
        if isinstance(reply, BackendStatus):
            self.said.append(reply)
        super()._receive(reply)

    def touch(self) -> None:
        """Have a small kernel executed, whatever comes of it."""
        self.inner.restart()  # forgives that kernel what happened to it before
        self.warm_up()

    @property
    def state(self) -> State:
        return self.said[-1].state


class Sessions:
    """Runs sessions on backends that stay."""

    def __init__(self, proxy: MisbehavingProxy, folder: Path, kernels: Path) -> None:
        options = TargetOptions(rpc=f"127.0.0.1:{proxy.port}", key=KEY)
        source, target = make_backends(options, deadlines=DEADLINES, cache_dir=kernels, state_dir=folder)
        self.source, self.target = Warm(source, str(folder)), _Line(target, str(folder))

    def close(self) -> None:
        for backend in (self.source, self.target):
            backend.really_close()

    def run(self) -> Seen:
        """Status and verdict of each node of a chained run, answered within its time."""
        begun = time.monotonic()
        events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        if self.target.said and self.target.state is State.FAILED:
            self.target.restart()
        with open_trace(DEMO) as trace:
            engine = Engine(trace, (self.source, self.target), on_event=events.put, mode=Mode.CHAINED, reuse=False)
            engine.start()
            try:
                ticket = engine.submit(RunNodes())
                while True:
                    event = events.get(timeout=max(1.0, LONGEST - (time.monotonic() - begun)))
                    if isinstance(event, Changed) and event.answers == ticket:
                        break
                results = {node: engine.result(node) for node in range(len(engine.graph))}
            finally:
                engine.close()
        return {n: (r.status.value, r.verdict.value) if r is not None else ("", "") for n, r in results.items()}


def _heir(expected: tuple[str, str], got: tuple[str, str]) -> bool:
    """Whether a node only handed on what a wrong one before it gave, and is right without that."""
    return expected[1] in ("INHERITED", "AMPLIFIED", "HEALED") and got == ("passed", "CLEAN")


@pytest.fixture(scope="module")
def server() -> Iterator[int]:
    """One server for all sessions: it survives them."""
    with own_server() as port:
        yield port


@pytest.mark.parametrize("fault", Fault)
def test_no_verdict_but_the_undisturbed_one(server: int, tmp_path: Path, kernel_folder: Path, fault: Fault) -> None:
    chance = sampling.rng(f"misbehaving sessions {fault}")
    with MisbehavingProxy(server) as proxy:
        sessions = Sessions(proxy, tmp_path, kernel_folder)
        try:
            sessions.run()  # kernels are compiled, weights are there
            before = dict(proxy.bytes)
            expected = sessions.run()
            again = {way: proxy.bytes[way] - before[way] for way in Way}
            assert Counter(status for status, _ in expected.values())["passed"] > len(expected) // 2
            happened = 0
            for number in range(SESSIONS):
                moved = again
                if number % 3 == 0:
                    moved = before
                way = chance.choice(list(Way))
                # Most of the bytes are weights: half of the faults are among the first of them.
                after = chance.randrange(moved[way] if chance.random() < 0.5 else min(moved[way], 20_000))
                plan = Plan(fault, way, after)
                proxy.plan(plan)
                if moved is before:
                    # The cut is noticed by who comes next, and would be the second fault of one request.
                    proxy.cut()
                    sessions.target.touch()
                seen = sessions.run()
                proxy.plan(None)
                happened += plan.happened.is_set()
                wrong = {n: (expected[n], got) for n, got in seen.items() if got != expected[n]}
                if fault is Fault.CORRUPT:
                    broke = {n for n, (_, got) in wrong.items() if got[0] == "error"}
                    replaced = any(expected[n][1] == "LOCAL" for n in broke)  # by the source's result, which is right
                    wrong = {n: pair for n, pair in wrong.items() if n not in broke and not (replaced and _heir(*pair))}
                assert not wrong, (plan, wrong, sessions.target.said[-8:])
                assert sessions.target.state in (State.READY, State.FAILED, State.CONNECTING, State.LOST)
            assert happened >= SESSIONS // 2
            strange = [s for s in sessions.target.said if s.detail and not any(word in s.detail for word in WORDS)]
            assert not strange
        finally:
            sessions.close()
