"""Activations and their gradients. An activation is two formulas for one number; all share the same
loops.

The gradient is computed from the output or the input, as ``xpnet.ops.ACTIVATIONS`` declares.
"""

from collections.abc import Callable
from typing import TypeAlias

from xpnet.ops.activations import LEAK
from xpnet.ops.gated import TANH_CUBE, TANH_SCALE
from xpnet_numba import scalars
from xpnet_numba.kinds import Pointer, Scalar, Vector
from xpnet_numba.llvm.arithmetic import choice, larger, select, smaller
from xpnet_numba.llvm.memory import array, clear, copy, pointer_to, section, shift
from xpnet_numba.loops import inlined, inner, inner_array

SHORT = 64
"""Rows with fewer columns than this are joined: alone they fill vectors badly, and each adds the
overhead of a loop.
"""

JOINED = 16
"""Number of short rows that are joined into one: a multiple of the numbers in a vector."""

WORTH_JOINING = 128
"""Minimum number of rows that are joined. With fewer rows, repeating the bias and adding up the
sums takes longer than the joined loop saves.
"""

JOINED_SIZE = JOINED * SHORT
"""Upper bound of the numbers in joined rows."""


@inlined
def identity(x: Scalar) -> Scalar:
    """x."""
    return x


@inlined
def identity_backward(d_out: Scalar, out: Scalar) -> Scalar:
    """dL/dx = dL/df."""
    return d_out


@inlined
def relu(x: Scalar) -> Scalar:
    """max(0, x); NaN stays NaN, and -0 becomes 0."""
    zero = type(x)(0)
    return select(x <= zero, zero, x)


@inlined
def relu_backward(d_out: Scalar, out: Scalar) -> Scalar:
    """dL/dx = dL/df where f > 0, else 0; where f is NaN, dL/df passes."""
    zero = type(out)(0)
    return select(out <= zero, zero, d_out)


@inlined
def tanh_backward(d_out: Scalar, out: Scalar) -> Scalar:
    """dL/dx = dL/df (1 - f^2)."""
    return d_out * (type(out)(1) - out * out)


@inlined
def logistic_backward(d_out: Scalar, out: Scalar) -> Scalar:
    """dL/dx = dL/df f (1 - f)."""
    return d_out * out * (type(out)(1) - out)


@inlined
def softplus_backward(d_out: Scalar, out: Scalar) -> Scalar:
    """dL/dx = dL/df (1 - exp(-f))."""
    return d_out * -scalars.expm1_negative(-out)


@inlined
def leaky_relu(x: Scalar) -> Scalar:
    """x where x > 0, else 0.01 x; NaN stays NaN."""
    return select(x <= type(x)(0), type(x)(LEAK) * x, x)


@inlined
def leaky_relu_backward(d_out: Scalar, out: Scalar) -> Scalar:
    """dL/dx = dL/df where f > 0, else 0.01 dL/df; where f is NaN, dL/df passes."""
    return select(out <= type(out)(0), type(out)(LEAK) * d_out, d_out)


@inlined
def elu(x: Scalar) -> Scalar:
    """x where x > 0, else exp(x) - 1."""
    zero = type(x)(0)
    return select(x > zero, x, scalars.expm1_negative(select(x > zero, zero, x)))


@inlined
def elu_backward(d_out: Scalar, out: Scalar) -> Scalar:
    """dL/dx = dL/df where f > 0, else dL/df (f + 1)."""
    zero = type(out)(0)
    return d_out * (type(out)(1) + select(out > zero, zero, out))


@inlined
def silu(x: Scalar) -> Scalar:
    """max(x, 0) - |x| / (1 + exp(|x|)), which is x / (1 + exp(-x))."""
    a = scalars.magnitude(x)
    return relu(x) - a * scalars.logistic_tail(a)


@inlined
def silu_backward(d_out: Scalar, x: Scalar) -> Scalar:
    """dL/dx = dL/df s (1 + x (1 - s)) with s = 1 / (1 + exp(-x))."""
    one, a = type(x)(1), scalars.magnitude(x)
    tail = scalars.logistic_tail(a)
    return d_out * slope(x, tail * (one - a * (one - tail)))


@inlined
def gelu(x: Scalar) -> Scalar:
    """max(x, 0) - |x| Phi(-|x|), which is x Phi(x)."""
    a = scalars.magnitude(x)
    tail, _ = scalars.normal_tail(a)
    return relu(x) - a * tail


@inlined
def gelu_backward(d_out: Scalar, x: Scalar) -> Scalar:
    """dL/dx = dL/df (Phi(x) + x exp(-x^2 / 2) / sqrt(2 pi))."""
    a = scalars.magnitude(x)
    tail, density = scalars.normal_tail(a)
    return d_out * slope(x, tail - a * density)


@inlined
def gelu_tanh(x: Scalar) -> Scalar:
    """max(x, 0) - |x| / (1 + exp(w)) with w = 2 sqrt(2 / pi) (|x| + 0.044715 |x|^3)."""
    number, a = type(x), scalars.magnitude(x)
    w = number(TANH_SCALE) * a * (number(1) + number(TANH_CUBE) * a * a)
    return relu(x) - a * scalars.logistic_tail(w)


@inlined
def gelu_tanh_backward(d_out: Scalar, x: Scalar) -> Scalar:
    """dL/dx = dL/df s (1 + x (1 - s) w'(x)) with s = 1 / (1 + exp(-w(x)))."""
    number, a = type(x), scalars.magnitude(x)
    scale, cube = number(TANH_SCALE), number(TANH_CUBE) * a * a
    tail = scalars.logistic_tail(scale * a * (number(1) + cube))
    return d_out * slope(
        x, tail * (number(1) - a * (number(1) - tail) * scale * (number(1) + number(3) * cube))
    )


@inlined
def slope(x: Scalar, below: Scalar) -> Scalar:
    """The derivative of x F(x) at x, from the derivative at -|x|, where F(x) + F(-x) = 1: the
    derivatives at x and -x add up to 1.
    """
    return select(x < type(x)(0), below, type(x)(1) - below)


Formula: TypeAlias = Callable[[Scalar], Scalar]
"""f(x)."""

GradientFormula: TypeAlias = Callable[[Scalar, Scalar], Scalar]
"""dL/dx from dL/df and the kept value: f or x."""


ACTIVATIONS: dict[str, tuple[Formula, GradientFormula]] = {
    "identity": (identity, identity_backward),
    "relu": (relu, relu_backward),
    "tanh": (scalars.tanh, tanh_backward),
    "logistic": (scalars.logistic, logistic_backward),
    "softplus": (scalars.softplus, softplus_backward),
    "leaky_relu": (leaky_relu, leaky_relu_backward),
    "elu": (elu, elu_backward),
    "silu": (silu, silu_backward),
    "gelu": (gelu, gelu_backward),
    "gelu_tanh": (gelu_tanh, gelu_tanh_backward),
}
"""The two formulas of each activation."""


@inlined
def forward(activation: Formula, x: Vector, out: Vector) -> None:
    """out = f(x). x, out : (numbers,), which may be the same."""
    for i in range(x.size):
        out[i] = activation(x[i])


@inlined
def forward_with_bias(activation: Formula, x: Vector, bias: Vector, out: Vector) -> None:
    """out = f(x + b), where the bias repeats every ``bias.size`` numbers.

    x, out : (numbers,), which may be the same
    """
    for begin in range(0, x.size, larger(bias.size, 1)):
        count = smaller(bias.size, x.size - begin)
        inputs, results = section(x, begin, count), section(out, begin, count)
        for j in range(count):
            results[j] = activation(inputs[j] + bias[j])


@inlined
def backward(gradient: GradientFormula, d_out: Vector, kept: Vector, d_x: Vector) -> None:
    """d_x = dL/dx from d_out = dL/df and the kept values. All : (numbers,); d_x may be d_out."""
    for i in range(d_out.size):
        d_x[i] = gradient(d_out[i], kept[i])


@inlined
def backward_with_sums(
    gradient: GradientFormula, d_out: Vector, kept: Vector, d_x: Vector, sums: Vector
) -> None:
    """:func:`backward`, and add each result to the sums: result i to sum i modulo ``sums.size``."""
    for begin in range(0, d_out.size, larger(sums.size, 1)):
        count = smaller(sums.size, d_out.size - begin)
        gradients, kept_part, results = (
            section(d_out, begin, count),
            section(kept, begin, count),
            section(d_x, begin, count),
        )
        for j in range(count):
            d = gradient(gradients[j], kept_part[j])
            results[j] = d
            sums[j] += d


@inner_array
def tiled(row: Vector, rows: int, scratch: Pointer) -> Vector:
    """Return the row, repeated for each joined row in scratch memory; the row itself if rows are
    not joined.
    """
    total = row.size * rows_joined(rows, row.size)
    if total == row.size:
        return row
    for i in range(0, total, row.size):
        copy(pointer_to(row), shift(scratch, i), row.size)
    return array(scratch, total)


@inner_array
def sums_of(row: Vector, rows: int, scratch: Pointer) -> Vector:
    """Return zeros in scratch memory for the sums of joined rows; the row itself if rows are not
    joined.
    """
    total = row.size * rows_joined(rows, row.size)
    if total == row.size:
        return row
    sums = array(scratch, total)
    clear(sums)
    return sums


@inner
def add_up(sums: Vector, row: Vector) -> None:
    """Add the sums of joined rows to the row."""
    if sums.size == row.size:
        return
    for i in range(0, sums.size, row.size):
        for j in range(row.size):
            row[j] += sums[i + j]


@inlined
def rows_joined(rows: int, columns: int) -> int:
    """The number of rows that are taken as one."""
    return choice((columns < SHORT) & (rows >= WORTH_JOINING), JOINED, 1)
