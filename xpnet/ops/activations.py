"""Activations, element by element, and their gradients.

A gradient is computed from the array that the forward pass kept. For most activations this is the
output: the derivatives of tanh and of the logistic function are polynomials in it, those of
softplus and ELU contain the output or its exponential, and the output of (leaky) ReLU has the sign
of its input. GELU and SiLU, in ``gated``, are not monotonic, so their gradients need the input.
``ACTIVATIONS`` at the end lists all activations; the other modules read this table.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple, TypeAlias

from xpnet.ops.gated import (
    FAR,
    NORMAL_TAIL,
    TANH_CUBE,
    TANH_SCALE,
    gelu,
    gelu_backward,
    gelu_tanh,
    gelu_tanh_backward,
    silu,
    silu_backward,
)
from xpnet.ops.namespace import Array, namespace, zero

ActivationName = Literal[
    "identity",
    "relu",
    "tanh",
    "logistic",
    "softplus",
    "leaky_relu",
    "elu",
    "silu",
    "gelu",
    "gelu_tanh",
]

LEAK = 0.01
"""The slope of leaky ReLU below 0."""


def relu(x: Array) -> Array:
    """Take the larger of 0 and each item, ``max(0, x)``; NaN stays NaN.

    Parameters
    ----------
    x : array, any shape
        The inputs.

    Returns
    -------
    array, shape of x
        The outputs.

    References
    ----------
    X. Glorot, A. Bordes, Y. Bengio, Deep Sparse Rectifier Neural Networks, 2011.

    Examples
    --------
    >>> import numpy
    >>> from xpnet import ops
    >>> ops.relu(numpy.array([-1.0, 0.0, 2.0]))
    array([0., 0., 2.])
    """
    return namespace(x).maximum(x, zero(x))


def relu_backward(d_out: Array, x: Array) -> Array:
    """Compute the gradient of `relu`: ``d_out`` where ``x > 0``, else 0.

    Where x is NaN, ``d_out`` passes, so that a NaN is never hidden.

    Parameters
    ----------
    d_out : array, any shape
        The gradient of the loss with respect to the output.
    x : array, shape of d_out
        The input of `relu`, or its output.

    Returns
    -------
    array, shape of d_out
        The gradient of the loss with respect to the input.

    Examples
    --------
    >>> import numpy
    >>> from xpnet import ops
    >>> ops.relu_backward(numpy.array([5.0, 5.0]), numpy.array([-1.0, 2.0]))
    array([0., 5.])
    """
    return namespace(x).where(x <= 0, zero(d_out), d_out)


def bias_relu(x: Array, bias: Array) -> Array:
    """Add a bias to each row and take the larger of 0 and each item, ``max(0, x + bias)``.

    Parameters
    ----------
    x : array, shape (batch, out)
        The inputs.
    bias : array, shape (out,)
        The bias.

    Returns
    -------
    array, shape (batch, out)
        The outputs.

    Examples
    --------
    >>> import numpy
    >>> from xpnet import ops
    >>> ops.bias_relu(numpy.array([[-1.0, 1.0]]), numpy.array([0.5, 0.5]))
    array([[0. , 1.5]])
    """
    return relu(x + bias)


def identity(x: Array) -> Array:
    """Return the input, for a layer without activation.

    Parameters
    ----------
    x : array, any shape
        The input.

    Returns
    -------
    array, shape of x
        The input itself.

    Examples
    --------
    >>> import numpy
    >>> from xpnet import ops
    >>> ops.identity(numpy.array([-1.0, 2.0]))
    array([-1.,  2.])
    """
    return x


def identity_backward(d_out: Array, out: Array) -> Array:
    """Return the gradient of `identity`, ``d_out``.

    Parameters
    ----------
    d_out : array, any shape
        The gradient of the loss with respect to the output.
    out : array, shape of d_out
        The output of `identity`.

    Returns
    -------
    array, shape of d_out
        The gradient of the loss with respect to the input.

    Examples
    --------
    >>> import numpy
    >>> from xpnet import ops
    >>> ops.identity_backward(numpy.array([5.0]), numpy.array([2.0]))
    array([5.])
    """
    return d_out


def tanh(x: Array) -> Array:
    """Compute the hyperbolic tangent of each item.

    Parameters
    ----------
    x : array, any shape
        The inputs.

    Returns
    -------
    array, shape of x
        The outputs, between -1 and 1.

    Examples
    --------
    >>> import numpy
    >>> from xpnet import ops
    >>> ops.tanh(numpy.array([0.0, 1.0])).round(4)
    array([0.    , 0.7616])
    """
    return namespace(x).tanh(x)


def tanh_backward(d_out: Array, out: Array) -> Array:
    """Compute the gradient of `tanh`, ``d_out * (1 - out**2)``.

    Parameters
    ----------
    d_out : array, any shape
        The gradient of the loss with respect to the output.
    out : array, shape of d_out
        The output of `tanh`.

    Returns
    -------
    array, shape of d_out
        The gradient of the loss with respect to the input.

    Examples
    --------
    >>> import numpy
    >>> from xpnet import ops
    >>> ops.tanh_backward(numpy.array([1.0]), numpy.array([0.5]))
    array([0.75])
    """
    return d_out * (1 - out * out)


def logistic(x: Array) -> Array:
    """Compute the logistic function of each item, ``1 / (1 + exp(-x))``.

    Parameters
    ----------
    x : array, any shape
        The inputs.

    Returns
    -------
    array, shape of x
        The outputs, between 0 and 1.

    Notes
    -----
    Only ``exp(-|x|)`` is computed, which cannot overflow.

    Examples
    --------
    >>> import numpy
    >>> from xpnet import ops
    >>> ops.logistic(numpy.array([-1000.0, 0.0, 1000.0]))
    array([0. , 0.5, 1. ])
    """
    xp = namespace(x)
    e = xp.exp(-xp.abs(x))
    return xp.where(x < 0, e / (1 + e), 1 / (1 + e))


def logistic_backward(d_out: Array, out: Array) -> Array:
    """Compute the gradient of `logistic`, ``d_out * out * (1 - out)``.

    Parameters
    ----------
    d_out : array, any shape
        The gradient of the loss with respect to the output.
    out : array, shape of d_out
        The output of `logistic`.

    Returns
    -------
    array, shape of d_out
        The gradient of the loss with respect to the input.

    Examples
    --------
    >>> import numpy
    >>> from xpnet import ops
    >>> ops.logistic_backward(numpy.array([1.0]), numpy.array([0.5]))
    array([0.25])
    """
    return d_out * out * (1 - out)


def softplus(x: Array) -> Array:
    """Compute the softplus function of each item, ``log(1 + exp(x))``, a smooth `relu`.

    Parameters
    ----------
    x : array, any shape
        The inputs.

    Returns
    -------
    array, shape of x
        The outputs, not negative.

    Notes
    -----
    It is computed as ``max(x, 0) + log(1 + exp(-|x|))``, in which nothing can overflow.

    References
    ----------
    C. Dugas, Y. Bengio, F. Belisle, C. Nadeau, R. Garcia, Incorporating Second-Order Functional
    Knowledge for Better Option Pricing, 2001.

    Examples
    --------
    >>> import numpy
    >>> from xpnet import ops
    >>> ops.softplus(numpy.array([-1000.0, 0.0, 10.0])).round(4)
    array([ 0.    ,  0.6931, 10.    ])
    """
    xp = namespace(x)
    return xp.maximum(x, zero(x)) + xp.log1p(xp.exp(-xp.abs(x)))


def softplus_backward(d_out: Array, out: Array) -> Array:
    """Compute the gradient of `softplus`, ``d_out * (1 - exp(-out))``.

    Parameters
    ----------
    d_out : array, any shape
        The gradient of the loss with respect to the output.
    out : array, shape of d_out
        The output of `softplus`.

    Returns
    -------
    array, shape of d_out
        The gradient of the loss with respect to the input.

    Examples
    --------
    >>> import numpy
    >>> from xpnet import ops
    >>> ops.softplus_backward(numpy.array([1.0]), numpy.log(numpy.array([2.0])))
    array([0.5])
    """
    return d_out * -namespace(out).expm1(-out)


def leaky_relu(x: Array) -> Array:
    """Keep positive items and scale the others by 0.01, ``max(x, 0.01 x)``; NaN stays NaN.

    Parameters
    ----------
    x : array, any shape
        The inputs.

    Returns
    -------
    array, shape of x
        The outputs.

    References
    ----------
    A. L. Maas, A. Y. Hannun, A. Y. Ng, Rectifier Nonlinearities Improve Neural Network Acoustic
    Models, 2013.

    Examples
    --------
    >>> import numpy
    >>> from xpnet import ops
    >>> ops.leaky_relu(numpy.array([-1.0, 0.0, 2.0]))
    array([-0.01,  0.  ,  2.  ])
    """
    return namespace(x).where(x <= 0, LEAK * x, x)


def leaky_relu_backward(d_out: Array, out: Array) -> Array:
    """Compute the gradient of `leaky_relu`: ``d_out`` where ``out > 0``, else ``0.01 d_out``.

    Parameters
    ----------
    d_out : array, any shape
        The gradient of the loss with respect to the output.
    out : array, shape of d_out
        The output of `leaky_relu`, or its input.

    Returns
    -------
    array, shape of d_out
        The gradient of the loss with respect to the input.

    Examples
    --------
    >>> import numpy
    >>> from xpnet import ops
    >>> ops.leaky_relu_backward(numpy.array([5.0, 5.0]), numpy.array([-1.0, 2.0]))
    array([0.05, 5.  ])
    """
    return namespace(out).where(out <= 0, LEAK * d_out, d_out)


def elu(x: Array) -> Array:
    """Compute the exponential linear unit of each item, ``x`` where ``x > 0``, else ``exp(x) - 1``.

    Parameters
    ----------
    x : array, any shape
        The inputs.

    Returns
    -------
    array, shape of x
        The outputs, not below -1.

    References
    ----------
    D.-A. Clevert, T. Unterthiner, S. Hochreiter, Fast and Accurate Deep Network Learning by
    Exponential Linear Units (ELUs), 2016, with alpha = 1.

    Examples
    --------
    >>> import numpy
    >>> from xpnet import ops
    >>> ops.elu(numpy.array([-1.0, 0.0, 2.0])).round(4)
    array([-0.6321,  0.    ,  2.    ])
    """
    xp = namespace(x)
    return xp.where(x > 0, x, xp.expm1(xp.minimum(x, zero(x))))


def elu_backward(d_out: Array, out: Array) -> Array:
    """Compute the gradient of `elu`: ``d_out`` where ``out > 0``, else ``d_out * (out + 1)``.

    Parameters
    ----------
    d_out : array, any shape
        The gradient of the loss with respect to the output.
    out : array, shape of d_out
        The output of `elu`.

    Returns
    -------
    array, shape of d_out
        The gradient of the loss with respect to the input.

    Examples
    --------
    >>> import numpy
    >>> from xpnet import ops
    >>> ops.elu_backward(numpy.array([2.0, 2.0]), numpy.array([-0.5, 3.0]))
    array([1., 2.])
    """
    return d_out * (1 + namespace(out).minimum(out, zero(out)))


OnnxOperation: TypeAlias = "tuple[str, *tuple[OnnxOperand, ...]]"
"""An operator of ONNX, followed by its operands."""

OnnxOperand: TypeAlias = "str | float | tuple[str, *tuple[OnnxOperand, ...]]"
"""An operation, a number, or ``"x"`` for the input."""


class ActivationFormulas(NamedTuple):
    """An activation: the function, its gradient, what the gradient reads, and its form in ONNX.

    Parameters
    ----------
    function : callable
        ``function(x)`` gives the output.
    backward : callable
        ``backward(d_out, kept)`` gives the gradient with respect to x.
    onnx : tuple
        The function in ONNX's operators. Each operator is followed by its operands: operations,
        numbers, or ``"x"`` for the input.
    keeps : str, default "out"
        What ``backward`` reads: ``"out"``, the output, or ``"x"``, the input. A forward pass may
        overwrite its input with its output only for ``"out"``.

    Examples
    --------
    >>> import numpy
    >>> from xpnet import ops
    >>> ops.ACTIVATIONS["logistic"].onnx
    ('Sigmoid', 'x')
    >>> out, kept = ops.ACTIVATIONS["silu"].forward(numpy.array([2.0]))
    >>> ops.ACTIVATIONS["silu"].backward(numpy.array([1.0]), kept).round(4)
    array([1.0908])
    """

    function: Callable[[Array], Array]
    backward: Callable[[Array, Array], Array]
    onnx: OnnxOperation
    keeps: Literal["out", "x"] = "out"

    def forward(self, x: Array) -> tuple[Array, Array]:
        """Compute the output, and the array that the gradient reads.

        Parameters
        ----------
        x : array, any shape
            The inputs.

        Returns
        -------
        out : array, shape of x
            The outputs.
        kept : array, shape of x
            The outputs, or the inputs, for ``backward``.
        """
        out = self.function(x)
        return out, x if self.keeps == "x" else out

    def over(self, operations: object) -> "ActivationFormulas":
        """Take the two functions from a backend.

        Parameters
        ----------
        operations : xpnet.backend.Operations
            The operations of ``xpnet.ops`` as a backend runs them.

        Returns
        -------
        ActivationFormulas
            The same activation, computed by the backend's kernels where it has them.
        """
        names = self.function.__name__, self.backward.__name__
        return self._replace(
            function=getattr(operations, names[0]), backward=getattr(operations, names[1])
        )


def _normal_tail_onnx() -> OnnxOperation:
    """Return |x| Phi(-|x|) in ONNX's operators; onnxruntime computes Erf only in float32."""
    a: OnnxOperand = ("Min", ("Abs", "x"), FAR)
    b = ("Add", a, 4.0)
    v = ("Sub", 1.0, ("Div", 8.0, b))
    p: OnnxOperand = NORMAL_TAIL[-1]
    for coefficient in NORMAL_TAIL[-2::-1]:
        p = ("Add", ("Mul", p, v), coefficient)
    return ("Mul", a, ("Div", ("Mul", ("Exp", ("Mul", -0.5, ("Mul", a, a))), p), b))


_NOT_NEGATIVE = ("Relu", "x")
_TANH_ARGUMENT = (
    "Mul",
    ("Mul", TANH_SCALE, "x"),
    ("Add", 1.0, ("Mul", TANH_CUBE, ("Mul", "x", "x"))),
)

ACTIVATIONS: dict[ActivationName, ActivationFormulas] = {
    "identity": ActivationFormulas(identity, identity_backward, ("Identity", "x")),
    "relu": ActivationFormulas(relu, relu_backward, ("Relu", "x")),
    "tanh": ActivationFormulas(tanh, tanh_backward, ("Tanh", "x")),
    "logistic": ActivationFormulas(logistic, logistic_backward, ("Sigmoid", "x")),
    "softplus": ActivationFormulas(
        softplus, softplus_backward, ("Sub", _NOT_NEGATIVE, ("Log", ("Sigmoid", ("Abs", "x"))))
    ),
    "leaky_relu": ActivationFormulas(
        leaky_relu, leaky_relu_backward, ("Max", "x", ("Mul", LEAK, "x"))
    ),
    "elu": ActivationFormulas(
        elu, elu_backward, ("Sub", _NOT_NEGATIVE, ("Relu", ("Sub", 1.0, ("Exp", "x"))))
    ),
    "silu": ActivationFormulas(silu, silu_backward, ("Mul", "x", ("Sigmoid", "x")), "x"),
    "gelu": ActivationFormulas(
        gelu, gelu_backward, ("Sub", _NOT_NEGATIVE, _normal_tail_onnx()), "x"
    ),
    "gelu_tanh": ActivationFormulas(
        gelu_tanh, gelu_tanh_backward, ("Mul", "x", ("Sigmoid", _TANH_ARGUMENT)), "x"
    ),
}
"""Every activation by its name.

A backend's kernels for an activation have the names of its two functions. ONNX's own operators
Softplus, Elu and LeakyRelu are not used, since onnxruntime computes them only in float32.
"""
