"""A `--lower` file with kernels that take their time without taking a core: what a slow device looks like.

Sums, products and linear layers are right, and sleep once.
"""

from tvm import relax, te, tirx

MICROSECONDS = 200_000


def _sleeping(compute):
    def build(bb, args, kwargs):
        result = bb.normalize(compute(*args, **kwargs))
        dtype = str(result.ty.dtype)

        def wait(a):
            def element(*i):
                first = tirx.all(*(one == 0 for one in i))
                slept = tirx.call_extern("int32", "usleep", MICROSECONDS)
                # It sleeps at the first element, and returns 0.
                return a(*i) + tirx.Cast(dtype, tirx.if_then_else(first, slept, 0))

            return te.compute(a.shape, element)

        return bb.emit_te(wait, bb.emit(result))

    return build


def _operand(like, value):
    return value if isinstance(value, relax.Expr) else relax.const(value, str(like.ty.dtype))


_BUILDERS = {
    "aten.add.Tensor": _sleeping(
        lambda a, b, alpha=1: relax.op.add(a, relax.op.multiply(_operand(a, b), _operand(a, alpha)))
    ),
    "aten.mul.Tensor": _sleeping(lambda a, b: relax.op.multiply(a, _operand(a, b))),
    "aten.linear.default": _sleeping(relax.op.linear),
    "aten.relu.default": _sleeping(relax.op.nn.relu),
}


def lower(op):
    """What `--lower` asks for."""
    return _BUILDERS.get(op)
