"""Gradient checks compare what ``backward`` returns with central differences.

``check_affine``, ``check_relu`` and ``check_cross_entropy`` each check a layer of that kind, one of
xpnet or a learner's own. ``check_layer`` and ``check_model`` check any layer and any model. All
compare in float64 with step ``finfo(float32).eps`` and the default tolerances of
``numpy.allclose``. Where a function has a kink, as ReLU has at 0, any gradient between the slopes
of the two sides is right. A failure is an AssertionError that names the wrong gradient and its
worst entry.
"""

import inspect
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any, NamedTuple, Protocol

import numpy

from xpnet.backend import Backend
from xpnet.dispatch import choose
from xpnet.errors import InputError
from xpnet.ops import Array
from xpnet.training.rng import host_generator
from xpnet.typing import RandomNumbers, RandomSource

__all__ = ["check_affine", "check_cross_entropy", "check_layer", "check_model", "check_relu"]

STEP = float(numpy.finfo(numpy.float32).eps)
"""Step of the central differences."""
WIDE_STEP = float(numpy.finfo(numpy.float64).eps) ** (1 / 3)
"""Step that balances rounding and curvature; used where the short step leaves too much rounding."""

# The known example of an affine layer, and of softmax with cross-entropy on its outputs.
_INPUTS = numpy.array([[1, 0.2, -0.1], [1, 4, -1], [2, 2, -0.5], [1, 0.3, -1]])
_WEIGHT = numpy.array([[5, 4], [-2, 1], [3, 0.5]])
_BIAS = numpy.array([5.0, 4.0])
_OUTPUTS = numpy.array([[9.3, 8.15], [-1, 11.5], [9.5, 13.75], [6.4, 7.8]])
_LABELS = numpy.array([[1.0, 0], [1, 0], [0, 1], [1, 0]])
_LOSS = 3.6024162941706455


def check_affine(
    layer: object,
    *,
    rng: RandomSource = None,
    like: Array | None = None,
    sink: Callable[[str], object] = print,
) -> None:
    """Check an affine layer: shapes, a known example, and all three gradients.

    Parameters
    ----------
    layer : object
        A layer with ``forward(inputs, weight, bias)`` and ``backward(d_out)``, such as
        `xpnet.Affine`.
    rng : numpy.random.Generator or RandomState, optional
        Draws the test inputs; None for NumPy's global generator.
    like : array, optional
        An array whose library and device the check uses; None for those of the layer's backend.
    sink : callable, default print
        Called with one line when the check has passed.

    Raises
    ------
    AssertionError
        For a wrong shape, result or gradient, which it names with the worst entry; and for a
        missing gradient, or a pass that changes the arrays that it receives.
    InputError
        For a class or another object in place of a layer, and when the library has no float64.

    Examples
    --------
    >>> import xpnet
    >>> xpnet.gradcheck.check_affine(xpnet.Affine())
    All checks passed successfully!
    """

    def draw(generator: RandomNumbers) -> tuple[numpy.ndarray, ...]:
        """Draw inputs (33, 11), weights (11, 17) and biases (17,)."""
        return tuple(generator.normal(size=shape) for shape in ((33, 11), (11, 17), (17,)))

    example = _Example((_INPUTS, _WEIGHT, _BIAS), _OUTPUTS)
    _check_kind(_GradientCheck(layer, like), rng, sink, draw, (33, 17), example)


def check_relu(
    layer: object,
    *,
    rng: RandomSource = None,
    like: Array | None = None,
    sink: Callable[[str], object] = print,
) -> None:
    """Check a ReLU layer: shape, a known example, and its gradient.

    Parameters
    ----------
    layer : object
        A layer with ``forward(inputs)`` and ``backward(d_out)``, such as `xpnet.ReLU`.
    rng : numpy.random.Generator or RandomState, optional
        Draws the test inputs; None for NumPy's global generator.
    like : array, optional
        An array whose library and device the check uses; None for those of the layer's backend.
    sink : callable, default print
        Called with one line when the check has passed.

    Raises
    ------
    AssertionError
        For a wrong shape, result or gradient, which it names with the worst entry; and for a
        missing gradient, or a pass that changes the arrays that it receives.
    InputError
        For a class or another object in place of a layer, and when the library has no float64.

    Examples
    --------
    A layer whose gradient forgets that negative inputs were replaced by 0:

    >>> import numpy
    >>> import xpnet
    >>> class Wrong(xpnet.ReLU):
    ...     def backward(self, d_out):
    ...         return d_out
    >>> xpnet.gradcheck.check_relu(Wrong(), rng=numpy.random.default_rng(0))
    Traceback (most recent call last):
        ...
    AssertionError: d_inputs must be 0.0 at [...]; got ...
    """

    def draw(generator: RandomNumbers) -> tuple[numpy.ndarray, ...]:
        """Draw inputs (17, 13)."""
        return (generator.normal(size=(17, 13)),)

    inputs = numpy.array([[1, 2, -3], [-0.5, 0.2, 14]])
    example = _Example((inputs,), numpy.array([[1, 2, 0], [0, 0.2, 14]]))
    _check_kind(_GradientCheck(layer, like), rng, sink, draw, (17, 13), example)


def check_cross_entropy(
    layer: object,
    *,
    rng: RandomSource = None,
    like: Array | None = None,
    sink: Callable[[str], object] = print,
) -> None:
    """Check a layer of softmax and cross-entropy: type, known example, gradient.

    Parameters
    ----------
    layer : object
        A layer with ``forward(logits, labels)``, which takes one-hot labels and returns a float,
        and ``backward(d_out)``, such as `xpnet.CategoricalCrossEntropy`.
    rng : numpy.random.Generator or RandomState, optional
        Draws the test inputs; None for NumPy's global generator.
    like : array, optional
        An array whose library and device the check uses; None for those of the layer's backend.
    sink : callable, default print
        Called with one line when the check has passed.

    Raises
    ------
    AssertionError
        For a wrong shape, result or gradient, which it names with the worst entry; and for a
        missing gradient, or a pass that changes the arrays that it receives.
    InputError
        For a class or another object in place of a layer, and when the library has no float64.

    Examples
    --------
    >>> import xpnet
    >>> xpnet.gradcheck.check_cross_entropy(xpnet.CategoricalCrossEntropy())
    All checks passed successfully!
    """

    def draw(generator: RandomNumbers) -> tuple[numpy.ndarray, ...]:
        """Draw logits (41, 21) and one-hot labels of their shape."""
        logits = generator.normal(size=(41, 21))
        return logits, numpy.eye(21)[generator.choice(21, size=41)]

    example = _Example((_OUTPUTS, _LABELS), _LOSS)
    _check_kind(_GradientCheck(layer, like), rng, sink, draw, (), example)


def check_layer(layer: object, *inputs: Array, rng: RandomSource = None) -> None:
    """Check any layer: all gradients that ``backward`` returns, entry by entry.

    Parameters
    ----------
    layer : object
        ``layer.forward(*inputs)`` returns an array or a number. ``layer.backward(d_out)`` returns a
        tuple with the gradient with respect to each input, in their order, or the gradient alone
        where one input has one. The attribute ``no_gradient``, if the layer has it, names the
        arguments of ``forward`` without a gradient, such as the targets of a loss.
    *inputs : array, any shape, float64 or integer
        The inputs, of any library. An integer input whose gradient is None or missing holds class
        indices or the like and stays as it is; one that has a gradient is checked as float64, with
        the same values.
    rng : numpy.random.Generator or RandomState, optional
        Draws ``d_out``; None for NumPy's global generator.

    Raises
    ------
    AssertionError
        For a wrong gradient, which it names with the worst entry; and for a missing gradient, or a
        pass that changes the arrays that it receives.
    InputError
        For a class in place of a layer, for inputs of other dtypes, and for a backward that reads
        an attribute of the layer that forward has not set.

    Examples
    --------
    >>> import numpy
    >>> import xpnet
    >>> xpnet.gradcheck.check_layer(xpnet.layers.Activation("tanh"), numpy.array([[-1.0, 0.5]]))
    """
    arrays = [array for array in inputs if hasattr(array, "dtype")]
    check = _GradientCheck(layer, arrays[0] if arrays else None)
    host_inputs = tuple(check.to_host(array) for array in inputs)
    out = check.to_host(check.forward(*host_inputs))
    names = check.names(len(inputs))
    names_without_gradient = getattr(layer, "no_gradient", ())
    constant = {k for k, name in enumerate(names) if name in names_without_gradient}
    check.gradients(host_inputs, host_generator(rng).normal(size=out.shape), constant)


class CheckedModel(Protocol):
    """A model whose gradients can be checked."""

    @property
    def backend(self) -> Backend: ...
    @property
    def params(self) -> MutableMapping[str, Array]: ...
    @property
    def gradients(self) -> Mapping[str, Array | None]: ...
    def loss(self, X: Array, Y: Array, /) -> float: ...
    def gradient(self, X: Array, Y: Array, /) -> object: ...


def check_model(model: CheckedModel, X: Array, Y: Array) -> None:
    """Check the gradients of a model's loss with respect to its parameters, entry by entry.

    Parameters
    ----------
    model : object
        A float64 model with ``params`` (a mapping), ``loss(X, Y)``, and ``gradient(X, Y)``, which
        computes ``gradients``; such as `xpnet.FeedforwardNeuralNet`. The check changes its
        parameters and restores them.
    X : array, shape (rows, in)
        The inputs.
    Y : array, shape (rows,) or (rows, classes)
        The labels, as the model takes them.

    Raises
    ------
    AssertionError
        For a wrong gradient, which it names with the worst entry, and for a missing one.
    InputError
        For a class in place of a model, for a model of another dtype, and for one with dropout.

    Examples
    --------
    >>> import numpy
    >>> import xpnet
    >>> net = xpnet.FeedforwardNeuralNet(2, 3, 2, activation="tanh", rng=0)
    >>> X = numpy.array([[1.0, -1.0], [0.5, 2.0]])
    >>> xpnet.gradcheck.check_model(net, X, numpy.array([0, 1]))
    """
    _check_instance(model, "model", ("loss", "gradient"))
    dropout = getattr(getattr(model, "spec", None), "dropout", 0)
    if numpy.any(dropout):
        raise InputError(
            "A model must have no dropout to be checked, since its gradient leaves units out, and "
            f"its loss does not; got dropout={dropout}. Make the same model with dropout=0."
        )
    backend = model.backend
    model.gradient(X, Y)
    gradients = {
        name: numpy.array(backend.to_numpy(array))
        for name, array in model.gradients.items()
        if array is not None
    }
    missing = [name for name in model.params if name not in gradients]
    _require(
        not missing,
        f"gradients must have the gradient of each parameter; {', '.join(missing)} is missing from "
        f"{', '.join(gradients)}",
    )
    for name, gradient in gradients.items():
        value = numpy.array(backend.to_numpy(model.params[name]))
        _check_float64(name, value)
        _require_shape(f"gradient of {name}", gradient, value.shape)

        def loss_at(changed: numpy.ndarray, name: str = name) -> float:
            """Return the loss with one parameter changed."""
            model.params[name] = changed
            return model.loss(X, Y)

        try:
            _check_gradient(f"gradient of {name}", gradient, loss_at, value, 1.0)
        finally:
            model.params[name] = value


_REMEDIES = {
    "backward": "Write backward(d_out): it returns the gradient of the loss with respect to each "
    "argument of forward, from the gradient with respect to its output."
}
"""Remedies for a missing method, by its name."""


def _check_instance(received: object, kind: str, methods: tuple[str, ...]) -> None:
    """Raise InputError for a class, and for an object without the methods of its kind."""
    if inspect.isclass(received):
        raise InputError(
            f"A gradient check needs an instance of a {kind}; got the class "
            f"{received.__name__}. Pass {received.__name__}()."
        )
    missing = [name for name in methods if not callable(getattr(received, name, None))]
    if missing:
        raise InputError(
            f"A {kind} must have the methods {' and '.join(methods)}; {received!r} has no "
            f"{' and no '.join(missing)}. {_REMEDIES.get(missing[0], f'Pass a {kind}.')}"
        )


class _Example(NamedTuple):
    """The inputs of a known example, and the output for them."""

    inputs: tuple[numpy.ndarray, ...]
    out: numpy.ndarray | float


def _check_kind(
    check: "_GradientCheck",
    rng: RandomSource,
    sink: Callable[[str], object],
    draw: Callable[[RandomNumbers], tuple[numpy.ndarray, ...]],
    shape: tuple[int, ...],
    example: _Example,
) -> None:
    """Check a layer of a known kind, and say so if it has passed.

    draw : draws inputs with a random generator
    shape : of the output for drawn inputs; () for a loss, whose labels have no gradient
    """
    generator = host_generator(rng)
    out = check.forward(*draw(generator))
    _require(
        bool(shape) or isinstance(out, float),
        f"loss must be a float; forward returned {type(out).__name__}",
    )
    _require_shape("out", out, shape)
    example_out = check.to_host(check.forward(*example.inputs))
    _compare("out of the known example", example_out, numpy.asarray(example.out))
    inputs = draw(generator)
    check.gradients(inputs, generator.normal(size=shape), set() if shape else {1})
    sink("All checks passed successfully!")


class _GradientCheck:
    """A layer, its passes from host arrays, and the comparison of its gradients."""

    def __init__(self, layer: Any, like: Array | None) -> None:
        _check_instance(layer, "layer", ("forward", "backward"))
        self.layer = layer
        self.backend = choose(like, backend=getattr(layer, "backend", None)).backend

    def names(self, count: int) -> list[str]:
        """Return the names of the arguments of ``forward``; those of ``*inputs`` are numbered."""
        parameters = inspect.signature(self.layer.forward).parameters.values()
        names = [
            parameter.name
            for parameter in parameters
            if parameter.kind is not parameter.VAR_POSITIONAL
        ]
        return [names[k] if k < len(names) else f"input{k}" for k in range(count)]

    def forward(self, *inputs: numpy.ndarray) -> Any:
        """Make the layer's forward pass, which must leave its inputs alone and return numbers."""
        arrays = [self.backend.asarray(host_array.copy()) for host_array in inputs]
        for array, host_array in zip(arrays, inputs, strict=True):
            if host_array.dtype.kind not in "iub":
                _check_float64("an input", self.to_host(array))
        out = self.layer.forward(*arrays)
        for name, array, host_array in zip(self.names(len(inputs)), arrays, inputs, strict=True):
            _require(
                _same(self.to_host(array), host_array),
                f"forward changed its input {name}; compute on a copy",
            )
        is_numeric = hasattr(out, "dtype") or isinstance(out, int | float)
        # The representation of an array takes a hundred times as long as its computation.
        received = "" if is_numeric else repr(out)
        _require(is_numeric, f"forward must return an array or a number; it returned {received}")
        return out

    def to_host(self, array: Any) -> numpy.ndarray:
        """Return an array or a number as a NumPy array."""
        if hasattr(array, "dtype"):
            array = self.backend.to_numpy(array)
        return numpy.asarray(array)

    def gradients(
        self, inputs: tuple[numpy.ndarray, ...], d_out: numpy.ndarray | float, constant: set[int]
    ) -> None:
        """Compare all gradients with central differences of sum(out d_out).

        constant : indices of inputs that need no gradient
        """
        names = self.names(len(inputs))
        integers = {k for k, array in enumerate(inputs) if array.dtype.kind in "iub"}
        gradients = self.backward(inputs, d_out)
        _require_all(gradients, names, constant, integers)
        differentiated = [k for k, gradient in enumerate(gradients) if gradient is not None]
        inputs = tuple(
            array.astype(float) if k in differentiated else array for k, array in enumerate(inputs)
        )
        gradients = self.backward(inputs, d_out)
        for k in differentiated:

            def out_at(changed: numpy.ndarray, k: int = k) -> numpy.ndarray:
                """Return the outputs with input ``k`` changed."""
                return self.to_host(self.forward(*inputs[:k], changed, *inputs[k + 1 :]))

            name = f"d_{names[k]}"
            _require_shape(name, gradients[k], inputs[k].shape)
            _check_gradient(name, self.to_host(gradients[k]), out_at, inputs[k], d_out)

    def backward(
        self, inputs: tuple[numpy.ndarray, ...], d_out: numpy.ndarray | float
    ) -> tuple[object, ...]:
        """Make both passes and return the gradients; backward must leave ``d_out`` alone."""
        self.forward(*inputs)
        passed = self.backend.asarray(numpy.array(d_out)) if numpy.ndim(d_out) else float(d_out)
        try:
            gradients = self.layer.backward(passed)
        except AttributeError as error:
            if error.obj is not self.layer:
                raise
            raise InputError(
                f"backward must find what it needs in the layer; {error}. Keep it in forward, as "
                f"self.{error.name} = ..."
            ) from error
        _require(
            _same(self.to_host(passed), numpy.asarray(d_out)),
            "backward changed d_out; compute on a copy",
        )
        return tuple(gradients) if isinstance(gradients, tuple | list) else (gradients,)


def _require_all(
    gradients: tuple[object, ...], names: list[str], constant: set[int], integers: set[int]
) -> None:
    """Require a gradient with respect to each input; None will do for integers.

    ``constant`` inputs need no gradient. The gradient with respect to the first input may be the
    only one where no other input needs one.
    """
    present = {k for k, gradient in enumerate(gradients) if gradient is not None}
    needed = set(range(len(names))) - constant
    if present:
        is_alone = len(gradients) == 1 and needed - integers == {0}
        needed -= integers if is_alone else {k for k in integers if k < len(gradients)}
    types = ", ".join(type(gradient).__name__ for gradient in gradients)
    _require(
        needed <= present and len(gradients) <= len(names),
        f"backward must return a gradient with respect to each of {', '.join(names)}, None for "
        "class indices, and none for what the layer's attribute no_gradient names; it returned "
        f"{types}",
    )


def _check_gradient(
    name: str,
    gradient: numpy.ndarray,
    function: Callable[[numpy.ndarray], numpy.ndarray | float],
    x: numpy.ndarray,
    d_out: numpy.ndarray | float,
) -> None:
    """Require that this is the gradient of sum(function(x) d_out) with respect to x."""
    _require_same_passes(numpy.asarray(function(x)), numpy.asarray(function(x)))
    numeric = numpy.empty(x.shape)

    def slope(entry: tuple[int, ...], low: float, high: float) -> float:
        """Compute sum(d_out (f(x + high) - f(x + low))) / (high - low).

        The differences come first, so that little precision is lost.
        """
        above = x.copy()
        below = x.copy()
        above[entry] += high
        below[entry] += low
        difference = numpy.asarray(function(above)) - numpy.asarray(function(below))
        return numpy.sum(difference * d_out) / (high - low)

    for entry in numpy.ndindex(x.shape):
        numeric[entry] = slope(entry, -STEP, STEP)
    # The short step leaves rounding of about 1e-8 in a difference, which decides where a gradient
    # is nearly zero. An entry that is wrong for that reason alone is right over the wide step.
    for entry in map(tuple, numpy.argwhere(~numpy.isclose(gradient, numeric))):
        numeric[entry] = slope(entry, -WIDE_STEP, WIDE_STEP)
    # At a kink, as ReLU has at 0, each slope between those of the two sides is right.
    for entry in map(tuple, numpy.argwhere(~numpy.isclose(gradient, numeric))):
        low, high = sorted((slope(entry, -WIDE_STEP, 0.0), slope(entry, 0.0, WIDE_STEP)))
        numeric[entry] = numpy.fmax(low, numpy.fmin(high, gradient[entry]))
    _compare(name, gradient, numeric)


def _require_same_passes(first: numpy.ndarray, second: numpy.ndarray) -> None:
    """Require that two passes over the same numbers give the same, up to rounding."""
    if not numpy.allclose(first, second, equal_nan=True):
        raise InputError(
            "Two passes over the same numbers must give the same outputs; these differ. Leave "
            "random numbers out, or draw the same ones in each pass."
        )


def _compare(name: str, received: numpy.ndarray, expected: numpy.ndarray) -> None:
    """Require that both are close, and name the entry with the largest difference."""
    close = numpy.isclose(received, expected)
    if close.all():
        return
    difference = numpy.nan_to_num(numpy.abs(received - expected), nan=numpy.inf)
    difference = numpy.where(close, 0.0, difference)
    worst = tuple(int(i) for i in numpy.unravel_index(int(difference.argmax()), difference.shape))
    entry = f" at {list(worst)}" if worst else ""
    raise AssertionError(f"{name} must be {expected[worst]}{entry}; got {received[worst]}.")


def _same(received: numpy.ndarray, expected: numpy.ndarray) -> bool:
    """Return whether two arrays hold the same values; NaN equals NaN."""
    return bool(numpy.array_equal(received, expected, equal_nan=received.dtype.kind in "fc"))


def _require(holds: bool, otherwise: str) -> None:
    """Raise AssertionError with a message unless a condition holds."""
    if not holds:
        raise AssertionError(f"{otherwise}.")


def _require_shape(name: str, array: object, expected: tuple[int, ...]) -> None:
    """Raise AssertionError unless an array has this shape."""
    shape = tuple(getattr(array, "shape", ()))
    _require(shape == expected, f"{name} must have shape {expected}; got {shape}")


def _check_float64(name: str, array: numpy.ndarray) -> None:
    """Raise InputError unless an array is float64."""
    if array.dtype != numpy.float64:
        raise InputError(
            f"Gradient checks need float64; {name} is {array.dtype}. Make the model or the arrays "
            "float64 (JAX: jax.config.update('jax_enable_x64', True))."
        )
