"""Every way to a device, with TVM's own servers, trackers and proxies."""

from __future__ import annotations

import os
import signal
from contextlib import ExitStack, suppress
from pathlib import Path

import numpy as np
import pytest

from tapml_tui.backends.address import Address
from tapml_tui.backends.launch import TargetOptions, make_backends
from tapml_tui.backends.protocol import BackendStatus, Deadlines, Executed, Failed, Stage, State
from tapml_tui.backends.reach import openness, reach
from tests.backends.driver import Driver, unary, wait_until
from tests.backends.servers import free_ports, listens, tvm_program

X = np.linspace(-1, 1, 8, dtype=np.float32)
GOOD = unary("aten.relu.default", X)
DEADLINES = Deadlines(start=120, connect=30, run=10)


def _start(folder: Path, kernels: Path, **options: object) -> Driver:
    wanted = TargetOptions(**options)  # type: ignore[arg-type]
    return Driver(make_backends(wanted, deadlines=DEADLINES, cache_dir=kernels, state_dir=folder)[1], folder)


def _is_well(driver: Driver) -> None:
    (output,) = driver.outputs(GOOD, X)
    np.testing.assert_array_equal(output, np.maximum(X, 0))


def _says(driver: Driver, *words: str) -> None:
    status = driver.state(State.FAILED)
    assert all(word in status.detail for word in words), status
    reply = driver.run(GOOD, X)
    assert isinstance(reply, Failed)
    assert reply.device_lost


@pytest.mark.slow
@pytest.mark.tvm
def test_a_direct_server_with_a_key(tmp_path: Path, kernel_folder: Path) -> None:
    (port,) = free_ports(1)
    place = f"127.0.0.1:{port}"
    with tvm_program("rpc_server", port, "--key", "board"):
        assert reach(Address("cpu", server=("127.0.0.1", port))).ok
        wrong = _start(tmp_path, kernel_folder, rpc=place, key="phone")
        try:
            _says(wrong, "cannot find server that matches key", "--key")
        finally:
            wrong.backend.close()
        other = _start(tmp_path, kernel_folder, rpc=place, key="board", device="vulkan")
        try:
            _says(other, "vulkan", "--device")
        finally:
            other.backend.close()
        driver = _start(tmp_path, kernel_folder, rpc=place, key="board")
        try:
            _is_well(driver)
        finally:
            driver.backend.close()


@pytest.mark.slow
@pytest.mark.tvm
@pytest.mark.parametrize("through_proxy", [False, True])
def test_a_stock_server_outlives_us(tmp_path: Path, kernel_folder: Path, through_proxy: bool) -> None:
    """Who is closed in the middle of a transfer leaves a server that serves the next one."""
    large = np.ones(2 << 20, np.float32)
    wanted = unary("aten.neg.default", large)
    (port,) = free_ports(1)
    with ExitStack() as stack:
        if through_proxy:
            stack.enter_context(tvm_program("rpc_proxy", port))
        way = ["--through-proxy"] if through_proxy else []
        stack.enter_context(tvm_program("rpc_server", port, *way, "--key", "board"))
        for _ in range(3):
            driver = _start(tmp_path, kernel_folder, rpc=f"127.0.0.1:{port}", key="board")
            try:
                _is_well(driver)
                operand = driver.operand(large, "large")
                assert isinstance(driver.run(wanted, operand), Executed)
                for _ in range(4):
                    driver.execute(wanted, operand)
                pending = driver.backend._waiting  # type: ignore[attr-defined]
                wait_until(lambda p=pending: any(one.stage is Stage.FETCH for one in list(p.values())), "it is fetched")  # type: ignore[misc]
            finally:
                driver.backend.close()


@pytest.mark.slow
@pytest.mark.tvm
def test_a_tracker_whose_devices_die(tmp_path: Path, kernel_folder: Path) -> None:
    """Killed in the middle: the session moves on to the next device."""
    ports = free_ports(3)
    tracker = f"127.0.0.1:{ports[0]}"
    register = ("--tracker", tracker, "--key", "board")
    with (
        tvm_program("rpc_tracker", ports[0]),
        tvm_program("rpc_server", ports[1], *register) as first,
        tvm_program("rpc_server", ports[2], *register) as second,
    ):
        address = Address("cpu", tracker=("127.0.0.1", ports[0]), key="board")
        wait_until(lambda: "2 of 2 free" in reach(address).words, "both are registered", 120)
        assert not reach(Address("cpu", tracker=address.tracker, key="phone")).ok
        wrong = _start(tmp_path, kernel_folder, tracker=tracker, key="phone")
        try:
            _says(wrong, "no device with key 'phone'", "board")
        finally:
            wrong.backend.close()
        driver = _start(tmp_path, kernel_folder, tracker=tracker, key="board")
        try:
            _is_well(driver)
            wait_until(lambda: "1 of 2 free" in reach(address).words, "one is taken", 60)
            used = next(line.text for line in driver.replies if "connected to" in getattr(line, "text", ""))
            os.killpg((first if f":{ports[1]}" in used else second).pid, signal.SIGKILL)
            _is_well(driver)  # what is idle notices when it is used
            assert State.LOST in [status.state for status in driver.states]
        finally:
            driver.backend.close()


@pytest.mark.slow
@pytest.mark.tvm
def test_a_device_that_calls_a_proxy(tmp_path: Path, kernel_folder: Path) -> None:
    (port,) = free_ports(1)
    with tvm_program("rpc_proxy", port), tvm_program("rpc_server", port, "--through-proxy", "--key", "browser"):
        driver = _start(tmp_path, kernel_folder, rpc=f"127.0.0.1:{port}", key="browser")
        try:
            _is_well(driver)
        finally:
            driver.backend.close()


@pytest.mark.tvm
def test_a_port_of_another_program(tmp_path: Path, kernel_folder: Path) -> None:
    import socket
    import threading

    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection, suppress(ConnectionError):
                    connection.sendall(b"SSH-2.0-OpenSSH_9.6\r\n")
                    while connection.recv(100):
                        pass

        threading.Thread(target=answer, daemon=True).start()
        driver = _start(tmp_path, kernel_folder, rpc=f"127.0.0.1:{listener.getsockname()[1]}")
        try:
            _says(driver, "is not TVM RPC server", "something else listens")
        finally:
            driver.backend.close()


def test_what_answers_and_what_is_open() -> None:
    import socket

    (free,) = free_ports(1)
    assert not listens(free)
    assert not reach(Address("cpu", server=("127.0.0.1", free))).ok
    silent = reach(Address("cpu", tracker=("127.0.0.1", free), key="k"))
    assert not silent.ok
    assert "refused" in silent.words.lower()
    assert openness(Address("cpu")) == ""
    assert "tunnel" in openness(Address("cpu", server=("192.0.2.7", 9090)))
    with socket.create_server(("127.0.0.1", 0)) as local:
        assert openness(Address("cpu", server=("127.0.0.1", local.getsockname()[1]))) == ""
    with socket.create_server(("0.0.0.0", 0)) as public:
        port = public.getsockname()[1]
        assert "from everywhere" in openness(Address("cpu", server=("127.0.0.1", port)))
        assert not reach(
            Address("cpu", tracker=("127.0.0.1", port), key="k"), patience=0.5
        ).ok  # no tracker: says nothing


@pytest.mark.slow
def test_states_say_it_in_words(tmp_path: Path, kernel_folder: Path) -> None:
    (free,) = free_ports(1)
    driver = _start(tmp_path, kernel_folder, rpc=f"127.0.0.1:{free}")
    try:
        again = driver.wait(lambda r: isinstance(r, BackendStatus) and "again in" in r.detail)
        assert isinstance(again, BackendStatus)
        assert again.state is State.CONNECTING
        _says(driver, "Is the server running")
        assert not isinstance(driver.run(GOOD, X), Executed)
    finally:
        driver.backend.close()


@pytest.mark.slow
@pytest.mark.tvm
@pytest.mark.parametrize(("name", "words"), [("cosh", "took the device with it"), ("sinh", "did not return")])
def test_a_stock_server_that_a_kernel_killed(tmp_path: Path, kernel_folder: Path, name: str, words: str) -> None:
    """It looks alive, and serves nobody any more. When it has been started again, all but that kernel go on."""
    (port,) = free_ports(1)
    lower = str(Path(__file__).with_name("faulty_kernels.py"))
    deadlines = Deadlines(start=120, connect=6, run=2, reconnect=10)
    options = TargetOptions(rpc=f"127.0.0.1:{port}", key="board", lower=lower)
    bad = unary(f"aten.{name}.default", X)

    def start() -> Driver:
        backend = make_backends(options, deadlines=deadlines, cache_dir=kernel_folder, state_dir=tmp_path)[1]
        return Driver(backend, tmp_path)

    with tvm_program("rpc_server", port, "--key", "board"):
        driver = start()
        try:
            _is_well(driver)
            reply = driver.run(bad, X, label=f"layers.0/{name}")
            assert isinstance(reply, Failed)
            assert f"layers.0/{name}" in reply.reason
            assert words in reply.reason
            assert (driver.states[-1].state, "Restart it" in driver.states[-1].detail) == (State.FAILED, True)
        finally:
            driver.backend.close()
    with tvm_program("rpc_server", port, "--key", "board"):
        driver = start()
        try:
            reply = driver.run(bad, X)
            assert isinstance(reply, Failed)
            assert not reply.device_lost
            assert f"layers.0/{name}" in reply.reason
            _is_well(driver)
        finally:
            driver.backend.close()
