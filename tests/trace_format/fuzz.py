"""Mutants of a small trace, a run, a .safetensors: only TraceError comes out, soon, in little memory.

    python tests/trace_format/fuzz.py --count 100000 [--seed N]

prints the seed first, and on a failure the number of the mutant, which `--only` repeats.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import resource
import signal
import sys
import tempfile
import time
import traceback
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tests.trace_format.samples import small_trace, write_safetensors
from trace_format import (
    Graph,
    InputRef,
    NodeRef,
    RunOutput,
    RunRecord,
    Trace,
    TraceError,
    open_run,
    open_trace,
    read_run,
    recover,
    verify,
)
from trace_format.records import CRC, HEADER, MAGIC, MARKER, Record, layout, read_header, tail_bytes
from trace_format.safetensors_file import SafetensorsFile

BASE = "ab" * 32
SECONDS = 5  # of the processor, for one mutant: a busy machine changes nothing about it
HANGS = 600  # seconds on the clock
MEMORY = 768 << 20  # of addresses, above what the program has at the start
EDGES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1 << 40, (1 << 63) - 1, 1 << 63, (1 << 64) - 1)
# msgpack: nil, bool, small ints, wide ints, floats, strings, arrays and maps that claim much, extensions
MSGPACK = (
    *(b"\xc0", b"\xc3", b"\x00", b"\xff", b"\xcf" + b"\xff" * 8, b"\xd3\x80" + b"\0" * 7),
    *(b"\xcb\x7f\xf8" + b"\0" * 6, b"\xdb\xff\xff\xff\xff", b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff"),
    *(b"\xdc\xff\xff", b"\x91" * 40, b"\xc9\xff\xff\xff\xff\x01", b"\xd7\x01\xff\xff\xff" + b"\0" * 5),
    *(b"\xd6\x02\xff\xff\xff\x7f", b"\xc7\x00\x05", b"\xd5\xff\x00\x00", b"\xa4\xff\xfe\xfd\xfc"),
)


def records_of(data: bytes) -> list[Record]:
    """The records of a whole trace."""
    records, at = [], len(MAGIC)
    while at + HEADER.size <= len(data) and data[at : at + 4] == MARKER:
        records.append(read_header(data, at, len(data)))
        at = records[-1].end
    return records


def flip(data: bytearray, rng: random.Random) -> None:
    """Change single bytes."""
    for _ in range(rng.choice((1, 1, 2, 8))):
        data[rng.randrange(len(data))] = rng.randrange(256)


def move(data: bytearray, rng: random.Random) -> None:
    """Cut, remove, repeat, exchange or overwrite a stretch."""
    a, b = sorted((rng.randrange(len(data)), rng.randrange(len(data))))
    b = min(b, a + rng.choice((1, 8, 64, 4096)))
    stretch = bytes(data[a:b])
    match rng.randrange(5):
        case 0:
            del data[a:]
        case 1:
            del data[a:b]
        case 2:
            data[a:a] = stretch
        case 3:
            data[rng.randrange(len(data)) :][: len(stretch)] = stretch
        case 4:
            at = rng.randrange(len(data))
            data[at : at + len(stretch)] = stretch


def seal(data: bytearray, record: Record) -> None:
    """Make the checksum of a record right again, so that what reads it has to judge it."""
    body = bytes(data[record.body : record.body + record.body_size])
    tail = tail_bytes(record, bytes(data[record.offset : record.offset + HEADER.size]), body)
    data[record.body + record.body_size : record.end] = tail


def change_body(data: bytearray, rng: random.Random) -> None:
    """Change the body of a record and make its checksum right again."""
    record = rng.choice([r for r in records_of(bytes(data)) if r.body_size])
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        at = record.body + rng.randrange(record.body_size)
        match rng.randrange(4):
            case 0:
                data[at] = rng.randrange(256)
            case 1:
                data[at] ^= 1 << rng.randrange(8)
            case 2:
                new = rng.choice(MSGPACK)[: record.body + record.body_size - at]
                data[at : at + len(new)] = new
            case 3:
                new = rng.choice(EDGES).to_bytes(8, "little")[: rng.choice((1, 2, 4, 8))]
                at -= (at - record.body) % len(new)
                new = new[: record.body + record.body_size - at]
                data[at : at + len(new)] = new
    seal(data, record)


def replace_body(data: bytearray, rng: random.Random) -> None:
    """Give a record the body of another, of any length, all checksums right; what follows is lost or not."""
    records = records_of(bytes(data))
    target, source = rng.choice(records), rng.choice(records)
    body = bytearray(data[source.body : source.body + source.body_size])
    if body and rng.random() < 0.5:
        at = rng.randrange(len(body))
        body[at:at] = rng.choice(MSGPACK)
    record = layout(target.offset, rng.choice((target.opcode, source.opcode, 77)), 0, len(body))
    head = HEADER.pack(MARKER, record.opcode, 0, len(body), 0)[:-4]
    head += CRC.pack(zlib.crc32(head, record.offset & 0xFFFFFFFF))
    whole = head + body + tail_bytes(record, head, bytes(body))
    if len(whole) <= target.end - target.offset or rng.random() < 0.3:
        data[target.offset : target.offset + len(whole)] = whole


def change_header(data: bytearray, rng: random.Random) -> None:
    """Let a record claim another kind or size, with the right checksum."""
    record = rng.choice(records_of(bytes(data)))
    fields = [record.opcode, record.bulk_size, record.body_size]
    which = rng.randrange(3)
    fields[which] = rng.choice(EDGES) & ((1 << (64 if which == 1 else 32)) - 1)
    head = HEADER.pack(MARKER, *fields, 0)[:-4]
    data[record.offset : record.offset + HEADER.size] = head + CRC.pack(zlib.crc32(head, record.offset & 0xFFFFFFFF))


MUTATIONS: tuple[Callable[[bytearray, random.Random], None], ...] = (
    flip, move, change_body, change_body, change_body, change_body, replace_body, change_header,
)  # fmt: skip


def small_run(path: Path) -> bytes:
    """A run of two records."""
    with open_run(path, BASE) as run:
        output = RunOutput("float32", (2, 2))
        run.append(RunRecord("a", "n", "c", "target", outputs=(output,)), [np.eye(2, dtype=np.float32)])
        run.append(RunRecord("b", "n", "c", "target", status="error", stage="run", reason="no"))
    return path.read_bytes()


def mutant(original: bytes, seed: int, number: int) -> bytes:
    """Mutant number `number` of a seed."""
    rng = random.Random(f"{seed}/{number}")
    data = bytearray(original)
    for _ in range(rng.choice((1, 1, 2, 3))):
        try:
            rng.choice(MUTATIONS)(data, rng)
        except (TraceError, IndexError, ValueError):
            break  # no longer a trace that can be taken apart
    if rng.random() < 0.3:
        del data[-rng.randrange(1, 40) :]  # no trailer: it is scanned
    return bytes(data)


def attempt(read: Callable[..., Any], *args: object) -> Any:
    """Read one thing; None if it cannot be had."""
    try:
        return read(*args)
    except TraceError:
        return None


def use(trace: Trace) -> None:
    """Read everything, each on its own, as a program would that goes on after an error."""
    attempt(getattr, trace, "notes")
    for number in range(min(len(trace.graphs), 20)):
        graph = attempt(trace.graphs.__getitem__, number)
        if graph is not None:
            use_graph(graph)
    for case in range(min(len(trace.cases), 20)):
        for ref in (*(NodeRef(n, o) for n in range(8) for o in range(4)), InputRef(0), InputRef(1)):
            value = attempt(trace.value, case, ref)
            if value is not None:
                array = attempt(trace.array, value)
                assert array is None or array.nbytes < 1 << 20
                attempt(trace.window, value, 1, 2)
                attempt(trace.block, value)
    attempt(getattr, trace, "damage")


def use_graph(graph: Graph) -> None:
    """Read everything of a graph."""
    attempt(getattr, graph, "outputs")
    for node in range(min(len(graph), 50)):
        attempt(graph.node, node)
        for read in (graph.op, graph.node_name, graph.path, graph.entry_of):
            attempt(read, node)
        attempt(graph.find_id, attempt(graph.node_id, node) or "")
    for entry in range(min(len(graph.outline), 100)):
        attempt(graph.outline_label, entry)
        attempt(graph.outline_detail, entry)
    for text, start, step in (("lin", 0, 1), ("layers", 3, -1), ("\x1b", 0, 1)):
        attempt(graph.search, text, start, step)


def judge(path: Path, out: Path, deep: bool) -> None:
    """Open, use, verify and recover a file. Anything but TraceError is a failure."""
    try:
        with open_trace(path) as trace:
            use(trace)
    except TraceError:
        pass
    if deep:
        verify(path)
        try:
            recover(path, out)
        except TraceError:
            return
        finally:
            leftovers = [name for name in os.listdir(out.parent) if name.endswith(".partial")]
            assert not leftovers, leftovers
        findings = [f for f in verify(out) if f.severity == "error"]
        assert not findings, findings


def judge_run(path: Path) -> None:
    """Read a run, then append to it; what was appended must come back."""
    with contextlib.suppress(TraceError), read_run(path) as run:
        for record in run.records():
            for output in record.outputs:
                attempt(run.array, output)
                attempt(run.block, output)
    with contextlib.suppress(TraceError), open_run(path, BASE) as run:
        added = run.append(RunRecord("new", "n", "c", "b", outputs=(RunOutput("int64", (2,)),)), [np.array([5, 6])])
        assert run.array(added.outputs[0]).tolist() == [5, 6]
        with read_run(path) as again:
            assert again.get("new") == added
    verify(path)


def judge_weights(path: Path) -> None:
    """Parse a .safetensors; what it lists must lie in it."""
    with contextlib.suppress(TraceError):
        file = SafetensorsFile(path.parent, path.name)
        for entry in file.entries.values():
            assert 0 <= entry.offset <= entry.offset + entry.nbytes <= file.size
        file.close()


def fuzz(count: int, seed: int, only: int | None = None) -> int:
    """Judge mutants; returns how many failed. Prints what is needed to repeat them."""
    print(f"seed {seed}", flush=True)
    address_space = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (address_space + MEMORY, resource.RLIM_INFINITY))
    failed = 0
    slowest = (0.0, 0)
    with tempfile.TemporaryDirectory() as folder:
        original = small_trace(Path(folder, "original.trace")).read_bytes()
        assert len(original) < 8192, len(original)
        path, out = Path(folder, "mutant.trace"), Path(folder, "recovered.trace")
        weights = write_safetensors(
            Path(folder, "w.safetensors"), {"a": ("F32", [2], b"8 bytes!"), "b": ("I8", [], b"x")}
        )
        run, original_weights = small_run(Path(folder, "r.run")), weights.read_bytes()
        for number in range(count) if only is None else (only,):
            began = time.process_time()
            signal.setitimer(signal.ITIMER_PROF, SECONDS)
            signal.alarm(HANGS)
            try:
                if number % 16 == 1:
                    path.write_bytes(mutant(run, seed, number))
                    judge_run(path)
                elif number % 16 == 2:
                    weights.write_bytes(mutant(original_weights, seed, number))
                    judge_weights(weights)
                else:
                    path.write_bytes(mutant(original, seed, number))
                    judge(path, out, deep=number % 4 == 0 or only is not None)
            except BaseException as error:
                failed += 1
                print(f"mutant {number} of seed {seed}: {error!r}", flush=True)
                traceback.print_exc()
                if isinstance(error, KeyboardInterrupt) or failed == 5:
                    break
            finally:
                signal.alarm(0)
                signal.setitimer(signal.ITIMER_PROF, 0)
            slowest = max(slowest, (time.process_time() - began, number))
    print(f"{count} mutants, {failed} failed, the slowest took {slowest[0]:.2f} s (number {slowest[1]})")
    return failed


def _too_slow(signum: int, frame: object) -> None:
    raise TimeoutError(f"a mutant took more than {SECONDS} s, or hung")


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description="Mutate a small trace and read what comes of it.")
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--only", type=int, default=None)
    options = parser.parse_args()
    for ended in (signal.SIGPROF, signal.SIGALRM):
        signal.signal(ended, _too_slow)
    seed = random.SystemRandom().randrange(1 << 32) if options.seed is None else options.seed
    return 1 if fuzz(options.count, seed, options.only) else 0


if __name__ == "__main__":
    sys.exit(main())
