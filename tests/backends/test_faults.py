"""What goes wrong on the target, with real TVM: the session says what happened and goes on.

The misbehaving kernels are in `faulty_kernels.py`, a file as users give with `--lower`.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tapml_tui.backends.launch import TargetOptions, make_backends
from tapml_tui.backends.protocol import BackendStatus, Deadlines, Executed, Failed, KernelText, Prepared, Stage, State
from tests.backends.driver import Driver, descendants, unary, wait_until

pytestmark = [pytest.mark.tvm]

X = np.linspace(-1, 1, 8, dtype=np.float32)
GOOD = unary("aten.relu.default", X)
LOWER = str(Path(__file__).with_name("faulty_kernels.py"))
# Loading torch and TVM for the compiler may take long on a busy machine.
DEADLINES = Deadlines(start=120, convert=5, compile=60, run=2, transfer=20)


def _start(folder: Path, kernels: Path, deadlines: Deadlines = DEADLINES, **options: object) -> Driver:
    wanted = TargetOptions(lower=LOWER, **options)  # type: ignore[arg-type]
    return Driver(make_backends(wanted, deadlines=deadlines, cache_dir=kernels)[1], folder)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, kernel_folder: Path) -> Iterator[Driver]:
    """One session that survives all of this."""
    driver = _start(tmp_path_factory.mktemp("faults"), kernel_folder)
    yield driver
    driver.backend.close()
    assert driver.program_errors() == []


@pytest.fixture
def driver(shared: Driver) -> Driver:
    """The shared session, with its device well, and a kernel compiled."""
    shared.backend.restart()
    _is_well(shared)
    return shared


def _is_well(driver: Driver) -> None:
    (output,) = driver.outputs(GOOD, X)
    np.testing.assert_array_equal(output, np.maximum(X, 0))


def _faulty(name: str) -> object:
    return unary(f"aten.{name}.default", X)


def _kill(module: str, ours: Driver) -> None:
    pids = [pid for pid in descendants(module) if pid not in ours.others]
    assert pids, f"no {module} is running"
    os.kill(min(pids), signal.SIGKILL)  # the server before its session


def test_kernel_that_never_returns(driver: Driver) -> None:
    request = driver.execute(_faulty("sinh"), X, label="layers.0/sinh")  # type: ignore[arg-type]
    behind = driver.execute(GOOD, X)
    reply = driver.answer(request)
    assert isinstance(reply, Failed)
    assert (reply.stage, reply.device_lost) == (Stage.RUN, True)
    assert "layers.0/sinh did not return within 2 s" in reply.reason
    assert isinstance(driver.answer(behind), Executed)
    assert State.LOST in [status.state for status in driver.states]


def test_kernel_that_kills_the_device_is_named_and_not_launched_again_unasked(driver: Driver) -> None:
    first = driver.run(_faulty("cosh"), X, label="layers.0/cosh")  # type: ignore[arg-type]
    assert isinstance(first, Failed)
    assert first.device_lost
    assert "layers.0/cosh took the device with it" in first.reason
    assert "SIGSEGV" in first.reason
    _is_well(driver)
    second = driver.run(_faulty("cosh"), X, label="layers.1/cosh")  # type: ignore[arg-type]
    assert isinstance(second, Failed)
    assert not second.device_lost
    assert "layers.0/cosh" in second.reason
    driver.backend.interrupt()  # what follows an interrupt is no wish to try it again
    driver.backend.restart()
    assert not driver.run(_faulty("cosh"), X).device_lost  # type: ignore[arg-type, union-attr]
    driver.backend.restart()
    asked = driver.run(_faulty("cosh"), X)  # type: ignore[arg-type]
    assert isinstance(asked, Failed)
    assert asked.device_lost


def test_poisoned_session_is_replaced(driver: Driver) -> None:
    kept = driver.execute(GOOD, driver.operand(X, "kept"))
    assert isinstance(driver.answer(kept), Executed)
    reply = driver.run(_faulty("tan"), X, label="layers.0/tan")  # type: ignore[arg-type]
    assert isinstance(reply, Failed)
    assert "layers.0/tan" in reply.reason
    # What was on the device goes up again by itself.
    again = driver.run(GOOD, driver.operand(X, "kept"))
    assert isinstance(again, Executed)
    assert again.bytes_up == X.nbytes


def test_library_that_does_not_resolve(driver: Driver) -> None:
    reply = driver.run(_faulty("sin"), X)  # type: ignore[arg-type]
    assert isinstance(reply, Failed)
    assert "no_such_function_anywhere" in reply.reason + reply.detail
    _is_well(driver)


def test_converter_that_raises_does_not_take_its_batch_with_it(driver: Driver) -> None:
    others = [unary(op, X) for op in ("aten.neg.default", "aten.abs.default", "aten.sigmoid.default")]
    driver.backend.prepare([others[0], _faulty("asin"), *others[1:]])  # type: ignore[list-item]
    bad = driver.run(_faulty("asin"), X)  # type: ignore[arg-type]
    assert isinstance(bad, Failed)
    assert (bad.stage, bad.unsupported) == (Stage.CONVERT, False)
    assert "this converter always raises" in bad.reason
    for other in others:
        assert isinstance(driver.run(other, X), Executed)


def test_operator_that_does_not_compile_does_not_take_its_batch_with_it(driver: Driver) -> None:
    mask = X > 0
    from tapml_tui.backends.protocol import TensorSpec, UnitInput
    from tests.backends.driver import spec, unit

    cumsum = unit("aten.cumsum.default", [UnitInput(0), 0], [spec(mask)], [TensorSpec("int64", (8,))])
    others = [unary(op, X) for op in ("aten.floor.default", "aten.ceil.default", "aten.tanh.default")]
    driver.backend.prepare([others[0], cumsum, *others[1:]])
    bad = driver.run(cumsum, mask)
    assert isinstance(bad, Failed)
    assert (bad.stage, bad.unsupported) == (Stage.COMPILE, False)
    for other in others:
        assert isinstance(driver.run(other, X), Executed)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "words"), [("acos", "SIGSEGV"), ("atan", "not converted within 5 s")])
def test_compiler_that_crashes_or_hangs(driver: Driver, name: str, words: str) -> None:
    other = unary(f"aten.{'rsqrt' if name == 'acos' else 'reciprocal'}.default", X)
    driver.backend.prepare([_faulty(name), other])  # type: ignore[list-item]
    reply = driver.run(_faulty(name), X)  # type: ignore[arg-type]
    assert isinstance(reply, Failed)
    assert words in reply.reason
    assert isinstance(driver.run(other, X), Executed)


@pytest.mark.parametrize("module", ["worker_server", "worker_device"])
def test_killed_while_idle(driver: Driver, module: str) -> None:
    _kill(module, driver)
    driver.state(State.LOST)
    driver.ready()
    _is_well(driver)


@pytest.mark.parametrize("module", ["worker_server", "worker_device"])
def test_killed_while_running(driver: Driver, module: str) -> None:
    """The kernel that ran is not to blame: it is tried once more, and then it is its own fault."""
    request = driver.execute(_faulty("sinh"), X)  # type: ignore[arg-type]
    behind = driver.execute(GOOD, X)
    _wait_for_stage(driver)
    _kill(module, driver)
    driver.state(State.LOST)
    reply = driver.answer(request)
    assert isinstance(reply, Failed)
    assert "did not return" in reply.reason
    assert isinstance(driver.answer(behind), Executed)


def _wait_for_stage(driver: Driver) -> None:
    """Until the request has reached the device: its session has a child by now, which sleeps."""
    pending = driver.backend._waiting  # type: ignore[attr-defined]
    wait_until(lambda: any(p.stage is Stage.RUN for p in list(pending.values())), "the kernel runs")


def test_killed_while_the_server_answers(driver: Driver) -> None:
    """The line breaks under the server, which says so before the death is noticed: no kernel is to blame."""
    wanted = unary("aten.atanh.default", X[:1])
    operand = driver.operand(X[:1])
    assert isinstance(driver.run(wanted, operand), Executed)
    link = driver.backend._seats[0].link  # type: ignore[attr-defined]
    noticed = link._worker._on_exit
    link._worker._on_exit = lambda code: (time.sleep(1), noticed(code))  # as on a busy machine
    request = driver.execute(wanted, operand)
    _wait_for_stage(driver)
    os.kill(link._worker.pid, signal.SIGSTOP)
    time.sleep(1)  # the answer arrives, and nobody takes it
    os.kill(link._worker.pid, signal.SIGKILL)
    assert "broke off" in driver.state(State.LOST).detail
    reply = driver.answer(request)
    assert isinstance(reply, Executed), reply


@pytest.mark.parametrize("name", ["SIGTERM", "SIGKILL"])
def test_killed_by_somebody_else_while_it_ran_a_kernel(driver: Driver, name: str) -> None:
    """It was not its own doing: the kernel gets a second chance, and is cleared by it."""
    wanted = unary("aten.atanh.default", X[:1])
    request = driver.execute(wanted, X[:1])
    _wait_for_stage(driver)
    session = max(set(descendants("worker_server")) - driver.others)
    os.kill(session, getattr(signal, name))
    driver.state(State.LOST)
    assert isinstance(driver.answer(request), Executed)
    assert isinstance(driver.run(wanted, X[:1]), Executed)


@pytest.mark.parametrize("module", ["worker_server", "worker_device"])
def test_killed_while_fetching(driver: Driver, module: str) -> None:
    large = np.ones(3 << 20, np.float32)
    wanted = unary("aten.neg.default", large)
    assert isinstance(driver.run(wanted, driver.operand(large, "large"), fetch_limit=1), Executed)
    requests = [driver.execute(wanted, driver.operand(large, "large")) for _ in range(3)]
    pending = driver.backend._waiting  # type: ignore[attr-defined]
    wait_until(lambda: any(p.stage is Stage.FETCH for p in list(pending.values())), "something is fetched")
    _kill(module, driver)
    for request in requests:
        reply = driver.answer(request)
        assert isinstance(reply, Executed), reply
        np.testing.assert_array_equal(reply.outputs[0], -large)


@pytest.mark.parametrize("module", ["worker_server", "worker_device"])
def test_killed_while_connecting(tmp_path: Path, kernel_folder: Path, module: str) -> None:
    driver = _start(tmp_path, kernel_folder)
    try:
        wait_until(lambda: bool(set(descendants(module)) - driver.others), f"{module} is started")
        _kill(module, driver)
        _is_well(driver)
    finally:
        driver.backend.close()


@pytest.mark.slow
def test_compiler_killed_while_compiling(driver: Driver) -> None:
    """Whatever is compiled is not to blame for a death from outside."""
    units = [unary(f"aten.{op}.default", X) for op in ("erf", "log1p", "expm1", "square", "sign")]
    driver.backend.prepare(units)
    driver.wait(lambda r: isinstance(r, Prepared) and r.done < r.total)
    wait_until(lambda: bool(set(descendants("worker_compiler")) - driver.others), "the compiler is started")
    _kill("worker_compiler", driver)
    for wanted in units:
        assert isinstance(driver.run(wanted, np.abs(X)), Executed)


def test_interrupt_ends_a_kernel_that_hangs(driver: Driver) -> None:
    request = driver.execute(_faulty("sinh"), X)  # type: ignore[arg-type]
    _wait_for_stage(driver)
    driver.backend.interrupt()
    reply = driver.answer(request)
    assert isinstance(reply, Failed)
    assert reply.reason == "interrupted"
    _is_well(driver)


def test_busy_server_is_said_and_given_up(tmp_path: Path, kernel_folder: Path) -> None:
    """A server that serves somebody else takes our connection and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as busy:
        place = f"127.0.0.1:{busy.getsockname()[1]}"
        driver = _start(tmp_path, kernel_folder, Deadlines(connect=5), rpc=place)
        try:
            request = driver.execute(GOOD, X)
            hint = driver.wait(lambda r: isinstance(r, BackendStatus) and "busy" in r.detail)
            assert isinstance(hint, BackendStatus)
            assert (hint.state, hint.title) == (State.CONNECTING, f"llvm @{place}")
            assert "busy" in driver.state(State.FAILED).detail
            reply = driver.answer(request)
            assert isinstance(reply, Failed)
            assert (reply.stage, reply.device_lost) == (Stage.CONNECT, True)
            driver.backend.restart()
            driver.state(State.CONNECTING)
        finally:
            driver.backend.close()


def test_no_server_there(tmp_path: Path, kernel_folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        place = f"127.0.0.1:{free.getsockname()[1]}"
    driver = _start(tmp_path, kernel_folder, rpc=place)
    try:
        assert place in driver.state(State.FAILED).detail
        reply = driver.run(GOOD, X)
        assert isinstance(reply, Failed)
        assert reply.device_lost
    finally:
        driver.backend.close()


@pytest.mark.slow
def test_running_server_of_somebody_else(tmp_path: Path, kernel_folder: Path) -> None:
    """`--rpc` against the stock `tvm.exec.rpc_server`, and a second client that has to wait for the first."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "tvm.exec.rpc_server", "--host", "127.0.0.1", "--port", str(port)]
    server = subprocess.Popen(
        [*command, "--port-end", str(port + 1)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    first = second = None
    try:
        wait_until(lambda: _listens(port), "the server listens", 120)
        first = _start(tmp_path, kernel_folder, rpc=f"127.0.0.1:{port}")
        _is_well(first)
        second = _start(tmp_path, kernel_folder, Deadlines(connect=60), rpc=f"127.0.0.1:{port}")
        second.wait(lambda r: isinstance(r, BackendStatus) and "busy" in r.detail)
        first.backend.close()
        _is_well(second)
    finally:
        for started in (first, second):
            if started is not None:
                started.backend.close()
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def _listens(port: int) -> bool:
    return any(f"0100007F:{port:04X}" in line.split()[1:2] for line in Path("/proc/net/tcp").read_text().splitlines())


@pytest.mark.slow
def test_tracker(tmp_path: Path, kernel_folder: Path) -> None:
    """`--tracker HOST:PORT --key K`, with TVM's own tracker and server."""
    with socket.create_server(("127.0.0.1", 0)) as first, socket.create_server(("127.0.0.1", 0)) as second:
        ports = [s.getsockname()[1] for s in (first, second)]
    tracker = f"127.0.0.1:{ports[0]}"
    commands = [
        ["rpc_tracker", "--host", "127.0.0.1", "--port", str(ports[0]), "--port-end", str(ports[0] + 1)],
        ["rpc_server", "--host", "127.0.0.1", "--port", str(ports[1]), "--port-end", str(ports[1] + 1)],
    ]
    servers = []
    commands[1] += ["--tracker", tracker, "--key", "board"]
    driver = None
    try:
        for (name, *arguments), port in zip(commands, ports, strict=True):
            servers.append(
                subprocess.Popen(
                    [sys.executable, "-m", f"tvm.exec.{name}", *arguments],
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    start_new_session=True,
                )
            )
            wait_until(lambda port=port: _listens(port), f"{name} listens", 120)  # type: ignore[misc]
        driver = _start(tmp_path, kernel_folder, tracker=tracker, key="board")
        _is_well(driver)
        assert driver.states[-1].title == f"llvm @{tracker}"
    finally:
        if driver is not None:
            driver.backend.close()
        for server in servers:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()


def test_library_that_another_session_evicted(driver: Driver, kernel_folder: Path) -> None:
    wanted = unary("aten.leaky_relu.default", X)
    assert isinstance(driver.run(wanted, X), Executed)
    os.kill(min(set(descendants("worker_device")) - driver.others), signal.SIGKILL)  # it has uploaded it
    driver.state(State.LOST)
    for library in kernel_folder.glob("*.so"):
        library.unlink()
    assert isinstance(driver.run(wanted, X), Executed)
    _is_well(driver)


def test_converter_of_the_user_is_used(driver: Driver) -> None:
    wanted = unary("aten.exp.default", X)
    (output,) = driver.outputs(wanted, X)
    np.testing.assert_allclose(output, np.exp(X) + 1, rtol=1e-6)  # deliberately not what torch gives
    driver.backend.describe(wanted)
    text = driver.wait(lambda r: isinstance(r, KernelText) and r.signature == wanted.signature)
    assert isinstance(text, KernelText)
    assert [title for title, _ in text.sections] == ["Relax", "TensorIR"]


def test_target_that_there_is_not(tmp_path: Path, kernel_folder: Path) -> None:
    driver = _start(tmp_path, kernel_folder, target="llvm -no-such-option=7")
    try:
        reply = driver.run(GOOD, X)
        assert isinstance(reply, Failed)
        assert reply.stage is Stage.COMPILE
        assert "no-such-option" in reply.reason + reply.detail
    finally:
        driver.backend.close()
