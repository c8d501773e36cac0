"""The formulas of compiled code, each once: exp, expm1, log, log1p, tanh, the logistic function,
softplus, tails.

All formulas use arithmetic only, so that a loop over them uses full vectors.

Numba's ``math.exp`` calls a function for each number. Here x = k ln 2 + r with a whole k and |r| <=
ln 2 / 2, so that exp(x) = 2^k exp(r): exp(r) is a polynomial, and multiplying by 2^k adds k to the
exponent's bits. (Cody, Waite, Software Manual for the Elementary Functions, 1980, chapter 6.)
"""

import math
from collections.abc import Callable
from typing import Any

import numpy
from numba import types
from numba.extending import overload

from xpnet.ops.gated import FAR, NORMAL_TAIL, ROOT_2_PI
from xpnet_numba.kinds import Scalar
from xpnet_numba.llvm.arithmetic import bits, polynomial
from xpnet_numba.llvm.emit import INNER, njit

EXACT: dict[str, object] = {"fastmath": {"contract", "nsz", "arcp"}, "error_model": "numpy"}
"""The options for code whose rounding must not be reordered.

``contract`` fuses a * b + c, ``nsz`` ignores the sign of zero, ``arcp`` multiplies by a reciprocal:
each changes a result by a rounding at most. ``reassoc`` would undo the reduction to r (errors of
1e-2), ``nnan`` and ``ninf`` would let the compiler assume that no NaN and no infinity occurs. With
Python's error model each division would be guarded by a branch, and no loop with a division would
vectorise.
"""

FAST: dict[str, object] = {
    "fastmath": {"reassoc", "contract", "nsz", "arcp"},
    "error_model": "numpy",
}
"""The options for all other code: ``EXACT`` and ``reassoc``, which lets a sum be taken in several
lanes at once.

NaN and infinities keep their meaning: a sum that holds one still ends as the reference's does, in
any order.
"""

f4, i4, i8 = numpy.float32, numpy.int32, numpy.int64

LOG_2 = 6.93147180559945309417e-01

EXP32 = 5.0000001e-1, 1.66666659e-1, 4.16662949e-2, 8.33349708e-3, 1.39446596e-3, 1.9790341e-4
_EXP64 = """
    5.0000000000000106271e-1 1.6666666666666412523e-1 4.1666666666530158494e-2
    8.3333333334944616639e-3 1.3888888943630134161e-3 1.9841269506578723932e-4
    2.4801493098887391545e-5 2.7557586373785180954e-6 2.763024838532302056e-7
    2.5000061625531279587e-8
"""
EXP64 = tuple(map(float, _EXP64.split()))
"""The coefficients of (exp(r) - 1 - r) / r^2, from the constant on."""

_LOG = """
    6.666666666666735130e-01 3.999999999940941908e-01 2.857142874366239149e-01
    2.222219843214978396e-01 1.818357216161805012e-01 1.531383769920937332e-01
    1.479819860511658591e-01
"""
LOG = tuple(map(float, _LOG.split()))
"""The coefficients of (artanh(s) - s) / (s^3 / 2) by s^2, from the constant on."""


def exp(x: Scalar) -> Scalar:
    """e^x in compiled code, float32 or float64; in Python it is NumPy's.

    Relative error below 1.2e-7 (float32) and 2.3e-16 (float64). NaN stays NaN, exp(inf) = inf,
    exp(-inf) = 0, and results below the smallest normal number (1.2e-38, 2.2e-308) are 0.
    """
    return numpy.exp(x)


@overload(exp, jit_options=EXACT)
def _exp(x: Any) -> Callable[[Any], Scalar | float]:
    """Choose the code of :func:`exp` by the type of its argument."""
    return _exp32 if x == types.float32 else _exp64


def expm1_negative(x: Scalar) -> Scalar:
    """e^x - 1 for x <= 0 in compiled code, float32 or float64, exact to a few roundings near 0; in
    Python it is NumPy's.

    NaN stays NaN, -inf gives -1.
    """
    return numpy.expm1(x)


@overload(expm1_negative, jit_options=EXACT)
def _expm1_negative(x: Any) -> Callable[[Any], Scalar | float]:
    """Choose the code of :func:`expm1_negative` by the type of its argument."""
    return _expm1_negative32 if x == types.float32 else _expm1_negative64


@njit(**INNER, **EXACT, forceinline=True)
def log_normal(x: float) -> float:
    """Natural logarithm of a float64 that is positive and not denormal. NaN stays NaN, log(inf) =
    inf.

    x = 2^e (1 + f) with 1 + f between sqrt(1/2) and sqrt(2).
    """
    offset = bits(x) - i8(0x3FE6A09E667F3BCD)  # the bits of sqrt(1/2)
    exponent = offset >> i8(52)
    f = bits(bits(x) - (exponent << i8(52))) - 1.0
    y = _log_near_one(f) + exponent * LOG_2
    return y if x < numpy.inf else x


@njit(**INNER, **EXACT, forceinline=True)
def log(x: float) -> float:
    """Natural logarithm of a float64 that is not negative. NaN stays NaN, log(inf) = inf, log(0) =
    -inf.
    """
    denormal = x < 2.2250738585072014e-308
    y = log_normal(x * 18014398509481984.0 if denormal else x) - (54.0 * LOG_2 if denormal else 0.0)
    return -numpy.inf if x == 0.0 else y


@njit(**INNER, **EXACT, forceinline=True)
def log1p_unit(x: Scalar) -> Scalar:
    """log(1 + x) for 0 <= x <= 1, float32 or float64, exact to a few roundings near 0. NaN stays
    NaN.
    """
    number = type(x)
    large = x > number(0.41421356237309503)  # where 1 + x exceeds sqrt(2), half of it is near 1
    f = number(0.5) * (x - number(1)) if large else x
    return _log_near_one(f) + (number(LOG_2) if large else number(0))


@njit(**INNER, **EXACT, forceinline=True)
def _log_near_one(f: Scalar) -> Scalar:
    """log(1 + f) for 1 + f between sqrt(1/2) and sqrt(2): 2 artanh(s), s = f / (2 + f).

    The polynomial is that of FreeBSD's e_log.c (relative error below 2^-58).
    """
    number = type(f)
    s = f / (number(2) + f)
    z = s * s
    p = polynomial(z, LOG)
    return number(2) * s + s * z * p


@njit(**INNER, **EXACT, forceinline=True)
def tanh(x: Scalar) -> Scalar:
    """sign(x) (1 - e) / (1 + e) with e = exp(-2 |x|), which never overflows, and 1 - e without
    cancellation.
    """
    two = type(x)(2)
    minus_one = expm1_negative(-two * abs(x))
    # Compiled, it keeps the dtype.
    return math.copysign(minus_one / (two + minus_one), x)  # type: ignore[return-value]


@njit(**INNER, **EXACT, forceinline=True)
def logistic(x: Scalar) -> Scalar:
    """1 / (1 + e) or e / (1 + e) with e = exp(-|x|), by the sign of x."""
    number = type(x)
    e = exp(-abs(x))
    return (e if x < number(0) else number(1)) / (number(1) + e)


@njit(**INNER, **EXACT, forceinline=True)
def softplus(x: Scalar) -> Scalar:
    """log(1 + exp(x)) = max(x, 0) + log(1 + exp(-|x|)), in which nothing overflows."""
    zero = type(x)(0)
    return (zero if x < zero else x) + log1p_unit(exp(-abs(x)))


@njit(**INNER, **EXACT, forceinline=True)
def magnitude(x: Scalar) -> Scalar:
    """|x|, or ``FAR`` where that is more; NaN stays NaN."""
    far = type(x)(FAR)
    a = abs(x)
    return far if a > far else a


@njit(**INNER, **EXACT, forceinline=True)
def logistic_tail(a: Scalar) -> Scalar:
    """1 / (1 + exp(a)) for a >= 0, but not for infinity."""
    e = exp(-a)
    return e / (type(a)(1) + e)


@njit(**INNER, **EXACT, forceinline=True)
def normal_tail(a: Scalar) -> tuple[Scalar, Scalar]:
    """Phi(-a) and the density at a of the standard normal distribution, for 0 <= a <= FAR."""
    number = type(a)
    e, b = _exp_half_square(a), a + number(4)
    p = polynomial(number(1) - number(8) / b, NORMAL_TAIL)
    return e * p / b, e / number(ROOT_2_PI)


@njit(**INNER, **EXACT, forceinline=True)
def _exp_half_square(a: Scalar) -> Scalar:
    """exp(-a^2 / 2), computed as in ``xpnet.ops.gated``."""
    number = type(a)
    half, shift = number(0.5), number(1.5 / 16 / numpy.finfo(number).eps)
    q = (a + shift) - shift
    square, remainder = half * q * q, half * (a - q) * (a + q)
    total = square + remainder
    return exp(-total) * (number(1) - (remainder - (total - square)))


# Adding 1.5 * 2^23 (float32, 2^52 for float64) rounds to a whole number k and leaves it in the
# lowest bits, from where it is shifted into an exponent. ln 2 is split in two, the first part so
# short that k times it is exact. The coefficients are the minimax polynomial p of exp(r) = 1 + r +
# r^2 p(r) on |r| <= ln 2 / 2, found by Remez' exchange.


@njit(**INNER, **EXACT, forceinline=True)
def _reduce32(x: numpy.float32) -> tuple[numpy.float32, numpy.float32]:
    """exp(r) - 1, and the number in whose lowest bits k lies."""
    shifted = x * f4(1.4426950408889634) + f4(12582912.0)
    k = shifted - f4(12582912.0)
    r = x - k * f4(0.693359375)
    r = r - k * f4(-2.12194440e-4)
    return polynomial(r, EXP32) * (r * r) + r, shifted


@njit(**INNER, **EXACT, forceinline=True)
def _reduce64(x: float) -> tuple[float, float]:
    """exp(r) - 1, and the number in whose lowest bits k lies."""
    shifted = x * 1.4426950408889634 + 6755399441055744.0
    k = shifted - 6755399441055744.0
    r = x - k * 6.93147180369123816490e-01
    r = r - k * 1.90821492927058770002e-10
    return polynomial(r, EXP64) * (r * r) + r, shifted


def _exp32(x: Any) -> numpy.float32:
    """Return e^x in float32."""
    minus_one, shifted = _reduce32(x)
    y = bits(i4(bits(minus_one + f4(1.0)) + (bits(shifted) << i4(23))))
    if x < f4(-87.3365):
        return f4(0.0)
    return y if x <= f4(88.7228) else x * f4(numpy.inf)


def _exp64(x: Any) -> float:
    """Return e^x in float64."""
    minus_one, shifted = _reduce64(x)
    y = bits(bits(minus_one + 1.0) + (bits(shifted) << i8(52)))
    if x < -708.3964:
        return 0.0
    return y if x <= 709.7827 else x * numpy.inf


def _expm1_negative32(x: Any) -> numpy.float32:
    """Return e^x - 1 for x <= 0 in float32."""
    minus_one, shifted = _reduce32(x)
    power = bits(i4(bits(f4(1.0)) + (bits(shifted) << i4(23))))
    return f4(-1.0) if x < f4(-87.0) else minus_one * power + (power - f4(1.0))


def _expm1_negative64(x: Any) -> float:
    """Return e^x - 1 for x <= 0 in float64."""
    minus_one, shifted = _reduce64(x)
    power = bits(bits(1.0) + (bits(shifted) << i8(52)))
    return -1.0 if x < -708.0 else minus_one * power + (power - 1.0)
