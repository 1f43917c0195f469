"""Numbers as an engineer reads them at a glance."""

from __future__ import annotations

import math


def factor(value: float) -> str:
    """A multiple of the noise floor in at most six cells."""
    if math.isnan(value):
        return "nan"
    if math.isinf(value):
        return "∞"
    if value == 0:
        return "0"
    if value < 0.05:
        return "<0.1"
    if value < 10:
        return f"{value:.1f}".removesuffix(".0")
    if value < 99_999.5:
        return f"{value:.0f}"
    mantissa, exponent = f"{value:.1e}".split("e")
    return f"{mantissa}e{int(exponent)}"


def number(value: complex | float | int | bool) -> str:
    """One element of a tensor, short and exact enough to compare by eye."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value) if abs(value) < 10**12 else f"{value:.6e}"
    if isinstance(value, complex):
        return f"{value.real:.3g}{value.imag:+.3g}j"
    if math.isnan(value):
        return "nan"
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    return f"{value:.5g}"


def narrow(value: complex | float | int | bool, width: int) -> str:
    """One element with as many digits, up to five, as there are cells for."""
    text = number(value)
    if isinstance(value, float) and math.isfinite(value):
        for digits in (4, 3, 2, 1):
            if len(text) <= width:
                break
            text = f"{value:.{digits}g}"
    return text if len(text) <= width else text[: max(width - 1, 0)] + "…"


def exact(value: complex | float | int | bool) -> str:
    """One element with enough digits to tell float32 neighbours apart."""
    return f"{value:.9g}" if isinstance(value, float) and math.isfinite(value) else number(value)


def milliseconds(value: float) -> str:
    """A time in milliseconds, or seconds where that reads better."""
    if value >= 10_000:
        return f"{value / 1000:.1f} s"
    return f"{value:.0f} ms" if value >= 100 else f"{value:.2g} ms"


def scientific(value: float) -> str:
    """An error or a floor in two digits: nobody compares the third."""
    if not math.isfinite(value):
        return number(value)
    return f"{value:.0f}" if 100 <= value < 1e6 else f"{value:.2g}"


def size(count: float) -> str:
    """Bytes, in the unit that leaves one to four digits."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" or count >= 10 else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def shape(sizes: tuple[int, ...]) -> str:
    """`[1, 4, 64]`; a scalar is `[]`. Long ones are cut in the middle."""
    if len(sizes) > 8:
        head, tail = ", ".join(map(str, sizes[:4])), ", ".join(map(str, sizes[-3:]))
        return f"[{head}, …, {tail}]"
    return "[" + ", ".join(map(str, sizes)) + "]"


_SHORT = {
    "float64": "f64",
    "float32": "f32",
    "float16": "f16",
    "bfloat16": "bf16",
    "int64": "i64",
    "int32": "i32",
    "int16": "i16",
    "int8": "i8",
    "uint8": "u8",
    "complex64": "c64",
    "complex128": "c128",
}


def dtype(name: str) -> str:
    """A dtype in few letters: f32, bf16, i64."""
    return _SHORT.get(name, name)
