"""What went wrong, out of the words of TVM 0.27 and of drivers as they were really met."""

from __future__ import annotations

import pytest

from tapml_tui.backends import messages, troubles
from tapml_tui.backends.troubles import Trouble

HALF = """Error caught from RPC call:
OpenCL build error for device=0x7f4014017e10
Error: CL_BUILD_PROGRAM_FAILURE
error: /tmp/cache/tempfile_Pnsvnd.cl:7:2: "Half precision floating point not supported by OpenCL on your device."
Device pthread-skylake-avx512 failed to build the program"""
AMBIGUOUS = """OpenCL build error for device=0x7f4014017e10
Error: CL_BUILD_PROGRAM_FAILURE
error: /tmp/t_NQR8R2.cl:28:11 <Spelling=/usr/share/pocl/include/_builtin_renames.h:566:19>: call to '_cl_vload4' is ambiguous
error: /tmp/t_NQR8R2.cl:32:14: call to '_cl_vload4' is ambiguous"""  # noqa: E501


@pytest.mark.parametrize(
    ("words", "trouble", "final"),
    [
        ("Check failed: (sock.Connect(addr)) is false: Connect to 10.0.0.9:9090 failed", Trouble.UNREACHABLE, False),
        ("Connect to the tracker x:9190 failed: Connection refused", Trouble.UNREACHABLE, False),
        ("URL x:9090 cannot find server that matches key=client:phone", Trouble.REFUSED_KEY, False),
        ("URL x:22 is not TVM RPC server", Trouble.NO_SERVER, True),
        ("Server[phone]: Client protocol version mismatch with the server  server protocol=0.7", Trouble.VERSION, True),
        ("the tracker x:9190 has no device with key 'phone'; it has board", Trouble.NO_KEY, False),
        ("x:9090 has no such device: vulkan", Trouble.NO_DEVICE, True),
        ("CUDA: cudaErrorInitializationError: initialization error", Trouble.NO_DEVICE, True),
        ("Recv Error: Connection reset by peer", Trouble.LOST, False),
        ("something never heard of", Trouble.OTHER, False),
    ],
)
def test_refusals(words: str, trouble: Trouble, final: bool) -> None:
    known = troubles.refusal(words)
    assert (known.trouble, known.final) == (trouble, final)
    assert known.remedy


def test_what_the_device_cannot_is_said_in_its_own_words() -> None:
    reason, detail = messages.of_exception(RuntimeError(HALF))
    assert "Half precision floating point not supported by OpenCL on your device" in reason
    assert "tempfile" not in reason
    assert HALF in detail
    assert troubles.device_cannot(HALF)


def test_code_that_the_device_refuses_is_no_lack_of_the_device() -> None:
    reason, _ = messages.of_exception(RuntimeError(AMBIGUOUS))
    assert reason == "the device's compiler refuses TVM's code: call to '_cl_vload4' is ambiguous"
    assert not troubles.device_cannot(AMBIGUOUS)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("OpenCL Error, code=-4: CL_MEM_OBJECT_ALLOCATION_FAILURE", "out of memory on the device: use a smaller case"),
        ("CUDA: out of memory", "out of memory on the device: use a smaller case"),
        ("CUDAError: cuModuleLoadData failed with error: cudaErrorIllegalAddress", "the driver gave the device up"),
        ("VkError: VK_ERROR_DEVICE_LOST", "the driver gave the device up"),
    ],
)
def test_memory_and_lost_devices(words: str, reason: str) -> None:
    assert messages.of_exception(RuntimeError(words))[0] == reason


def test_an_ordinary_error_keeps_its_words() -> None:
    assert messages.of_exception(ValueError("no such axis"))[0] == "ValueError: no such axis"
    assert not troubles.device_cannot("ValueError: no such axis")
