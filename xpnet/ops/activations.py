"""Activations, element by element, and their gradients.

Each gradient is computed from the output, which the forward pass kept: the derivatives of tanh and the logistic
function are polynomials in it, that of softplus has its exponential; for ReLU the input serves as well, since both have
the same sign. ``ACTIVATIONS`` at the end is the one table of them, from which the rest of the library knows what there
is.
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

from xpnet.ops.namespace import Array, namespace, zero

__all__ = [
    "ACTIVATIONS",
    "Activation",
    "ActivationName",
    "bias_relu",
    "identity",
    "identity_backward",
    "logistic",
    "logistic_backward",
    "relu",
    "relu_backward",
    "relu_backward_bias",
    "softplus",
    "softplus_backward",
    "tanh",
    "tanh_backward",
]

ActivationName = Literal["identity", "relu", "tanh", "logistic", "softplus"]


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
        The gradient of the loss by the output.
    x : array, shape of d_out
        The input of `relu`, or its output.

    Returns
    -------
    array, shape of d_out
        The gradient of the loss by the input.

    Examples
    --------
    >>> import numpy
    >>> from xpnet import ops
    >>> ops.relu_backward(numpy.array([5.0, 5.0]), numpy.array([-1.0, 2.0]))
    array([0., 5.])
    """
    return namespace(x).where(x <= 0, zero(d_out), d_out)


def relu_backward_bias(d_out: Array, x: Array) -> tuple[Array, Array]:
    """Compute the gradient of `relu` and, in the same pass, that by the bias that was added before it.

    Parameters
    ----------
    d_out : array, shape (batch, out)
        The gradient of the loss by the output.
    x : array, shape (batch, out)
        The input of `relu`, or its output.

    Returns
    -------
    d_x : array, shape (batch, out)
        The gradient by the input.
    d_bias : array, shape (out,)
        The gradient by the bias, the sum of the rows of ``d_x``.

    Examples
    --------
    >>> import numpy
    >>> from xpnet import ops
    >>> ops.relu_backward_bias(numpy.array([[5.0], [6.0]]), numpy.array([[1.0], [2.0]]))[1]
    array([11.])
    """
    d_x = relu_backward(d_out, x)
    return d_x, namespace(x).sum(d_x, axis=0)


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
    """Return the gradient by the output, which is also that by the input of `identity`.

    Parameters
    ----------
    d_out : array, any shape
        The gradient of the loss by the output.
    out : array, shape of d_out
        The output of `identity`.

    Returns
    -------
    array, shape of d_out
        The gradient of the loss by the input.

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
        The gradient of the loss by the output.
    out : array, shape of d_out
        The output of `tanh`.

    Returns
    -------
    array, shape of d_out
        The gradient of the loss by the input.

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
        The gradient of the loss by the output.
    out : array, shape of d_out
        The output of `logistic`.

    Returns
    -------
    array, shape of d_out
        The gradient of the loss by the input.

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
    C. Dugas, Y. Bengio, F. Belisle, C. Nadeau, R. Garcia, Incorporating Second-Order Functional Knowledge for Better
    Option Pricing, 2001.

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
        The gradient of the loss by the output.
    out : array, shape of d_out
        The output of `softplus`.

    Returns
    -------
    array, shape of d_out
        The gradient of the loss by the input.

    Examples
    --------
    >>> import numpy
    >>> from xpnet import ops
    >>> ops.softplus_backward(numpy.array([1.0]), numpy.log(numpy.array([2.0])))
    array([0.5])
    """
    return d_out * -namespace(out).expm1(-out)


class Activation(NamedTuple):
    """An activation: the function, its gradient, and how ONNX says it.

    Parameters
    ----------
    forward : callable
        ``forward(x)`` gives the output.
    backward : callable
        ``backward(d_out, out)`` gives the gradient by x.
    onnx : tuple
        The function in ONNX's operators, each with its operands: operations, or ``"x"`` for the input.

    Examples
    --------
    >>> from xpnet import ops
    >>> ops.ACTIVATIONS["logistic"].onnx
    ('Sigmoid', 'x')
    """

    forward: Callable[[Array], Array]
    backward: Callable[[Array, Array], Array]
    onnx: tuple[Any, ...]


ACTIVATIONS: dict[ActivationName, Activation] = {
    "identity": Activation(identity, identity_backward, ("Identity", "x")),
    "relu": Activation(relu, relu_backward, ("Relu", "x")),
    "tanh": Activation(tanh, tanh_backward, ("Tanh", "x")),
    "logistic": Activation(logistic, logistic_backward, ("Sigmoid", "x")),
    "softplus": Activation(softplus, softplus_backward, ("Sub", ("Relu", "x"), ("Log", ("Sigmoid", ("Abs", "x"))))),
}
"""Every activation by its name. A backend's kernels for one are called by the names of its two functions. (ONNX has a
Softplus of its own, which onnxruntime computes in float32 alone.)"""
