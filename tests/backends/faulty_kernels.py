"""A `--lower` file with kernels that misbehave: what faults are made of in tests.

sinh   never returns                cosh   kills the process that runs it
tan    breaks the RPC session: writes into its socket
asin   raises while converting      acos   kills the compiler
atan   never ends converting        sin    calls a function that there is not
atanh  takes its time
"""

import ctypes
import signal
import time

from tvm import relax, te, tirx


def _external(name, *arguments):
    """A kernel that calls a C function for every element of its input."""

    def build(bb, args, kwargs):
        def compute(a):
            call = tirx.call_extern("int32", name, *arguments)
            return te.compute(a.shape, lambda *i: a(*i) + tirx.Cast("float32", call))

        return bb.emit_te(compute, args[0])

    return build


def _breaks_session(bb, args, kwargs):
    def compute(a):
        # The socket is one of the lowest descriptors. What is written is no packet of TVM's RPC.
        calls = [tirx.call_extern("int32", "dprintf", fd, "x" * 64) for fd in range(3, 16)]
        return te.compute(a.shape, lambda *i: a(*i) + tirx.Cast("float32", sum(calls[1:], calls[0])))

    return bb.emit_te(compute, args[0])


def _raises(bb, args, kwargs):
    raise ValueError("this converter always raises")


def _kills(bb, args, kwargs):
    ctypes.string_at(0)


def _hangs(bb, args, kwargs):
    time.sleep(1e6)


_BUILDERS = {
    "aten.sinh.default": _external("sleep", 1000000),
    "aten.cosh.default": _external("raise", int(signal.SIGSEGV)),
    "aten.tan.default": _breaks_session,
    "aten.sin.default": _external("no_such_function_anywhere"),
    "aten.asin.default": _raises,
    "aten.acos.default": _kills,
    "aten.atan.default": _hangs,
    "aten.atanh.default": _external("usleep", 300_000),
    "aten.exp.default": lambda bb, args, kwargs: relax.op.add(relax.op.exp(args[0]), relax.const(1.0, "float32")),
}


def lower(op):
    """What `--lower` asks for."""
    return _BUILDERS.get(op)
