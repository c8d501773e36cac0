"""The two networks that users make by name, and the weights that one of them begins with."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy

from xpnet.backend import Backend, NetworkSpec
from xpnet.backend.bounds import within_bounds
from xpnet.backend.spec import Slot
from xpnet.models.inputs import one_each, preset_loss
from xpnet.models.network import Network
from xpnet.ops import ActivationName
from xpnet.optimizers import Optimizer, Schedule, update_rule
from xpnet.training.rng import host_generator
from xpnet.typing import RandomNumbers, RandomSource


class LogisticRegression(Network):
    """Logistic regression with several classes, p(class | x) = softmax(x W + b).

    Parameters
    ----------
    num_features : int
        Columns of X.
    num_classes : int
        Number of classes.
    learning_rate : float or Schedule, default 1e-2
        A number, a schedule of `xpnet.optimizers`, or a function that is called before each epoch
        as ``learning_rate(epoch, losses)``, with the number of epochs made so far, 0 for the first,
        and the list of their training losses, as ``lambda epoch, losses: 0.1 * 0.9**epoch``.
    backend : str or Backend, optional
        What computes; None adopts the library and device of the first arrays.
    dtype : {"float32", "float64"}, optional
        None adopts that of the first arrays (for whole numbers, their library's default).
    optimizer : str or Optimizer, optional
        An optimizer, or its name in ``xpnet.optimizers.OPTIMIZERS``; None for plain gradient
        descent.
    l2 : float, default 0.0
        Strength of the penalty l2 / 2 ||W||^2.
    compiled : bool, default True
        False trains with the reference step even where a compiled one exists.

    Attributes
    ----------
    params : Parameters
        ``W`` (num_features, num_classes), ``b`` (num_classes,).

    Raises
    ------
    InputError
        For sizes that are not positive integers and numbers outside their range.

    Examples
    --------
    >>> import numpy
    >>> import xpnet
    >>> net = xpnet.LogisticRegression(2, 2, learning_rate=1.0)
    >>> net.fit(numpy.eye(2), [0, 1], epochs=10)
    History(epochs=10, loss=...)
    >>> net.predict(numpy.eye(2)).argmax(axis=1)
    array([0, 1])
    """

    def __init__(
        self,
        num_features: int,
        num_classes: int,
        learning_rate: float | Schedule = 1e-2,
        *,
        backend: str | Backend | None = None,
        dtype: str | None = None,
        optimizer: str | Optimizer | None = None,
        l2: float = 0.0,
        compiled: bool = True,
    ) -> None:
        widths = num_features, num_classes
        spec = NetworkSpec(
            widths, activations=(), rule=update_rule(optimizer), l2=l2, names=("W", "b")
        )
        initial: dict[str, numpy.ndarray] = {
            "W": numpy.zeros(widths),
            "b": numpy.zeros(num_classes),
        }
        super().__init__(
            spec, initial, learning_rate, backend=backend, dtype=dtype, compiled=compiled
        )


class FeedforwardNeuralNet(Network):
    """A network of any depth, trained by backpropagation on cross-entropy or on a loss of numbers.

    Input -> (affine -> activation) for each hidden layer -> affine -> softmax, or what predicts
    numbers: the identity, or exp for counts and amounts.

    Parameters
    ----------
    input_size : int
        Columns of X.
    hidden_size : int or sequence of int
        Units of the hidden layer, or of each hidden layer.
    output_size : int
        Number of classes, or of numbers.
    learning_rate : float or Schedule, default 1e-2
        A number, a schedule of `xpnet.optimizers`, or a function that is called before each epoch
        as ``learning_rate(epoch, losses)``, with the number of epochs made so far, 0 for the first,
        and the list of their training losses, as ``lambda epoch, losses: 0.1 * 0.9**epoch``.
    loss : str, default "softmax_cross_entropy"
        What is minimised, the mean over the rows: the default for classes; for numbers, summed over
        the outputs, ``"squared_error"`` (half of it), ``"absolute_error"``, ``"huber"``,
        ``"quantile"`` (the median), ``"poisson"``, ``"tweedie"`` or ``"gamma"``, as
        `xpnet.MLPRegressor` describes them. Targets are then numbers, (rows, outputs), or (rows,)
        for one output, and ``predict`` returns (rows, outputs).
    backend : str or Backend, optional
        What computes; None adopts the library and device of the first arrays.
    dtype : {"float32", "float64"}, optional
        None adopts that of the first arrays (for whole numbers, their library's default).
    rng : int, numpy.random.Generator or numpy.random.RandomState, optional
        Where the initial weights and the orders of ``fit`` are drawn from; None for NumPy's global
        generator.
    optimizer : str or Optimizer, optional
        An optimizer, or its name in ``xpnet.optimizers.OPTIMIZERS``; None for plain gradient
        descent.
    activation : str or sequence of str, default "relu"
        A name in ``xpnet.ops.ACTIVATIONS`` (``"relu"``, ``"tanh"``, ...): one for all hidden
        layers, or one for each.
    l2 : float, default 0.0
        Strength of the penalty l2 / 2 sum ||W||^2.
    dropout : float or sequence of float, default 0.0
        Probability with which a hidden unit is left out in training; one for all hidden layers, or
        one for each.
    members : int, default 1
        How many networks are trained as one: they share the weights of the hidden layers, and each
        has its own factors for the inputs and the outputs of these layers, and its own last layer.
        The mean of their losses is trained, and the mean of their probabilities predicted
        (BatchEnsemble, TabM).
    member_scales : {"all", "first"}, default "all"
        Which hidden layers have factors: all, or the inputs of the first alone (TabM-mini).
    compiled : bool, default True
        False trains with the reference step even where a compiled one exists.

    Attributes
    ----------
    params : Parameters
        ``W1`` (in, hidden), ``b1`` (hidden,), ``W2``, ``b2``, ...: Xavier weights and zero biases
        at first. Of k members ``scale_in1`` (k, in), ``scale_out1`` (k, hidden), ... as well;
        biases are (k, hidden), or (hidden,) where ``member_scales`` is ``"first"``, and the last
        weight is (k, hidden, out).

    Raises
    ------
    InputError
        For sizes that are not positive integers, numbers outside their range, and unknown names.

    See Also
    --------
    xpnet.MLPClassifier : The same with scikit-learn's contract.
    xpnet.MLPRegressor : The same for numbers.

    Examples
    --------
    >>> import xpnet
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> net = xpnet.FeedforwardNeuralNet(4, 16, 3, 0.01, optimizer=xpnet.Adam(), rng=0)
    >>> net.fit(X, y, epochs=100, batch_size=32)
    History(epochs=100, loss=...)
    >>> float((net.predict(X).argmax(axis=1) == y).mean()) > 0.9
    True
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int | Sequence[int],
        output_size: int,
        learning_rate: float | Schedule = 1e-2,
        *,
        loss: str = "softmax_cross_entropy",
        backend: str | Backend | None = None,
        dtype: str | None = None,
        rng: RandomSource = None,
        optimizer: str | Optimizer | None = None,
        activation: ActivationName | Sequence[ActivationName] = "relu",
        l2: float = 0.0,
        dropout: float | Sequence[float] = 0.0,
        members: int = 1,
        member_scales: Literal["all", "first"] = "all",
        compiled: bool = True,
    ) -> None:
        hidden = (
            (hidden_size,) if isinstance(hidden_size, int | numpy.integer) else tuple(hidden_size)
        )
        rates = one_each("dropout", dropout, len(hidden))
        spec = NetworkSpec(
            widths=(input_size, *hidden, output_size),
            activations=one_each("activation", activation, len(hidden)),
            loss=preset_loss(loss),
            rule=update_rule(optimizer),
            l2=l2,
            dropout=rates if any(rates) else (),
            members=members,
            member_scales=member_scales,
        )
        super().__init__(
            spec,
            lambda: initial_values(spec, self.rng),
            learning_rate,
            backend=backend,
            dtype=dtype,
            compiled=compiled,
            rng=host_generator(rng),
        )


def xavier_init(shape: Sequence[int], rng: RandomSource = None) -> numpy.ndarray:
    """Draw initial weights from U(-a, a), a = sqrt(6 / (fan_in + fan_out)).

    Parameters
    ----------
    shape : sequence of int
        (fan_in, fan_out).
    rng : int, numpy.random.Generator or numpy.random.RandomState, optional
        Where they are drawn from; None for NumPy's global generator, as in the notebook.

    Returns
    -------
    numpy.ndarray, shape (fan_in, fan_out), float64
        The weights, on the host, so that every backend starts from the same numbers.

    References
    ----------
    X. Glorot, Y. Bengio, Understanding the difficulty of training deep feedforward neural networks,
    2010, eq. 16.

    Examples
    --------
    >>> import xpnet
    >>> weights = xpnet.xavier_init((2, 4), rng=0)
    >>> weights.shape, bool((abs(weights) <= 1).all())
    ((2, 4), True)
    """
    a = (6.0 / float(sum(shape))) ** 0.5
    weights: numpy.ndarray = host_generator(rng).uniform(low=-a, high=a, size=tuple(shape))
    return weights


def initial_values(spec: NetworkSpec, rng: RandomNumbers | None) -> dict[str, numpy.ndarray]:
    """Return the parameters that a network begins with, as float64 arrays on the host.

    Weights are drawn by :func:`xavier_init`, those of members' last layers one after the other.
    Biases are 0, and factors of members 1, but for those of the first layer's inputs, which are 1
    or -1: these make the members differ (Gorishniy, Kotelnikov, Babenko, TabM, ICLR 2025, section
    3).
    """
    return within_bounds(spec, {slot.name: _initial(spec, slot, rng) for slot in spec.slots()})


def _initial(spec: NetworkSpec, slot: Slot, rng: Any) -> numpy.ndarray:
    """Return the first value of one parameter; see :func:`initial_values`."""
    if slot.name in spec.weight_names:
        if len(slot.shape) == 2:
            return xavier_init(slot.shape, rng)
        return numpy.stack([xavier_init(slot.shape[1:], rng) for _ in range(spec.members)])
    if slot.name == spec.layer_names[0].get("scale_in"):
        return numpy.where(rng.uniform(size=slot.shape) < 0.5, -1.0, 1.0)
    return numpy.zeros(slot.shape) if slot.name in spec.bias_names else numpy.ones(slot.shape)
