"""A TCP proxy that misbehaves on command, between a client and a server: the line and the device of our nightmares."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from dataclasses import dataclass, field
from enum import StrEnum
from types import TracebackType

_PIECE = 1 << 16
_THROTTLED = 20_000  # bytes per second


class Way(StrEnum):
    """Which way bytes go."""

    UP = "up"  # to the device
    DOWN = "down"


class Fault(StrEnum):
    """What happens to the line."""

    CUT = "cut"  # reset, both ways
    HALF_CLOSE = "half-close"  # the end of this way; the other stays open
    STALL = "stall"  # nothing comes through any more, this way
    CORRUPT = "corrupt"  # one byte is another one
    DELAY = "delay"  # a pause, then on as before
    THROTTLE = "throttle"  # for that pause, hardly anything comes through


@dataclass
class Plan:
    """A fault, once: after so many more bytes of one way."""

    fault: Fault
    way: Way
    after: int
    pause: float = 0.3
    done: bool = False
    happened: threading.Event = field(default_factory=threading.Event)


class MisbehavingProxy:
    """Listens on loopback and forwards to a server on loopback; a context manager, on a thread of its own.

    Attributes:
        port: Where it listens.
        latency: Seconds each way.
        rate: Bytes per second each way; 0 is as fast as it goes.
        bytes: What crossed, by way.
        turns: How often the line turned round from up to down: round trips.
    """

    def __init__(self, server_port: int, *, latency: float = 0.0, rate: float = 0.0) -> None:
        self.latency, self.rate = latency, rate
        self.bytes = {Way.UP: 0, Way.DOWN: 0}
        self.turns = 0
        self.port = 0
        self._last = Way.DOWN
        self._open: set[asyncio.StreamWriter] = set()
        self._server_port = server_port
        self._plan: Plan | None = None
        self._started = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="misbehaving", daemon=True)

    def __enter__(self) -> MisbehavingProxy:
        self._thread.start()
        assert self._started.wait(10)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def plan(self, plan: Plan | None) -> None:
        """Have something happen; None: no more."""
        self._loop.call_soon_threadsafe(setattr, self, "_plan", plan)

    def cut(self) -> None:
        """Reset every connection now."""
        self._loop.call_soon_threadsafe(self._abort)

    def _abort(self) -> None:
        for end in self._open:
            end.transport.abort()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)

        async def listen() -> None:
            server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
            self.port = server.sockets[0].getsockname()[1]
            self._started.set()

        self._loop.run_until_complete(listen())
        self._loop.run_forever()
        self._abort()  # or the server would wait for ever for who is no more
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0.05))
        self._loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._server_port)
        except OSError:
            writer.transport.abort()
            return
        ends = (writer, far_writer)
        self._open.update(ends)
        up = asyncio.ensure_future(self._forward(Way.UP, reader, far_writer, ends))
        down = asyncio.ensure_future(self._forward(Way.DOWN, far_reader, writer, ends))
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait((up, down), return_when=asyncio.ALL_COMPLETED)
        self._open.difference_update(ends)
        for end in ends:
            with contextlib.suppress(OSError, RuntimeError):
                end.close()

    async def _forward(
        self,
        way: Way,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        ends: tuple[asyncio.StreamWriter, asyncio.StreamWriter],
    ) -> None:
        stalled = False
        queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        sender = asyncio.ensure_future(self._send(queue, writer))
        try:
            while data := await reader.read(_PIECE):
                if self._last is Way.UP and way is Way.DOWN:
                    self.turns += 1
                self._last = way
                self.bytes[way] += len(data)
                plan = self._plan
                if plan is not None and plan.way is way and not plan.done:
                    if plan.after >= len(data):
                        plan.after -= len(data)
                    else:
                        plan.done = True
                        plan.happened.set()
                        match plan.fault:
                            case Fault.CUT:
                                for end in ends:
                                    end.transport.abort()
                                return
                            case Fault.HALF_CLOSE:
                                writer.write(data[: plan.after])
                                writer.write_eof()
                                stalled = True
                            case Fault.STALL:
                                stalled = True
                            case Fault.CORRUPT:
                                wrong = bytearray(data)
                                wrong[plan.after] ^= 1 << (plan.after % 8)
                                data = bytes(wrong)
                            case Fault.DELAY:
                                await asyncio.sleep(plan.pause)
                            case Fault.THROTTLE:
                                self._loop.call_later(plan.pause, setattr, self, "rate", self.rate)
                                self.rate = _THROTTLED
                if not stalled:
                    queue.put_nowait((self._loop.time() + self.latency, data))
        except OSError:
            pass
        finally:
            if not stalled:
                queue.put_nowait((0.0, b""))
                with contextlib.suppress(OSError, asyncio.CancelledError):
                    await sender
            else:
                # Who was stalled has hung up: so does the other end.
                sender.cancel()
                for end in ends:
                    end.transport.abort()

    async def _send(self, queue: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter) -> None:
        """In order, each piece when its time has come and no faster than the line."""
        with contextlib.suppress(OSError, RuntimeError):
            while True:
                due, data = await queue.get()
                if not data:
                    writer.write_eof()
                    return
                if (wait := due - self._loop.time()) > 0:
                    await asyncio.sleep(wait)
                if self.rate:
                    await asyncio.sleep(len(data) / self.rate)
                writer.write(data)
                await writer.drain()
