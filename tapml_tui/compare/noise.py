"""How far a healthy element may be off: the rule by which everything here passes or fails.

With r an element of the reference, a the same element of what is judged:

    a passes  iff  |a - r| <= allowance(r)            factor = |a - r| / allowance(r), "x times the floor"

    allowance(r) = h(r) + D(r)                        how far the *source* may be from the truth
                 + h(r) + M(r)                        how far a healthy *target* may be from it

Nothing in it is fitted to examples. That the truth is a float64 replay of the same node, and that a result
is judged by how far the trusted side itself is from it, is the rule of PyTorch's `same()`
(torch/_dynamo/utils.py); that each operator has a bound of its own, from what its arithmetic can do, is
that of arXiv 2510.16028. The parts:

h(r)  Half a ULP of r in the dtype of the value: the last rounding, once on each side (IEEE 754-2019, 4.3.1).

D(r)  What the source errs *beyond* its last rounding, as measured when carving. Two laws hold for every
      element, so the smaller one counts: the absolute one (`Floor.excess`; `Floor.max_abs` where that was not
      stored) and the relative one (`Floor.ulps`, less the half in h). The relative one is a law of the operator
      only where nothing cancels: see `RELATIVE_ULPS`.

M(r)  What the target's own arithmetic may add, in its *compute* dtype (float32 for all that is narrower).
      The largest of the following counts and not their sum: they are independent of each other, each is a bound
      that is seldom reached, and h and D stand beside them.
      - Functions (exp, rsqrt, tanh, division): `FUNCTIONS` unit roundoffs of what they give.
      - What the source shows of the operator's conditioning: `CONDITIONING` times D(r).
      - Sums of n terms: `DEVIATIONS` standard deviations of n roundings one after the other.
      - The same sum in the order of the source, D(r), brought to the worst order: `ORDER` times the ratio of
        the standard deviation just named to the source's measured rms. This one knows what |r| does not: rows
        whose partial sums are larger than the others'. The ratio is at least 1 and at most sqrt(n), as
        every order rounds its last sum.
      - One rounding to the dtype on the way, where that is narrower than float32: one unit roundoff of what is
        rounded. Where the source does that too, D shows it, and it does not count twice. A single sum,
        product or function has no place where that could happen.

What is rounded, or given by a function, is r itself, or an intermediate that hides behind a smaller r = x + y
(a bias, a shift). With x and y independent and r given, x has a deviation of at most half of that of r, so that
four deviations of it are `HIDDEN` times the rms of the reference.

Where the inputs of a sum of products, or of attention, are at hand, both sides are known better than by these averages:
see `Known`, `sums` and `attention`.

Chained, D is measured against a replay of the whole model, and every kernel upstream may err by another
constant than the source's: all of it is multiplied by `CHAINED`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from tapml_tui.compare.precision import Precision, half_ulp, precision
from trace_format.model import Floor

Floats: TypeAlias = npt.NDArray[Any]

FUNCTIONS = 12.0
"""Unit roundoffs of the result that functions may cost.

Exp, rsqrt, sin, tanh are guaranteed to 4 ULP or better by what targets document: OpenCL C 3.0 ("Relative
error as ULPs": exp, log, sin 4 or better, rsqrt 2, division 2.5) and the CUDA C++ programming guide
(expf, sinf 2, rsqrtf 2, tanhf 2). Vulkan's SPIR-V precision is laxer (exp: 3 + 2|x| ULP), as are fast-math
intrinsics: what relies on that is reported, and is for the user to allow. 4 ULP are up to 8 unit
roundoffs, as an ULP is up to two of them, and 4 more are for one that follows: exp, then a division.
"""

CONDITIONING = 4.0
"""How much more than the source a target may err where an operator magnifies the error of its functions.

The source's libraries are good to about 1 ULP, targets to 4 (see `FUNCTIONS`), and what the operator
makes of an error (gelu's 1 + erf(x) near -1) it makes of both. In types narrower than float32, what the source
errs are roundings to the type, of which a target has as many.
"""

DEVIATIONS = 8.0
"""How many standard deviations of the rounding of a long sum are healthy.

n roundings in sequence add up like sqrt(n), not like n (Higham and Mary, "A New Approach to Probabilistic
Rounding Error Analysis", SIAM J. Sci. Comput. 41(5), 2019, theorem 2.4). Each errs by `ROUNDING` unit
roundoffs of the partial sum. Partial sums are a random walk: of the element's own size at its end, so
u * |r| * sqrt(n / 3) for one that walked straight there, and u * rms * sqrt(n / 2) on average. Walks differ,
so the tail falls off like exp(-1.8 d) and not like that of a normal distribution: of 3 million simulated
ones, one in 100 thousand was beyond 6.4 such deviations, one in a million beyond 7.8.
"""

ROUNDING = 0.425
"""Root mean square of one rounding error, in unit roundoffs of what is rounded.

Uniform within half a ULP gives 1/sqrt(3) of half a ULP, and half a ULP is 1/m roundoffs of a number with the
mantissa m, which is distributed like 1/m on [1, 2): sqrt(3 / (8 ln 2)) / sqrt(3).
"""

ORDER = 2.0
"""Margin on the source's own error when it stands for another order of its sum: both are the largest of a sample."""

UNKNOWN_TERMS = 65536.0
"""Where nobody says how long the sums are, they are like the longest that models have: a vocabulary, a context."""

UNKNOWN_ORDER = 8.0
"""How much more than the source one errs that sums one after the other, where neither n nor the ratio is known.

Sums side by side in L lanes err 1/sqrt(L) as much; the CPUs that make references have up to 64 (16 floats in a
vector, four accumulators).
"""

CHAINED = ORDER * UNKNOWN_ORDER

RELATIVE_ULPS = 4.0
"""Up to here, an error in ULPs is a law of the operator.

A function and a few roundings make that much, whatever the element. More of them come from cancellation, and
tell where the source happened to land: gelu(-6) is exactly 0 in many libraries, which says nothing about another.
"""

HIDDEN = 2.0

FLOAT32 = Precision(23, 2.0**-150)


class Known(NamedTuple):
    """What the inputs of an operator tell of each element of its output, in the unit of the value.

    The target may be off from the truth, which may lie on either side of r: instead of h(r) + D(r) the source adds
    truth - r to what a larger result may be off, and r - truth to what a smaller one may. The target rounds what it
    has, which is at most |r| and all that both may err, and so may be coarser than r where a power of two lies
    between. M is `straying`; where the source strays k times as far beyond its last rounding, it rounds more often
    than once, and the target may do so everywhere: k times `straying`, as far as D(r) goes.

    Where r is so far from the truth that less than that is left on its other side, a result beyond it is measured from
    the truth: next to nothing that is left, it would be off by thousands.

    Attributes:
        straying: How far healthy arithmetic may stray before its last rounding; infinite where nobody knows.
        truth: The result without any rounding; None where float64 is no better than the value.
    """

    straying: Floats
    truth: Floats | None


class Law(ABC):
    """An allowance as a function of the magnitude of the reference; it never falls where that rises."""

    __slots__ = ()
    origin: str

    @abstractmethod
    def allow(self, magnitude: Floats, out: Floats, scratch: Floats) -> Floats:
        """`allowance` without temporaries: `out` and `scratch` are like `magnitude`."""

    @property
    @abstractmethod
    def steepness(self) -> float:
        """No allowance is less than this part of its element."""

    def allowance(self, magnitude: Floats) -> Floats:
        """How far each element may be off.

        Args:
            magnitude: Absolute values of reference elements, float64, or float32 where it holds the dtype of the
                value; any shape. NaN and Inf give something that no caller may use.

        Returns:
            In the unit of the value and the dtype of `magnitude`.
        """
        magnitude = np.ascontiguousarray(magnitude)
        with np.errstate(all="ignore"):
            return self.allow(magnitude, np.empty_like(magnitude), np.empty_like(magnitude))

    def allowed(self, reference: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """How far each element of a reference may be off; see `allowance`."""
        with np.errstate(all="ignore"):  # also the cast: a NaN may be a signalling one
            wide = reference.astype(np.complex128 if reference.dtype.kind == "c" else np.float64)
            return np.asarray(self.allowance(np.abs(wide)), np.float64)

    def at(self, magnitude: float) -> float:
        """The allowance of one element."""
        return float(self.allowance(np.array([magnitude], np.float64))[0])


@dataclass(frozen=True, slots=True)
class Tolerance(Law):
    """What a user allows instead of the noise: `absolute + relative * |r|`."""

    absolute: float
    relative: float
    origin: str = "override"

    def allow(self, magnitude: Floats, out: Floats, scratch: Floats) -> Floats:
        """See `Law`."""
        np.multiply(magnitude, self.relative, out=out)
        out += self.absolute
        np.maximum(out, np.finfo(out.dtype).smallest_subnormal, out=out)  # nothing is divided by zero
        return out

    @property
    def steepness(self) -> float:
        """See `Law`."""
        return self.relative


@dataclass(frozen=True, slots=True)
class Noise(Law):
    """The rule for one value.

    Attributes:
        unit: The dtype whose last place counts: of a mixed pair the coarser one.
        origin: "float64" if a measured floor is in it, else "bound".
        absolute: The absolute law of D, in the value's unit.
        ulps: The relative law of D, in ULPs; infinite if there is none.
        spread: M is at least so many times D.
        slope: M is at least so much of the element.
        least: M is at least this, in the value's unit.
        smallest: No allowance is below: a target may flush subnormals of its compute dtype to zero.
        times: All of it is multiplied by this, because the user says so.
    """

    unit: Precision
    origin: str
    absolute: float
    ulps: float
    spread: float
    slope: float
    least: float
    smallest: float
    times: float = 1.0

    def allow(self, magnitude: Floats, out: Floats, scratch: Floats) -> Floats:
        """See `Law`."""
        ulp = self.unit.ulp(magnitude, out=out)
        np.multiply(magnitude, self.slope, out=scratch)
        if self.absolute == 0.0 or self.ulps == 0.0:
            np.maximum(scratch, self.least, out=scratch)
        elif math.isinf(self.ulps):
            np.maximum(scratch, max(self.least, self.spread * self.absolute), out=scratch)
            scratch += self.absolute
        else:
            beyond = np.multiply(ulp, self.ulps)
            np.minimum(beyond, self.absolute, out=beyond)
            np.maximum(scratch, self.least, out=scratch)
            scratch += beyond
            if self.spread:  # max(m, s d) + d = max(m + d, (s + 1) d)
                beyond *= self.spread + 1
                np.maximum(scratch, beyond, out=scratch)
        out += scratch
        np.maximum(out, self.smallest, out=out)
        if self.times != 1.0:
            out *= self.times
        return out

    def knowing(self, reference: Floats, actual: Floats, known: Known) -> Floats:
        """The allowance of each element of which so much is known, as float64."""
        value = reference.astype(np.float64)
        half = half_ulp(np.abs(value), self.unit)
        straying = known.straying
        with np.errstate(all="ignore"):
            error = actual.astype(np.float64) - value
            beyond = np.full_like(half, self.absolute)
            if math.isfinite(self.ulps):
                np.minimum(beyond, 2 * self.ulps * half, out=beyond)
            source, more = half + beyond, beyond
            if known.truth is not None:
                astray = known.truth - value
                further = (np.abs(astray) - half) / straying
                more = np.fmin(beyond, np.max(further, where=np.isfinite(further), initial=0.0) * straying)
                source = np.fmin(source, astray * np.sign(error))
            straying = np.maximum(straying, more)
            room = straying + half_ulp(np.abs(value) + np.abs(source) + straying, self.unit)
            off = np.abs(error)
            allowed = np.maximum(source + room, np.maximum(half, self.smallest))
            too_far = (off > allowed) & (source < 0) & np.isfinite(off)
            allowed[too_far] = (off * (room / (off - source)))[too_far]
            allowed *= self.times
        return np.where(np.isfinite(allowed), allowed, self.allowance(np.abs(value)))

    @property
    def steepness(self) -> float:
        """See `Law`."""
        return (self.slope + self.unit.roundoff) * self.times  # an ULP is more than one roundoff


def noise_of(
    dtype: np.dtype[Any],
    floor: Floor | None,
    rms: float,
    *,
    terms: float | None = None,
    functions: bool = True,
    hidden: float = HIDDEN,
    share: float = 1.0,
    steps: bool = True,
    chained: bool = False,
) -> Noise:
    """The rule for one value.

    Args:
        dtype: A floating or complex dtype; of a mixed pair the coarser one.
        floor: What was measured when carving; None, or "bound" for a node alone: nothing was.
        rms: Root mean square of the finite elements of the reference.
        terms: How many terms an element sums; chained, in the longest sum upstream. 1: none. None: not known.
        functions: Whether the kernel computes more than sums and products.
        hidden: Size of what may be rounded on the way to a smaller result, in rms of the reference. 0 where all
            intermediates are proportional to the result. A score of attention is rounded by u * |score|, which its
            weight then errs relative to itself, and the scores that have weight are the largest: four times their rms.
        share: How much of the relative error of functions arrives in a large result. Of x / 2 * (1 + erf(x / sqrt 2))
            it is half, as the sum is at least 1 for a positive x, and 4 ULP of an erf below 1 are 4 roundoffs: 2.7 of
            the sum, 0.8 of the argument's rounding, 2 of sum and product.
        steps: Whether there is a place in it where a narrow type may be rounded to on the way: not within one function.
        chained: Whether `floor` is that of the whole model up to here.

    Raises:
        ValueError: The dtype is compared exactly.
    """
    unit = precision(dtype)
    if unit is None:
        raise ValueError(f"{dtype} is compared exactly")
    narrow = unit.fraction_bits < FLOAT32.fraction_bits
    compute = FLOAT32 if narrow else unit
    u = compute.roundoff
    # A float64 value is its own replay: that it is exact says nothing.
    known = floor is not None and (chained or floor.origin == "float64") and (floor.max_abs > 0 or not unit.wide)
    absolute = ulps = 0.0
    if floor is not None and known:
        absolute = min(floor.excess, floor.max_abs)
        ulps = max(floor.ulps - 0.5, 0.0) if floor.ulps <= RELATIVE_ULPS else math.inf

    spread = (CONDITIONING if functions else 0.0) if not narrow else 1.0
    slope = FUNCTIONS * u if functions else 0.0
    least = slope * hidden * rms
    slope *= share
    if narrow and steps and (functions or terms != 1.0):
        slope = max(slope, unit.roundoff)
        least = max(least, unit.roundoff * hidden * rms)
    count = terms if terms is not None else (UNKNOWN_TERMS if not known else 1.0)
    if terms is None and known:
        spread = max(spread, ORDER * UNKNOWN_ORDER)
    if count > 1:
        deviation = ROUNDING * u * math.sqrt(count)
        slope = max(slope, DEVIATIONS * deviation / math.sqrt(3))
        least = max(least, DEVIATIONS * deviation / math.sqrt(2) * rms)
        if floor is not None and floor.rms > 0 and not narrow:
            ratio = deviation / math.sqrt(2) * rms / floor.rms
            spread = max(spread, ORDER * min(max(1.0, ratio), math.sqrt(count)))
    if chained:
        spread = max(spread, CHAINED)
    return Noise(
        unit=unit,
        origin="float64" if floor is not None and known and floor.origin == "float64" else "bound",
        absolute=absolute,
        ulps=ulps,
        spread=spread,
        slope=slope,
        least=least,
        smallest=2.0**-1022 if unit.wide else 2.0**-126,
    )
