"""What went wrong at the device's end, out of the words of TVM and of drivers: what it is, and what to do."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum


class Trouble(StrEnum):
    """Kinds that ask for different things to be done."""

    UNREACHABLE = "cannot connect"
    REFUSED_KEY = "refused key"
    BUSY = "busy with somebody else"
    NO_SERVER = "no TVM RPC server"
    VERSION = "version mismatch"
    NO_DEVICE = "no such device there"
    NO_KEY = "no such key at the tracker"
    POISONED = "session poisoned"
    LOST = "connection lost"
    OTHER = "something else"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why no session came about.

    Attributes:
        trouble: The kind.
        remedy: What to do, "" if only the message itself says.
        final: Trying again changes nothing.
    """

    trouble: Trouble
    remedy: str = ""
    final: bool = False


# Words of TVM 0.27 (runtime/rpc/rpc_socket_impl.cc, rpc_endpoint.cc, python/tvm/rpc), of sockets, and of our worker.
_REFUSALS: tuple[tuple[str, Refusal], ...] = (
    ("cannot find server that matches key", Refusal(Trouble.REFUSED_KEY, "give the server's own key with --key K")),
    ("already have key", Refusal(Trouble.BUSY, "somebody else waits at the proxy with this key: try again later")),
    ("is not TVM RPC server", Refusal(Trouble.NO_SERVER, "check the port: something else listens there", final=True)),
    (
        "protocol version mismatch",
        Refusal(Trouble.VERSION, "install the same version of TVM at both ends", final=True),
    ),
    ("has no device with key", Refusal(Trouble.NO_KEY, "start the server there with this key, or name another one")),
    ("is no TVM RPC tracker", Refusal(Trouble.NO_SERVER, "check the port of --tracker", final=True)),
    (
        "is not enabled",
        Refusal(Trouble.NO_DEVICE, "the TVM of that server was built without it: use one that has it", final=True),
    ),
    (
        "has no such device",
        Refusal(
            Trouble.NO_DEVICE,
            "start the server with a TVM that has this runtime (--load-library, --no-fork for CUDA), or check --device",
            final=True,
        ),
    ),
    (
        "cudaErrorInitializationError",
        Refusal(Trouble.NO_DEVICE, "CUDA does not survive a fork: start the server with --no-fork", final=True),
    ),
    (
        r"Connect to .* failed|Connection refused|No route to host|Name or service not known|getaddrinfo|timed out",
        Refusal(Trouble.UNREACHABLE, "is the server running, and is the tunnel open?"),
    ),
    (
        r"Connection reset|RecvAll|Broken pipe|kShutdown|connection reset|gave back other bytes",
        Refusal(Trouble.LOST, "the other end hung up: see its log"),
    ),
)
_UNKNOWN = Refusal(Trouble.OTHER, "is the server running, and is the key right?")

# Said by a session that an earlier call broke: the request that met it is innocent.
_POISONED = ("pending_request_bytes_", "args.size() ==")

# What a device says when it is the device that cannot, and not the kernel that is wrong.
_CANNOT = re.compile(
    r"half precision|double precision|cl_khr_fp(16|64)|cl_khr_int64|not supported (by|on) .*(device|implementation)"
    r"|unsupported extension|shader-f16|float16 (is )?not supported|f16 .*not (enabled|supported)"
    r"|cudaErrorNoKernelImageForDevice|no kernel image is available|CUDA_ERROR_NO_BINARY_FOR_GPU"
    r"|CL_INVALID_WORK_GROUP_SIZE|CL_INVALID_WORK_ITEM_SIZE|CL_INVALID_KERNEL_ARGS.*too many"
    r"|exceeds.*(shared|local|workgroup|threadgroup) memory|too many resources requested for launch"
    r"|does not support (int64|float64|float16|double|half|8-bit|16-bit)|requires (feature|capability)",
    re.IGNORECASE,
)
_MEMORY = re.compile(
    r"out of memory|CL_MEM_OBJECT_ALLOCATION_FAILURE|CL_OUT_OF_HOST_MEMORY|CL_INVALID_BUFFER_SIZE|bad_alloc"
    r"|cudaErrorMemoryAllocation|VK_ERROR_OUT_OF_(DEVICE|HOST)_MEMORY|cannot allocate memory",
    re.IGNORECASE,
)
_DEVICE_LOST = re.compile(
    r"device.{0,12}lost|cudaErrorIllegalAddress|cudaErrorLaunchFailure|illegal memory access|unspecified launch failure"
    r"|CL_DEVICE_NOT_AVAILABLE|CL_INVALID_COMMAND_QUEUE|VK_ERROR_DEVICE_LOST|command buffer.*(error|abort|ignored)",
    re.IGNORECASE,
)
_BUILD_FAILURE = re.compile(r"BUILD_PROGRAM_FAILURE|build error for device|CL_COMPILE_PROGRAM_FAILURE")
_COMPILER_LINE = re.compile(
    r"(?m)^\s*(?:\S+:\d+:\d+:\s*)?(?:fatal )?error:?\s+(?:\S+\.\w+:\d+:\d+\s*(?:<[^>]*>)?:?\s*)?(.+)$"
)


def refusal(words: str) -> Refusal:
    """Why a connection was refused, out of the message."""
    return next((known for pattern, known in _REFUSALS if re.search(pattern, words)), _UNKNOWN)


def is_poisoned(words: str) -> bool:
    """Whether an earlier call has spoilt the session."""
    return any(known in words for known in _POISONED)


def device_cannot(words: str) -> bool:
    """Whether the device says that it lacks what the kernel needs."""
    return _CANNOT.search(words) is not None


def is_out_of_memory(words: str) -> bool:
    """Whether the device had no memory left."""
    return _MEMORY.search(words) is not None


def is_device_lost(words: str) -> bool:
    """Whether the driver has given the device up: whatever runs next fails too."""
    return _DEVICE_LOST.search(words) is not None


def in_words(text: str) -> str:
    """One line for what the device's own compiler or driver says, "" where the message is none of theirs."""
    if _BUILD_FAILURE.search(text):
        lines = [line for line in _COMPILER_LINE.findall(text) if not line.startswith("CL_")]
        said = next((line for line in lines if device_cannot(line)), lines[0] if lines else "")
        verb = "the device cannot run it" if device_cannot(text) else "the device's compiler refuses TVM's code"
        return f"{verb}: {said.strip().strip(chr(34)).strip() or 'CL_BUILD_PROGRAM_FAILURE'}"
    if is_out_of_memory(text):
        return "out of memory on the device: use a smaller case"
    if is_device_lost(text):
        return "the driver gave the device up"
    return ""
