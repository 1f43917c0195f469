"""A backend answers everything that it was asked, whatever goes wrong in it."""

from __future__ import annotations

import queue

from tapml_tui.backends.acting import ActingBackend
from tapml_tui.backends.protocol import Call, CallResult, Execute, Failed, LogLine, Reply, Stage, TensorSpec, Unit

F32 = TensorSpec("float32", (2,))


class Broken(ActingBackend):
    """It trips over the second request, while the first one waits."""

    id = "broken"

    def __init__(self) -> None:
        super().__init__()
        self.waiting: list[Execute] = []

    def _begin(self) -> None:
        pass

    def _execute(self, request: Execute) -> None:
        self.waiting.append(request)
        if len(self.waiting) == 2:
            raise NameError("name 'seat' is not defined")

    def _fail_all(self, reason: str) -> None:
        for request in self.waiting:
            self._sink(Failed(request.id, False, Stage.RUN, reason))
        self.waiting.clear()

    def _stop_processes(self) -> None:
        pass


def test_after_an_error_of_this_program_nobody_waits() -> None:
    replies: queue.SimpleQueue[Reply] = queue.SimpleQueue()
    backend = Broken()
    backend.start(replies.put)
    unit = Unit((Call("aten.relu.default", ()),), (), (F32,), (CallResult(0),))
    for number in range(2):
        backend.execute(Execute(number, unit, (), ("k",), "node"))
    told = [replies.get(timeout=30) for _ in range(3)]
    backend.close()
    assert isinstance(told[0], LogLine) and "NameError: name 'seat'" in told[0].text
    assert [one.id for one in told[1:]] == [0, 1]  # type: ignore[union-attr]
    assert all(isinstance(one, Failed) and "error of this program" in one.reason for one in told[1:])
