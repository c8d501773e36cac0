"""The description of a network, from which a backend makes a training step."""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import inf, prod
from typing import Literal, NamedTuple, get_args

from xpnet.backend.rule import UpdateRule
from xpnet.ops import ActivationName

Loss = Literal[
    "softmax_cross_entropy",
    "multi_softmax_cross_entropy",
    "ordered_cross_entropy",
    "logistic_cross_entropy",
    "squared_error",
    "poisson",
    "absolute_error",
    "huber",
    "quantile",
    "gamma",
    "tweedie",
]

OutputActivation = Literal["softmax", "multi_softmax", "ordered", "logistic", "identity", "exp"]
"""A function that turns the values of the last layer into predictions."""

_EXCEPT_IDENTITY: dict[Loss, OutputActivation] = {
    "softmax_cross_entropy": "softmax",
    "multi_softmax_cross_entropy": "multi_softmax",
    "ordered_cross_entropy": "ordered",
    "logistic_cross_entropy": "logistic",
    "poisson": "exp",
    "gamma": "exp",
    "tweedie": "exp",
}
OUTPUT_ACTIVATIONS: dict[Loss, OutputActivation] = {
    loss: _EXCEPT_IDENTITY.get(loss, "identity") for loss in get_args(Loss)
}
"""The function that turns the values of the last layer into predictions, by the loss."""

CLASS_LOSSES = frozenset({"softmax_cross_entropy", "ordered_cross_entropy"})
"""Losses whose outputs are probabilities of classes, of which a row has one."""
NUMERIC_LOSSES = frozenset(
    loss for loss in OUTPUT_ACTIVATIONS if not loss.endswith("_cross_entropy")
)
"""Losses of numbers, for regressors."""


class LossNumber(NamedTuple):
    """The number that a loss takes for each output.

    argument : its name in ``xpnet.ops``; limits : exclusive, the lower one first
    """

    argument: str
    default: float
    limits: tuple[float, float]


LOSS_NUMBERS: dict[Loss, LossNumber] = {
    "multi_softmax_cross_entropy": LossNumber("target", 0.0, (-1.0, inf)),
    "huber": LossNumber("delta", 1.0, (0.0, inf)),
    "quantile": LossNumber("quantile", 0.5, (0.0, 1.0)),
    "tweedie": LossNumber("power", 1.5, (1.0, 2.0)),
}
"""The losses that take a number for each output."""


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
        ``"multi_softmax_cross_entropy"``, ``"ordered_cross_entropy"``,
        ``"logistic_cross_entropy"``, ``"squared_error"``, ``"absolute_error"``, ``"huber"``,
        ``"quantile"``, ``"poisson"``, ``"gamma"`` or ``"tweedie"``.
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
        Number of networks that share the hidden layers' weights. With more than one, each has
        its own last layer, and its own factors for the inputs and outputs of hidden layers.
        Training minimizes the mean of their losses; a prediction is the mean of theirs.
    member_scales : {"all", "first"}, default "all"
        The hidden layers that have factors: ``"all"``, each also with a bias for each member (TabM,
        BatchEnsemble), or ``"first"``, only the inputs of the first (TabM-mini).
    loss_numbers : tuple of float, default ()
        The delta of Huber's loss, the levels of quantiles, the power of Tweedie's deviance, or the
        number of the target that an output belongs to; one, or one for each output. Empty for the
        default of ``xpnet.ops``, and for losses that have no such number.
    monotonic : tuple of int, default ()
        For each input 1 if no output may fall with it, -1 if none may rise, 0 for no constraint;
        empty for no constraints. Of two classes with softmax it is the second that rises.

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
    monotonic: tuple[int, ...] = ()

    @property
    def layers(self) -> int:
        """Return the number of affine layers."""
        return len(self.widths) - 1

    @cached_property
    def output_numbers(self) -> tuple[float, ...]:
        """Return the number that the loss takes for each output; empty where it takes none."""
        if self.loss not in LOSS_NUMBERS:
            return ()
        numbers = self.loss_numbers or (LOSS_NUMBERS[self.loss].default,)
        return numbers * self.widths[-1] if len(numbers) == 1 else numbers

    @property
    def loss_arguments(self) -> dict[str, tuple[float, ...]]:
        """Return the further arguments of the loss, by their names in ``xpnet.ops``."""
        if not self.output_numbers:
            return {}
        return {LOSS_NUMBERS[self.loss].argument: self.output_numbers}

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
    """Return the slots of :meth:`NetworkSpec.slots`, computed once for each network."""
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
