"""Gradient checks compare what ``backward`` returns with central differences.

``check_affine``, ``check_relu`` and ``check_cross_entropy`` each check a layer of that kind, xpnet's or a learner's
own. ``check_layer`` and ``check_model`` check any layer and any model. All compare in float64 with step
``finfo(float32).eps`` and the default tolerances of ``numpy.allclose``; where a function bends, as ReLU does at 0, any
gradient between the slopes of the two sides is right. A failure is an AssertionError that says which gradient is off,
and where.
"""

import inspect
from collections.abc import Callable
from typing import Any

import numpy

from xpnet.dispatch import choose
from xpnet.errors import InputError
from xpnet.ops import Array
from xpnet.training.rng import host_generator

__all__ = ["check_affine", "check_cross_entropy", "check_layer", "check_model", "check_relu"]

STEP = float(numpy.finfo(numpy.float32).eps)
WIDE_STEP = float(numpy.finfo(numpy.float64).eps) ** (1 / 3)

_INPUTS = numpy.array([[1, 0.2, -0.1], [1, 4, -1], [2, 2, -0.5], [1, 0.3, -1]])
_WEIGHT = numpy.array([[5, 4], [-2, 1], [3, 0.5]])
_BIAS = numpy.array([5.0, 4.0])
_OUTPUTS = numpy.array([[9.3, 8.15], [-1, 11.5], [9.5, 13.75], [6.4, 7.8]])
_LABELS = numpy.array([[1.0, 0], [1, 0], [0, 1], [1, 0]])
_LOSS = 3.6024162941706455


def check_affine(
    layer: Any, *, rng: Any = None, like: Array = None, sink: Callable[[str], Any] = print
) -> None:
    """Check an affine layer: shapes, a known example, and all three gradients.

    Parameters
    ----------
    layer : object
        A layer with ``forward(inputs, weight, bias)`` and ``backward(d_out)``, such as `xpnet.Affine`.
    rng : numpy.random.Generator or RandomState, optional
        The source of the test inputs; None for NumPy's global stream.
    like : array, optional
        An array whose library and device the check uses; None for those that the layer's backend calls for.
    sink : callable, default print
        Called with one line when the check has passed.

    Raises
    ------
    AssertionError
        For a shape, a result or a gradient that is off, which it names with the worst entry; and for a gradient that is
        missing, or a pass that changes the arrays it receives.
    InputError
        For a class or another object in place of a layer, and when the library has no float64.

    Examples
    --------
    >>> import xpnet
    >>> xpnet.gradcheck.check_affine(xpnet.Affine())
    All checks passed successfully!
    """

    def draw(stream: Any) -> tuple[numpy.ndarray, ...]:
        return tuple(stream.normal(size=shape) for shape in ((33, 11), (11, 17), (17,)))

    _check_kind(layer, like, rng, sink, draw, (33, 17), ((_INPUTS, _WEIGHT, _BIAS), _OUTPUTS))


def check_relu(
    layer: Any, *, rng: Any = None, like: Array = None, sink: Callable[[str], Any] = print
) -> None:
    """Check a ReLU layer: shape, a known example, and its gradient.

    Parameters
    ----------
    layer : object
        A layer with ``forward(inputs)`` and ``backward(d_out)``, such as `xpnet.ReLU`.
    rng : numpy.random.Generator or RandomState, optional
        The source of the test inputs; None for NumPy's global stream.
    like : array, optional
        An array whose library and device the check uses; None for those that the layer's backend calls for.
    sink : callable, default print
        Called with one line when the check has passed.

    Raises
    ------
    AssertionError
        For a shape, a result or a gradient that is off, which it names with the worst entry; and for a gradient that is
        missing, or a pass that changes the arrays it receives.
    InputError
        For a class or another object in place of a layer, and when the library has no float64.

    Examples
    --------
    A layer whose gradient forgets that negative inputs were cut off:

    >>> import numpy
    >>> import xpnet
    >>> class Wrong(xpnet.ReLU):
    ...     def backward(self, d_out):
    ...         return d_out
    >>> xpnet.gradcheck.check_relu(Wrong(), rng=numpy.random.default_rng(0))
    Traceback (most recent call last):
        ...
    AssertionError: d_inputs is off, most at [...]: ..., expected 0.0.
    """
    example = (numpy.array([[1, 2, -3], [-0.5, 0.2, 14]]),), numpy.array([[1, 2, 0], [0, 0.2, 14]])
    _check_kind(
        layer, like, rng, sink, lambda stream: (stream.normal(size=(17, 13)),), (17, 13), example
    )


def check_cross_entropy(
    layer: Any, *, rng: Any = None, like: Array = None, sink: Callable[[str], Any] = print
) -> None:
    """Check a layer of softmax and cross-entropy: its type, a known example, and the gradient by the logits.

    Parameters
    ----------
    layer : object
        A layer with ``forward(logits, labels)``, which takes one-hot labels and returns a float, and
        ``backward(d_out)``, such as `xpnet.CategoricalCrossEntropy`.
    rng : numpy.random.Generator or RandomState, optional
        The source of the test inputs; None for NumPy's global stream.
    like : array, optional
        An array whose library and device the check uses; None for those that the layer's backend calls for.
    sink : callable, default print
        Called with one line when the check has passed.

    Raises
    ------
    AssertionError
        For a shape, a result or a gradient that is off, which it names with the worst entry; and for a gradient that is
        missing, or a pass that changes the arrays it receives.
    InputError
        For a class or another object in place of a layer, and when the library has no float64.

    Examples
    --------
    >>> import xpnet
    >>> xpnet.gradcheck.check_cross_entropy(xpnet.CategoricalCrossEntropy())
    All checks passed successfully!
    """

    def draw(stream: Any) -> tuple[numpy.ndarray, ...]:
        return stream.normal(size=(41, 21)), numpy.eye(21)[stream.choice(21, size=41)]

    _check_kind(layer, like, rng, sink, draw, (), ((_OUTPUTS, _LABELS), _LOSS))


def check_layer(layer: Any, *inputs: Array, rng: Any = None) -> None:
    """Check any layer: every gradient that ``backward`` returns, by every entry of that input.

    Parameters
    ----------
    layer : object
        ``layer.forward(*inputs)`` returns an array or a number. ``layer.backward(d_out)`` returns a tuple with the
        gradient by each input, in their order, or the gradient alone where one input has one. The attribute
        ``no_gradient``, if the layer has it, names the arguments of ``forward`` by which it computes no gradient, such
        as the targets of a loss.
    *inputs : array, any shape, float64 or integer
        The inputs, of any library. An integer input whose gradient is None or left out holds class indices or the like
        and stays as it is; one that has a gradient is checked as float64, with the same values.
    rng : numpy.random.Generator or RandomState, optional
        The source of ``d_out``; None for NumPy's global stream.

    Raises
    ------
    AssertionError
        For a gradient that is off, which it names with the worst entry; and for a gradient that is missing, or a pass
        that changes the arrays it receives.
    InputError
        For a class in place of a layer, and for inputs of other dtypes.

    Examples
    --------
    >>> import numpy
    >>> import xpnet
    >>> xpnet.gradcheck.check_layer(xpnet.layers.Activation("tanh"), numpy.array([[-1.0, 0.5]]))
    """
    check = _Check(layer, next((array for array in inputs if hasattr(array, "dtype")), None))
    host = tuple(check.to_host(array) for array in inputs)
    out = check.to_host(check.forward(*host))
    names, without = check.names(len(inputs)), getattr(layer, "no_gradient", ())
    constant = {place for place, name in enumerate(names) if name in without}
    check.gradients(host, host_generator(rng).normal(size=out.shape), constant)


def check_model(model: Any, X: Array, Y: Array) -> None:
    """Check the gradient of a model's loss by every entry of every parameter.

    Parameters
    ----------
    model : object
        A float64 model with ``params`` (a mapping), ``loss(X, Y)``, and ``gradient(X, Y)``, which computes
        ``gradients``; such as `xpnet.FeedforwardNeuralNet`. The check changes its parameters and restores them.
    X : array, shape (rows, in)
        The inputs.
    Y : array, shape (rows,) or (rows, classes)
        The labels, as the model takes them.

    Raises
    ------
    AssertionError
        For a gradient that is off, which it names with the worst entry, and for one that is missing.
    InputError
        For a class in place of a model, and for a model of another dtype.

    Examples
    --------
    >>> import numpy
    >>> import xpnet
    >>> net = xpnet.FeedforwardNeuralNet(2, 3, 2, activation="tanh", rng=numpy.random.default_rng(0))
    >>> xpnet.gradcheck.check_model(net, numpy.array([[1.0, -1.0], [0.5, 2.0]]), numpy.array([0, 1]))
    """
    _check_instance(model, "model", ("loss", "gradient"))
    backend = model.backend
    model.gradient(X, Y)
    found = {
        n: numpy.array(backend.to_numpy(array))
        for n, array in model.gradients.items()
        if array is not None
    }
    missing = [name for name in model.params if name not in found]
    _require(
        not missing,
        f"gradients has no gradient of {', '.join(missing)}; received {', '.join(found)}",
    )
    for name, gradient in found.items():
        value = numpy.array(backend.to_numpy(model.params[name]))
        _check_float64(name, value)
        _require_shape(f"gradient of {name}", gradient, value.shape)

        def loss_at(changed: numpy.ndarray, name: str = name) -> float:
            model.params[name] = changed
            return model.loss(X, Y)

        try:
            _check_gradient(f"gradient of {name}", gradient, loss_at, value, 1.0)
        finally:
            model.params[name] = value


def _check_instance(received: Any, kind: str, methods: tuple[str, ...]) -> None:
    """Raise InputError for a class, and for an object without the methods of its kind."""
    if inspect.isclass(received) or not all(
        callable(getattr(received, name, None)) for name in methods
    ):
        raise InputError(
            f"A gradient check takes an instance of a {kind}, with the methods {' and '.join(methods)}; "
            f"received {received!r}. Pass the {kind} itself."
        )


def _check_kind(
    layer: Any,
    like: Array,
    rng: Any,
    sink: Callable[[str], Any],
    draw: Callable[[Any], tuple[numpy.ndarray, ...]],
    shape: tuple[int, ...],
    example: tuple[tuple[numpy.ndarray, ...], Any],
) -> None:
    """Check a layer of a known kind, and say so if it has passed.

    draw : draws inputs from a stream; example : inputs, and the output for them
    shape : what the output has for drawn inputs; () for a loss, which has no gradient by the labels
    """
    stream = host_generator(rng)
    check = _Check(layer, like)
    out = check.forward(*draw(stream))
    _require(
        bool(shape) or isinstance(out, float),
        f"loss must be a float; forward returned {type(out).__name__}",
    )
    _require_shape("out", out, shape)
    _compare("forward pass", check.to_host(check.forward(*example[0])), numpy.asarray(example[1]))
    check.gradients(draw(stream), stream.normal(size=shape), set() if shape else {1})
    sink("All checks passed successfully!")


class _Check:
    """A layer, and the way between host arrays and the arrays it runs on."""

    def __init__(self, layer: Any, like: Array) -> None:
        _check_instance(layer, "layer", ("forward", "backward"))
        self.layer = layer
        self.backend = choose(like, backend=getattr(layer, "backend", None)).backend

    def names(self, count: int) -> list[str]:
        """Return the names of the arguments of ``forward``, by position; those of ``*inputs`` are numbered."""
        parameters = inspect.signature(self.layer.forward).parameters.values()
        names = [
            parameter.name
            for parameter in parameters
            if parameter.kind is not parameter.VAR_POSITIONAL
        ]
        return [names[place] if place < len(names) else f"input{place}" for place in range(count)]

    def forward(self, *inputs: numpy.ndarray) -> Any:
        """Make the layer's forward pass from host arrays, which must leave its inputs alone and return numbers."""
        arrays = [self.backend.asarray(array.copy()) for array in inputs]
        for array, given in zip(arrays, inputs, strict=True):
            if given.dtype.kind not in "iub":
                _check_float64("an input", self.to_host(array))
        out = self.layer.forward(*arrays)
        for name, array, given in zip(self.names(len(inputs)), arrays, inputs, strict=True):
            _require(
                _same(self.to_host(array), given),
                f"forward changed its input {name}; compute on a copy",
            )
        numeric = hasattr(out, "dtype") or isinstance(out, int | float)
        told = (
            "" if numeric else repr(out)
        )  # to write out an array takes a hundred times as long as to compute it
        _require(numeric, f"forward must return an array or a number; it returned {told}")
        return out

    def to_host(self, array: Any) -> numpy.ndarray:
        """Return an array or a number as a NumPy array."""
        return (
            numpy.asarray(self.backend.to_numpy(array))
            if hasattr(array, "dtype")
            else numpy.asarray(array)
        )

    def gradients(self, inputs: tuple[numpy.ndarray, ...], d_out: Any, constant: set[int]) -> None:
        """Compare each gradient with central differences of sum(out d_out); ``constant`` inputs may have none."""
        found, names = self.backward(inputs, d_out), self.names(len(inputs))
        _require_all(
            found,
            names,
            constant,
            {k for k, array in enumerate(inputs) if array.dtype.kind in "iub"},
        )
        differentiated = [place for place, gradient in enumerate(found) if gradient is not None]
        inputs = tuple(
            a.astype(float) if place in differentiated else a for place, a in enumerate(inputs)
        )
        found = self.backward(inputs, d_out)
        for place in differentiated:

            def out_at(changed: numpy.ndarray, place: int = place) -> numpy.ndarray:
                return self.to_host(self.forward(*inputs[:place], changed, *inputs[place + 1 :]))

            what = f"d_{names[place]}"
            _require_shape(what, found[place], inputs[place].shape)
            _check_gradient(what, self.to_host(found[place]), out_at, inputs[place], d_out)

    def backward(self, inputs: tuple[numpy.ndarray, ...], d_out: Any) -> tuple[Any, ...]:
        """Make a forward pass and return what backward returns after it, which must leave ``d_out`` alone."""
        self.forward(*inputs)
        given = self.backend.asarray(numpy.array(d_out)) if numpy.ndim(d_out) else float(d_out)
        found = self.layer.backward(given)
        _require(
            _same(self.to_host(given), numpy.asarray(d_out)),
            "backward changed d_out; compute on a copy",
        )
        return tuple(found) if isinstance(found, tuple | list) else (found,)


def _require_all(
    found: tuple[Any, ...], names: list[str], constant: set[int], integer: set[int]
) -> None:
    """Require a gradient by each input, except that ``constant`` inputs need none, and None will do for integers.

    A gradient by the first input may stand alone where no other input needs one.
    """
    given = {place for place, gradient in enumerate(found) if gradient is not None}
    needed = set(range(len(names))) - constant
    if given:
        alone = len(found) == 1 and needed - integer == {0}
        needed -= integer if alone else {place for place in integer if place < len(found)}
    _require(
        needed <= given and len(found) <= len(names),
        f"backward must return a gradient by each of {', '.join(names)}, None for class indices, and none for what the "
        f"layer's attribute no_gradient names; it returned {', '.join(type(gradient).__name__ for gradient in found)}",
    )


def _check_gradient(
    what: str,
    found: numpy.ndarray,
    function: Callable[[numpy.ndarray], Any],
    at: numpy.ndarray,
    d_out: Any,
) -> None:
    """Require that ``found`` is the gradient of sum(function(x) d_out) by every entry of x, at ``at``."""
    numeric = numpy.empty(at.shape)

    def slope(entry: tuple[int, ...], low: float, high: float) -> Any:
        """Compute sum(d_out (f(x + high) - f(x + low))) / (high - low); differences first, so that little is lost."""
        above, below = at.copy(), at.copy()
        above[entry] += high
        below[entry] += low
        difference = numpy.asarray(function(above)) - numpy.asarray(function(below))
        return numpy.sum(difference * d_out) / (high - low)

    for entry in numpy.ndindex(at.shape):
        numeric[entry] = slope(entry, -STEP, STEP)
    # So short a step leaves rounding of about 1e-8 in a difference, which decides where a gradient is nearly zero. What
    # is off for that reason alone is right over a step that balances rounding and curvature.
    for entry in map(tuple, numpy.argwhere(~numpy.isclose(found, numeric))):
        numeric[entry] = slope(entry, -WIDE_STEP, WIDE_STEP)
    # Where the function bends, as ReLU does at 0, each slope between those of the two sides is right.
    for entry in map(tuple, numpy.argwhere(~numpy.isclose(found, numeric))):
        low, high = sorted((slope(entry, -WIDE_STEP, 0.0), slope(entry, 0.0, WIDE_STEP)))
        numeric[entry] = numpy.fmax(low, numpy.fmin(high, found[entry]))
    _compare(what, found, numeric)


def _compare(what: str, found: numpy.ndarray, expected: numpy.ndarray) -> None:
    """Require that both are close, and name the entry that is furthest off."""
    close = numpy.isclose(found, expected)
    if close.all():
        return
    error = numpy.where(close, 0.0, numpy.nan_to_num(numpy.abs(found - expected), nan=numpy.inf))
    worst = tuple(int(i) for i in numpy.unravel_index(int(error.argmax()), error.shape))
    place = str(list(worst)) if worst else "its value"
    raise AssertionError(
        f"{what} is off, most at {place}: {found[worst]}, expected {expected[worst]}."
    )


def _same(found: numpy.ndarray, expected: numpy.ndarray) -> bool:
    """Return whether two arrays hold the same values; NaN equals NaN."""
    return bool(numpy.array_equal(found, expected, equal_nan=found.dtype.kind in "fc"))


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise AssertionError(f"{otherwise}.")


def _require_shape(what: str, array: Any, expected: tuple[int, ...]) -> None:
    shape = tuple(getattr(array, "shape", ()))
    _require(shape == expected, f"{what} must have shape {expected}; received {shape}")


def _check_float64(what: str, array: numpy.ndarray) -> None:
    if array.dtype != numpy.float64:
        raise InputError(
            f"Gradient checks compare in float64; {what} is {array.dtype}. Make the model or the arrays float64 "
            "(JAX: jax.config.update('jax_enable_x64', True))."
        )
