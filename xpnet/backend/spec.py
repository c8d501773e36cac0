"""What is fixed while a network trains, as one frozen value: from it a backend makes a training step."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

Activation = Literal["identity", "relu", "tanh", "logistic"]
Loss = Literal["softmax_cross_entropy", "logistic_cross_entropy", "squared_error", "poisson"]


@dataclass(frozen=True)
class UpdateRule:
    """How parameters follow their gradient: ``ops.sgd_update`` or ``ops.adam_update`` with these numbers.

    The learning rate is not here: it may change from step to step.
    """

    name: Literal["sgd", "adam"] = "sgd"
    momentum: float = 0.0
    nesterov: bool = False
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    weight_decay: float = 0.0
    epsilon_hat: bool = False

    @property
    def buffers(self) -> tuple[str, ...]:
        """Names of the state each parameter carries: none, a velocity, or Adam's two moments."""
        if self.name == "adam":
            return ("m", "v")
        return ("velocity",) if self.momentum else ()


class Slot(NamedTuple):
    """Where one parameter lies in the flat buffer: its first item and its shape."""

    name: str
    offset: int
    shape: tuple[int, ...]


@dataclass(frozen=True)
class NetworkSpec:
    """A dense network, its loss, its penalty and its update.

    widths : (in, hidden..., out), at least two
    activations : one for each hidden layer; the output's follows from the loss (softmax, logistic, identity, exp)
    loss : a function of ``xpnet.ops.losses``
    dtype : ``float32`` or ``float64``, of parameters and of every intermediate result
    l2 : lambda of the penalty lambda / 2 sum ||W||^2 over all weights (not biases), added to the mean loss
    l2_over_batch : the penalty is divided by the rows of the batch (by sum w with weights), as scikit-learn does
    dropout : one rate for each hidden layer, or empty for none
    seed : from which dropout masks are drawn
    names : (weight, bias) names, layer by layer; empty for W1, b1, W2, b2, ...
    """

    widths: tuple[int, ...]
    activations: tuple[Activation, ...]
    loss: Loss = "softmax_cross_entropy"
    rule: UpdateRule = UpdateRule()
    dtype: str = "float64"
    l2: float = 0.0
    l2_over_batch: bool = False
    dropout: tuple[float, ...] = ()
    seed: int = 0
    names: tuple[str, ...] = ()

    @property
    def layers(self) -> int:
        """Number of affine layers."""
        return len(self.widths) - 1

    @property
    def parameter_names(self) -> tuple[str, ...]:
        """(weight, bias) names, layer by layer."""
        return self.names or tuple(f"{kind}{i + 1}" for i in range(self.layers) for kind in "Wb")

    def slots(self, align: int = 1) -> list[Slot]:
        """Where each parameter lies in one flat buffer, each beginning at a multiple of ``align`` items."""
        shapes: list[tuple[int, ...]] = []
        for fan_in, fan_out in zip(self.widths, self.widths[1:], strict=False):
            shapes += [(fan_in, fan_out), (fan_out,)]
        slots, end = [], 0
        for name, shape in zip(self.parameter_names, shapes, strict=True):
            slots.append(Slot(name, end, shape))
            size = shape[0] * (shape[1] if len(shape) == 2 else 1)
            end += -(-size // align) * align
        return slots
