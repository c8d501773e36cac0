"""Activations and their gradients. An activation is two formulas for one number; the loops over them are the same for
all.

The gradient is read from the output, as in ``xpnet.ops.activations``.
"""

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

from xpnet_numba import scalars
from xpnet_numba.kinds import Matrix, Scalar, Vector
from xpnet_numba.llvm import array, chosen, pointer_to, shift, smaller, stack
from xpnet_numba.loops.compiled import inlined, inner

SHORT = 32
"""Rows of fewer columns would leave vectors half empty."""

JOINED = 16
"""So many short rows are taken as one: a multiple of the numbers in a vector."""

WORTH_JOINING = 128
"""With fewer rows there is no gain: the bias has to be repeated first, and the sums to be added up."""

ROOM = JOINED * SHORT


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
    return chosen(x <= zero, zero, x)


@inlined
def relu_backward(d_out: Scalar, out: Scalar) -> Scalar:
    """dL/dx = dL/df where f > 0, else 0; where f is NaN, dL/df passes."""
    zero = type(out)(0)
    return chosen(out <= zero, zero, d_out)


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


Formula: TypeAlias = Callable[[Scalar], Scalar]
"""f(x)."""

GradientFormula: TypeAlias = Callable[[Scalar, Scalar], Scalar]
"""dL/dx from dL/df and f."""


class Activation(NamedTuple):
    """The two formulas of an activation."""

    forward: Formula
    backward: GradientFormula


ACTIVATIONS = {
    "identity": Activation(identity, identity_backward),
    "relu": Activation(relu, relu_backward),
    "tanh": Activation(scalars.tanh, tanh_backward),
    "logistic": Activation(scalars.logistic, logistic_backward),
    "softplus": Activation(scalars.softplus, softplus_backward),
}


@inlined
def forward(activation: Formula, x: Matrix, bias: Vector | None, out: Matrix) -> None:
    """out = f(x + b); x, out : (rows, columns), which may be the same; bias : (columns,) or None."""
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            if bias is None:
                out[i, j] = activation(x[i, j])
            else:
                out[i, j] = activation(x[i, j] + bias[j])


@inlined
def backward(gradient: GradientFormula, d_out: Matrix, out: Matrix, d_x: Matrix, d_bias: Vector | None) -> None:
    """d_x = dL/dx from d_out = dL/df and out = f; its sums over the rows are added to d_bias (columns,) unless that is
    None.

    All are (rows, columns); d_x may be d_out.
    """
    for i in range(d_out.shape[0]):
        for j in range(d_out.shape[1]):
            d = gradient(d_out[i, j], out[i, j])
            d_x[i, j] = d
            if d_bias is not None:
                d_bias[j] += d


@inlined
def forward_rows(activation: Formula, z: Matrix, bias: Vector) -> None:
    """z = f(z + b), in place; short rows several at a time."""
    rows, columns = z.shape
    joined, begin = rows_joined(rows, columns), 0
    repeated = bias if joined == 1 else array(stack(pointer_to(z), ROOM), joined * columns)
    if joined > 1:
        repeat(bias, repeated)
    while begin < rows:
        joined = smaller(joined, rows - begin)
        some = (rows - begin) // joined
        part = array(shift(pointer_to(z), begin * columns), (some, joined * columns))
        forward(activation, part, repeated, part)
        begin += some * joined


@inlined
def backward_rows(gradient: GradientFormula, d: Matrix, out: Matrix, d_bias: Vector) -> None:
    """:func:`backward` where d becomes dL/dx; short rows several at a time."""
    rows, columns = d.shape
    joined, begin = rows_joined(rows, columns), 0
    sums = d_bias if joined == 1 else array(stack(pointer_to(d), ROOM), joined * columns)
    if joined > 1:
        sums[:] = 0
    while begin < rows:
        joined = smaller(joined, rows - begin)
        some, first = (rows - begin) // joined, begin * columns
        part = array(shift(pointer_to(d), first), (some, joined * columns))
        backward(gradient, part, array(shift(pointer_to(out), first), (some, joined * columns)), part, sums)
        begin += some * joined
    if sums.size > columns:
        add_up(sums, d_bias)


@inlined
def rows_joined(rows: int, columns: int) -> int:
    """How many rows are taken as one."""
    return JOINED if columns < SHORT and rows >= WORTH_JOINING else 1


@inner
def repeat(row: Vector, repeated: Vector) -> None:
    """The row as often as there is room for it."""
    for i in range(0, repeated.size, row.size):
        for j in range(row.size):
            repeated[i + j] = row[j]


@inner
def add_up(rows: Vector, total: Vector) -> None:
    """total += all rows, which lie one behind the other."""
    for i in range(0, rows.size, total.size):
        for j in range(total.size):
            total[j] += rows[i + j]
