"""The description of a network, and the network's parameters by name.

A backend makes a training step from the description. Parameters are views of one flat buffer if
arrays can be written in place, and separate arrays otherwise.
"""

from collections.abc import Callable, Iterator, MutableMapping
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from inspect import signature
from math import inf, prod
from typing import Any, Literal, NamedTuple

import numpy

from xpnet.backend.contract import Backend, dtype_name
from xpnet.errors import InputError
from xpnet.ops import ActivationName, Array
from xpnet.ops.updates import UPDATE_DEFAULTS, UPDATE_RANGES, UPDATES, Update, UpdateName

Loss = Literal[
    "softmax_cross_entropy",
    "multi_softmax_cross_entropy",
    "logistic_cross_entropy",
    "squared_error",
    "poisson",
    "absolute_error",
    "huber",
    "quantile",
    "gamma",
    "tweedie",
]

OUTPUT_ACTIVATIONS: dict[
    Loss, Literal["softmax", "multi_softmax", "logistic", "identity", "exp"]
] = {
    "softmax_cross_entropy": "softmax",
    "multi_softmax_cross_entropy": "multi_softmax",
    "logistic_cross_entropy": "logistic",
    "squared_error": "identity",
    "poisson": "exp",
    "absolute_error": "identity",
    "huber": "identity",
    "quantile": "identity",
    "gamma": "exp",
    "tweedie": "exp",
}
"""The function that turns the values of the last layer into predictions, by the loss."""

NUMERIC_LOSSES = frozenset(
    loss for loss in OUTPUT_ACTIVATIONS if not loss.endswith("_cross_entropy")
)
"""Losses of numbers, for regressors."""

LOSS_NUMBERS: dict[Loss, tuple[str, float, tuple[float, float]]] = {
    "multi_softmax_cross_entropy": ("target", 0.0, (-1.0, inf)),
    "huber": ("delta", 1.0, (0.0, inf)),
    "quantile": ("quantile", 0.5, (0.0, 1.0)),
    "tweedie": ("power", 1.5, (1.0, 2.0)),
}
"""Losses that take a number for each output.

For each: the argument's name in ``xpnet.ops``, its default, and its exclusive limits.
"""


OWN_DEFAULT: Any = None
"""Stands for the default that an update has in ``xpnet.ops.UPDATES``."""


@dataclass(frozen=True)
class UpdateRule:
    """An update of ``xpnet.ops.UPDATES`` with its numbers.

    The learning rate is not part of the rule, since it may change from step to step.

    Parameters
    ----------
    name : str, default "sgd"
        The name of the update in ``xpnet.ops.UPDATES``.
    momentum : float, optional
        Decay of the velocity, in [0, 1]; 0 for plain gradient descent.
    nesterov : bool, optional
        Whether Nesterov's momentum is used.
    beta1, beta2 : float, optional
        Decays of the means of the gradient and of its square, in [0, 1).
    epsilon : float, optional
        Added to the root of the mean square, greater than 0.
    weight_decay : float, optional
        Decoupled weight decay, not negative.
    epsilon_hat : bool, optional
        Whether epsilon is added before the bias correction, as scikit-learn does.

    Raises
    ------
    InputError
        For an unknown name and for numbers outside their ranges.

    See Also
    --------
    xpnet.optimizers : The optimizers that a user names; each has a rule.

    Notes
    -----
    The functions in ``xpnet.ops`` document the numbers that an update reads, and their defaults.
    The other numbers have no effect.

    Examples
    --------
    >>> from xpnet.backend import UpdateRule
    >>> UpdateRule("sgd", momentum=0.9).buffers
    ('velocity',)
    """

    name: UpdateName = "sgd"
    momentum: float = OWN_DEFAULT
    nesterov: bool = OWN_DEFAULT
    beta1: float = OWN_DEFAULT
    beta2: float = OWN_DEFAULT
    epsilon: float = OWN_DEFAULT
    weight_decay: float = OWN_DEFAULT
    epsilon_hat: bool = OWN_DEFAULT

    def __post_init__(self) -> None:
        if self.name not in UPDATES:
            raise InputError(f"`name` must be one of {', '.join(UPDATES)}; got {self.name!r}.")
        for name, default in (UPDATE_DEFAULTS | self.update.numbers).items():
            if getattr(self, name) is OWN_DEFAULT:
                object.__setattr__(self, name, default)
            _check_range(name, getattr(self, name))

    @property
    def update(self) -> Update:
        """Return the update's entry in the table."""
        return UPDATES[self.name]

    @property
    def buffers(self) -> tuple[str, ...]:
        """Return the names of the arrays that the update keeps for each parameter."""
        needed = self.update.buffers_need
        return () if needed and not getattr(self, needed) else self.update.buffers

    def arguments(self, t: int) -> dict[str, float]:
        """Return the keyword arguments of the update's function, except the learning rate.

        Parameters
        ----------
        t : int
            The number of the step, from 1.

        Returns
        -------
        dict of str to float
            The numbers that the update reads, and ``t`` if it counts the steps.
        """
        numbers = {name: getattr(self, name) for name in self.update.numbers}
        return numbers | {"t": t} if self.update.counts_steps else numbers

    def scales(self, t: int, learning_rate: float) -> tuple[float, ...]:
        """Compute the factors that are common to all items of a step.

        Parameters
        ----------
        t : int
            The number of the step, from 1.
        learning_rate : float
            The learning rate of the step.

        Returns
        -------
        tuple of float
            ``scale``, ``root`` and perhaps ``grad_scale``; empty for an update without such
            factors.
        """
        function = self.update.scales
        if function is None:
            return ()
        values = {**vars(self), "t": t, "learning_rate": learning_rate}
        return function(**{name: values[name] for name in _argument_names(function)})


@cache
def _argument_names(function: Callable[..., Any]) -> tuple[str, ...]:
    return tuple(signature(function).parameters)


def _check_range(name: str, value: float) -> None:
    """Raise InputError for a number of an update outside its range."""
    allowed = UPDATE_RANGES.get(name)
    if allowed is not None and not allowed.contains(value):
        raise InputError(
            f"`{name}` of an optimizer must {allowed.text}; got {value}. "
            "Keep its default if in doubt."
        )


class Slot(NamedTuple):
    """The place of one parameter in the flat buffer: its first item and its shape."""

    name: str
    offset: int
    shape: tuple[int, ...]


@dataclass(frozen=True)
class NetworkSpec:
    """A dense network, its loss, its penalty and its update.

    Parameters
    ----------
    widths : tuple of int
        Columns of the input, units of each hidden layer, columns of the output: at least two
        numbers.
    activations : tuple of str, names in `xpnet.ops.ACTIVATIONS`
        One for each hidden layer. The output's activation follows from the loss: softmax, one for
        each of several targets or for all outputs, logistic, identity or exp.
    loss : str, default "softmax_cross_entropy"
        The loss by its name in ``xpnet.ops``: ``"softmax_cross_entropy"``,
        ``"multi_softmax_cross_entropy"``, ``"logistic_cross_entropy"``, ``"squared_error"``,
        ``"absolute_error"``, ``"huber"``, ``"quantile"``, ``"poisson"``, ``"gamma"`` or
        ``"tweedie"``.
    rule : UpdateRule, default UpdateRule()
        The update; plain gradient descent by default.
    dtype : {"float32", "float64"}, default "float64"
        The dtype of the parameters and of every intermediate result.
    l2 : float, default 0.0
        Strength of the penalty ``l2 / 2 * sum ||W||^2`` over all weights (not biases), added to the
        mean loss.
    l2_over_batch : bool, default False
        Whether the penalty is divided by the number of rows of the batch, or by the sum of their
        sample weights, as in scikit-learn.
    dropout : tuple of float, default ()
        One rate in [0, 1) for each hidden layer, or empty for no dropout.
    seed : int, default 0
        The seed that dropout masks are drawn from.
    names : tuple of str, default ()
        Names of weight and bias, layer by layer; empty for W1, b1, W2, b2, ... A network with
        several members must have these default names.
    members : int, default 1
        Number of networks that share the hidden layers' weights. With more than one, each has a
        last layer of its own, and factors of its own for the inputs and outputs of hidden layers.
        Training minimizes the mean of their losses; a prediction is the mean of theirs.
    member_scales : {"all", "first"}, default "all"
        The hidden layers that have factors: ``"all"``, each also with a bias for each member (TabM,
        BatchEnsemble), or ``"first"``, only the inputs of the first (TabM-mini).
    loss_numbers : tuple of float, default ()
        The delta of Huber's loss, the levels of quantiles, the power of Tweedie's deviance, or the
        number of the target that an output belongs to; one, or one for each output. Empty for the
        default of ``xpnet.ops``, and for losses that have no such number.

    Examples
    --------
    >>> from xpnet.backend import NetworkSpec
    >>> spec = NetworkSpec(widths=(4, 8, 3), activations=("relu",))
    >>> spec.layers, spec.parameter_names
    (2, ('W1', 'b1', 'W2', 'b2'))
    """

    widths: tuple[int, ...]
    activations: tuple[ActivationName, ...]
    loss: Loss = "softmax_cross_entropy"
    rule: UpdateRule = UpdateRule()
    dtype: str = "float64"
    l2: float = 0.0
    l2_over_batch: bool = False
    dropout: tuple[float, ...] = ()
    seed: int = 0
    names: tuple[str, ...] = ()
    members: int = 1
    member_scales: Literal["all", "first"] = "all"
    loss_numbers: tuple[float, ...] = ()

    @property
    def layers(self) -> int:
        """Return the number of affine layers."""
        return len(self.widths) - 1

    @cached_property
    def output_numbers(self) -> tuple[float, ...]:
        """Return the number that the loss takes for each output; empty where it takes none."""
        if self.loss not in LOSS_NUMBERS:
            return ()
        numbers = self.loss_numbers or (LOSS_NUMBERS[self.loss][1],)
        return numbers * self.widths[-1] if len(numbers) == 1 else numbers

    @property
    def loss_arguments(self) -> dict[str, tuple[float, ...]]:
        """Return the further arguments of the loss, by their names in ``xpnet.ops``."""
        return {LOSS_NUMBERS[self.loss][0]: self.output_numbers} if self.output_numbers else {}

    @cached_property
    def parameter_names(self) -> tuple[str, ...]:
        """Return the names of all parameters, layer by layer."""
        return tuple(slot.name for slot in self.slots())

    @cached_property
    def layer_names(self) -> tuple[dict[str, str], ...]:
        """Return for each affine layer the names of its parameters by their roles.

        The roles are ``weight`` and ``bias`` and, where members have factors, ``scale_in`` and
        ``scale_out``.
        """
        return tuple({p.role: p.name for p in parameters} for parameters in _layers(self))

    @cached_property
    def weight_names(self) -> tuple[str, ...]:
        """Return the names of the weights, which the penalty sums over, layer by layer."""
        return tuple(names["weight"] for names in self.layer_names)

    @cached_property
    def bias_names(self) -> tuple[str, ...]:
        """Return the names of the biases, layer by layer."""
        return tuple(names["bias"] for names in self.layer_names)

    def l2_for(self, weight: float) -> float:
        """Return the strength of the penalty for a batch.

        Parameters
        ----------
        weight : float
            The rows of the batch, or the sum of their sample weights.

        Returns
        -------
        float
            ``l2``, or with ``l2_over_batch`` ``l2 / weight``; 0 for no rows.
        """
        if not self.l2_over_batch:
            return self.l2
        return self.l2 / weight if weight else 0.0

    def slots(self, align: int = 1) -> list[Slot]:
        """Return the position of each parameter in one flat buffer.

        Parameters
        ----------
        align : int, default 1
            Each parameter begins at a multiple of this many items.

        Returns
        -------
        list of Slot
            Name, offset (in items) and shape of each parameter, in the order of `parameter_names`.
        """
        return list(_slots(self, align))


@lru_cache(maxsize=64)
def _slots(spec: NetworkSpec, align: int) -> tuple[Slot, ...]:
    slots = []
    end = 0
    for weight, bias, *scales in _layers(spec):
        for parameter in (weight, *scales, bias):
            slots.append(Slot(parameter.name, end, parameter.shape))
            end += -(-prod(parameter.shape) // align) * align
    return tuple(slots)


class LayerParameter(NamedTuple):
    """A parameter of a layer: its role, its name and its shape.

    role : ``weight``, ``bias``, ``scale_in`` or ``scale_out``
    """

    role: str
    name: str
    shape: tuple[int, ...]


def _layers(spec: NetworkSpec) -> list[list[LayerParameter]]:
    """Return the parameters of each affine layer, in the order of the arguments of the layer."""
    return [_layer(spec, number) for number in range(1, spec.layers + 1)]


def _layer(spec: NetworkSpec, number: int) -> list[LayerParameter]:
    """Return the parameters of affine layer ``number``, from 1."""
    fan_in, fan_out = spec.widths[number - 1 : number + 1]
    own_names = spec.names[2 * number - 2 : 2 * number]
    weight, bias = own_names or (f"W{number}", f"b{number}")
    is_last = number == spec.layers
    if spec.members == 1:
        return [
            LayerParameter("weight", weight, (fan_in, fan_out)),
            LayerParameter("bias", bias, (fan_out,)),
        ]
    members = spec.members
    if is_last:
        return [
            LayerParameter("weight", weight, (members, fan_in, fan_out)),
            LayerParameter("bias", bias, (members, fan_out)),
        ]
    scale_in = LayerParameter("scale_in", f"scale_in{number}", (members, fan_in))
    shared_weight = LayerParameter("weight", weight, (fan_in, fan_out))
    if spec.member_scales == "all":
        own_bias = LayerParameter("bias", bias, (members, fan_out))
        scale_out = LayerParameter("scale_out", f"scale_out{number}", (members, fan_out))
        return [shared_weight, own_bias, scale_in, scale_out]
    shared_bias = LayerParameter("bias", bias, (fan_out,))
    return [shared_weight, shared_bias, scale_in] if number == 1 else [shared_weight, shared_bias]


class Parameters(MutableMapping[str, Array]):
    """A mapping from parameter names to arrays; assigning to a name replaces its values.

    With a flat buffer an assignment writes through, so that ``params[p] = params[p] - learning_rate
    * grads[p]`` trains the network on every backend.

    Parameters
    ----------
    arrays : dict of str to array
        The arrays by name. With a flat buffer they are views of it.
    flat : array, shape (size,), or None
        The buffer of the views; None for separate arrays.
    backend : Backend
        The backend that the arrays belong to.

    Raises
    ------
    InputError
        If the name in an assignment does not exist, if the assigned array has another shape, or if
        a name is deleted.

    Examples
    --------
    >>> import numpy
    >>> import xpnet
    >>> from xpnet.backend import NetworkSpec, Parameters
    >>> spec = NetworkSpec(widths=(2, 3), activations=())
    >>> params = Parameters.zeros(spec, xpnet.get_backend("numpy"))
    >>> params["b1"] = numpy.array([1.0, 2.0, 3.0])
    >>> params
    Parameters(W1: (2, 3), b1: (3,))
    >>> params.flat
    array([0., 0., 0., 0., 0., 0., 1., 2., 3.])
    """

    def __init__(self, arrays: dict[str, Array], flat: Array | None, backend: Backend) -> None:
        self._arrays, self.flat, self.backend = arrays, flat, backend

    @classmethod
    def zeros(cls, spec: NetworkSpec, backend: Backend, *, align: int = 1) -> "Parameters":
        """Make parameters that are all zero, with the names, shapes and dtype of a network.

        Parameters
        ----------
        spec : NetworkSpec
            The network.
        backend : Backend
            The backend of the arrays. They share one flat buffer if ``backend.in_place`` is true.
        align : int, default 1
            In a flat buffer each parameter begins at a multiple of this many items.

        Returns
        -------
        Parameters
            The parameters, in memory of their own.
        """
        slots = spec.slots(align)
        if not getattr(backend, "in_place", False):
            return cls({s.name: _zeros(s.shape, spec, backend) for s in slots}, None, backend)
        last = slots[-1]
        size = last.offset + -(-prod(last.shape) // align) * align
        return cls.over(_zeros((size,), spec, backend), spec, backend, align=align)

    @classmethod
    def over(
        cls, flat: Array, spec: NetworkSpec, backend: Backend, *, align: int = 1
    ) -> "Parameters":
        """Make parameters that are views of a buffer which the caller has allocated.

        Parameters
        ----------
        flat : array, shape (size,)
            The buffer, of the dtype of the network.
        spec : NetworkSpec
            The network.
        backend : Backend
            The backend that the buffer belongs to.
        align : int, default 1
            Each parameter begins at a multiple of this many items.

        Returns
        -------
        Parameters
            The parameters, in the memory of the buffer.
        """
        arrays = {
            s.name: flat[s.offset : s.offset + prod(s.shape)].reshape(s.shape)
            for s in spec.slots(align)
        }
        return cls(arrays, flat, backend)

    @property
    def groups(self) -> list[Array]:
        """Return the arrays that an update changes: the flat buffer, or all parameters."""
        return [self.flat] if self.flat is not None else list(self._arrays.values())

    def replace_groups(self, arrays: list[Array]) -> None:
        """Take over the arrays that an update returned for `groups`.

        Parameters
        ----------
        arrays : list of array
            One array for each group, in the same order.
        """
        if self.flat is None:
            self._arrays.update(zip(self._arrays, arrays, strict=True))
        elif arrays[0] is not self.flat:
            self.flat[...] = arrays[0]

    def to_host(self) -> dict[str, Any]:
        """Copy the arrays to the host.

        Returns
        -------
        dict of str to numpy.ndarray
            The copies by name.
        """
        return {name: self.backend.to_numpy(array).copy() for name, array in self._arrays.items()}

    def __getitem__(self, name: str) -> Array:
        return self._arrays[name]

    def __setitem__(self, name: str, value: Array) -> None:
        if name not in self._arrays:
            raise InputError(
                f"A parameter must have one of the fixed names: {', '.join(self._arrays)}; got "
                f"{name!r}."
            )
        current = self._arrays[name]
        if self.flat is None or type(value) is not type(current):
            value = self.backend.asarray(value, dtype=dtype_name(current.dtype))
        if tuple(value.shape) != tuple(current.shape):
            raise InputError(
                f"Parameter {name} must have shape {tuple(current.shape)}; got "
                f"{tuple(value.shape)}. Build a new model for other widths."
            )
        if self.flat is None:
            self._arrays[name] = value
        else:
            current[...] = value

    def __delitem__(self, name: str) -> None:
        raise InputError(f"Parameters have fixed names; {name} cannot be removed.")

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)

    def __repr__(self) -> str:
        return (
            "Parameters("
            + ", ".join(f"{n}: {tuple(a.shape)}" for n, a in self._arrays.items())
            + ")"
        )


def _zeros(shape: tuple[int, ...], spec: NetworkSpec, backend: Backend) -> Array:
    # The zeros are made on the host, since only the backend's asarray knows the device.
    return backend.asarray(numpy.zeros(shape, dtype=spec.dtype), dtype=spec.dtype)
