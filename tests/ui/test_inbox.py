"""Events from many threads: none is lost, one wake-up until they are taken."""

from __future__ import annotations

import threading
from dataclasses import replace

from tapml_tui.backends.protocol import KernelText, LogLine
from tapml_tui.engine.commands import Mode
from tapml_tui.engine.events import Changed, Counts, Snapshot, StopReason
from tapml_tui.ui.inbox import Inbox


def test_one_wake_up_until_the_events_are_taken() -> None:
    inbox, woken = Inbox(), []
    inbox.wake = lambda: woken.append(1)
    for number in range(5):
        inbox.put(LogLine("target", "info", str(number)))
    assert len(woken) == 1
    assert [line.text for line in inbox.take().log] == list("01234")
    inbox.put(LogLine("target", "info", "again"))
    assert len(woken) == 2


def test_the_end_of_a_run_wakes_whoever_put_off_looking_at_its_beginning() -> None:
    snapshot = Snapshot(1, 0, Mode.ISOLATED, 0, True, "", None, Counts(), (), (), StopReason.START)
    inbox, woken = Inbox(), []
    inbox.wake = lambda: woken.append(1)
    for _ in range(3):
        inbox.put(Changed(snapshot, ()))
    assert len(woken) == 1
    inbox.put(Changed(replace(snapshot, running=False), (), 7))
    assert len(woken) == 2


def test_nothing_is_lost_between_threads() -> None:
    inbox = Inbox()
    senders = [
        threading.Thread(target=lambda n=n: [inbox.put(KernelText(f"{n}.{i}", ())) for i in range(200)])
        for n in range(4)
    ]
    for sender in senders:
        sender.start()
    taken: list[str] = []
    while any(sender.is_alive() for sender in senders):
        taken += [text.signature for text in inbox.take().kernels]
    taken += [text.signature for text in inbox.take().kernels]
    assert sorted(taken) == sorted(f"{n}.{i}" for n in range(4) for i in range(200))
